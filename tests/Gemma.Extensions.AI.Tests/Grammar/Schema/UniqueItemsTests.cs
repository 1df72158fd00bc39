using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>No item comes twice, however it is spelled, and none is begun that could only become one that came.</summary>
public sealed class UniqueItemsTests
{
    public static TheoryData<string, string, string[], string[]> Arrays => new()
    {
        { "strings", """{"type":"array","items":{"type":"string"},"uniqueItems":true}""", ["[]", "[\"a\"]", "[\"a\",\"b\"]", "[\"a\",\"ab\",\"abc\",\"\"]", "[\"abc\",\"ab\",\"a\"]", "[\"a\", \"A\"]"], ["[\"a\",\"a\"]", "[\"a\",\"\\u0061\"]", "[\"b\",\"a\",\"b\"]", "[\"é\",\"\\u00E9\"]", "[\"😀\",\"\\ud83d\\ude00\"]", "[\"\\n\",\"\\u000a\"]", "[\"/\",\"\\/\"]", "[\"\",\"\"]"] },
        { "numbers", """{"type":"array","items":{"type":"number"},"uniqueItems":true}""", ["[1,2,1.5]", "[10,1,100]", "[-1,1]", "[1e2,1e3]"], ["[1,1]", "[1,1.0]", "[1,1e0]", "[10,1e1]", "[0,-0]", "[0.5,0.50]", "[1,2,1.00]", "[9007199254740993,9007199254740992]"] },
        { "anything", """{"type":"array","uniqueItems":true}""", ["[1,\"1\",true,null,[],{},false,[1],{\"a\":1}]", "[{\"a\":1},{\"a\":1,\"b\":2},{\"b\":1}]", "[[1],[1,2],[2,1]]", "[[[]],[]]", "[{\"a\":{}},{\"a\":[]}]"], ["[[],[]]", "[{},{}]", "[null,null]", "[true,1,true]", "[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]", "[[1],[1.0]]", "[{\"a\":{\"b\":[1]}},{\"a\":{\"b\":[1]}}]", "[[ ],[]]", "[{\"a\":\"\\u0062\"},{\"\\u0061\":\"b\"}]"] },
        { "objects that differ late", """{"type":"array","items":{"type":"object","properties":{"n":{"type":"string"},"f":{"type":"boolean"}},"required":["n","f"],"additionalProperties":false},"uniqueItems":true}""", ["[{\"n\":\"a\",\"f\":true},{\"n\":\"a\",\"f\":false},{\"n\":\"ab\",\"f\":true}]", "[{\"n\": \"a\", \"f\": true}, {\"n\": \"b\", \"f\": true}]"], ["[{\"n\":\"a\",\"f\":true},{\"n\":\"a\",\"f\":true}]", "[{\"n\":\"a\",\"f\":true},{\"n\":\"b\",\"f\":true},{\"n\":\"a\",\"f\":true}]"] },
        { "few objects", """{"type":"array","items":{"type":"object","properties":{"x":{"type":"boolean"}},"required":["x"],"additionalProperties":false},"uniqueItems":true,"minItems":1}""", ["[{\"x\":true},{\"x\":false}]", "[{\"x\":false}]"], ["[]", "[{\"x\":true},{\"x\":true}]", "[{\"x\":true},{\"x\":false},{\"x\":true}]"] },
        { "a pattern with one long branch", """{"type":"array","items":{"type":"string","pattern":"^(a|b+)$"},"uniqueItems":true}""", ["[\"a\",\"b\",\"bb\"]", "[\"bbb\",\"b\"]"], ["[\"a\",\"a\"]", "[\"bb\",\"a\",\"bb\"]"] },
        { "enum", """{"type":"array","items":{"enum":["a","b","ab",1,1.0,null]},"uniqueItems":true,"minItems":2}""", ["[\"a\",1]", "[1,\"ab\",\"b\",\"a\",null]", "[null,\"ab\"]"], ["[\"a\",\"a\"]", "[1]", "[1,1]", "[1,1.0]", "[\"a\",\"\\u0061\"]"] },
        { "items by position", """{"type":"array","prefixItems":[{"type":"string"},{"enum":["a","b"]}],"items":{"type":"string"},"uniqueItems":true}""", ["[\"a\",\"b\",\"c\"]", "[\"x\",\"a\",\"b\"]", "[\"b\",\"a\"]"], ["[\"a\",\"a\"]", "[\"x\",\"a\",\"x\"]", "[\"x\",\"c\"]"] },
        { "arrays of arrays", """{"type":"array","items":{"type":"array","items":{"type":"integer"},"uniqueItems":true},"uniqueItems":true}""", ["[[1,2],[2,1],[1],[]]", "[[1],[12],[1,2]]"], ["[[1,1]]", "[[1,2],[1,2]]", "[[],[1],[]]", "[[1],[2,2]]"] },
        { "contains", """{"type":"array","items":{"type":["string","integer"]},"contains":{"type":"integer"},"uniqueItems":true}""", ["[\"a\",1]", "[1,2,\"a\"]"], ["[\"a\"]", "[1,1]", "[\"a\",1,\"a\"]"] },
        { "beside other arrays", """{"anyOf":[{"type":"array","items":{"type":"string"},"uniqueItems":true},{"type":"array","items":{"type":"integer"}}]}""", ["[1,1]", "[\"a\",\"b\"]", "[]"], ["[\"a\",\"a\"]", "[1,\"a\"]"] },
        { "within objects", """{"type":"object","properties":{"t":{"type":"array","items":{"type":"string"},"uniqueItems":true},"u":{"type":"array","items":{"type":"string"},"uniqueItems":true}},"additionalProperties":false}""", ["{\"t\":[\"a\"],\"u\":[\"a\"]}"], ["{\"t\":[\"a\"],\"u\":[\"b\",\"b\"]}"] },
        { "names in any order", """{"type":"array","items":{"type":"object","additionalProperties":{"type":"integer"}},"uniqueItems":true}""", ["[{},{\"a\":1},{\"b\":1},{\"a\":1,\"b\":1}]", "[{\"a\":1,\"b\":2},{\"b\":1,\"a\":2}]"], ["[{\"a\":1,\"b\":2},{\"b\":2,\"a\":1}]", "[{\"b\":1},{\"b\":1}]"] },
        { "few arrays", """{"type":"array","items":{"type":"array","items":{"enum":[1,2]},"maxItems":1},"uniqueItems":true,"minItems":3}""", ["[[1],[2],[]]", "[[],[2],[1]]"], ["[[1],[1],[]]", "[[],[1]]"] },
        { "objects of some kinds", """{"type":"array","items":{"type":"object","properties":{"a":{"enum":[1,2]},"b":{"type":"boolean"}},"additionalProperties":false},"uniqueItems":true,"minItems":9}""", ["[{},{\"a\":1},{\"a\":2},{\"b\":true},{\"b\":false},{\"a\":1,\"b\":true},{\"a\":1,\"b\":false},{\"a\":2,\"b\":true},{\"a\":2,\"b\":false}]"], ["[{},{\"a\":1},{\"a\":2},{\"b\":true},{\"b\":false},{\"a\":1,\"b\":true},{\"a\":1,\"b\":false},{\"a\":2,\"b\":true}]"] },
        { "arrays of few", """{"type":"array","items":{"type":"array","items":{"enum":[1,2,3]},"uniqueItems":true,"minItems":2},"uniqueItems":true,"minItems":3}""", ["[[1,2],[1,3],[2,1]]", "[[2,3],[3,2],[1,2]]"], ["[[1,2],[1,3]]", "[[1,2],[1,3],[1,2]]", "[[1,1],[2,1],[1,2]]", "[[1,2],[1,3],[1]]"] },
        { "at most one", """{"type":"array","uniqueItems":true,"maxItems":1}""", ["[1]", "[]"], ["[1,2]"] },
        { "integers", """{"type":"array","items":{"type":"integer","minimum":1,"maximum":3},"uniqueItems":true}""", ["[]", "[3,1,2]"], ["[1,1]", "[1,2,3,1]"] },
        { "long strings", """{"type":"array","items":{"type":"string","minLength":2,"maxLength":40},"uniqueItems":true}""", ["[\"abc\",\"abd\",\"ab\"]"], ["[\"abc\",\"abc\"]"] },
    };

    [Theory]
    [MemberData(nameof(Arrays))]
    public void AcceptsExactlyTheInstances(string what, string schema, string[] valid, string[] invalid)
    {
        using IndependentValidators judges = new();
        judges.Agree(schema, [.. valid.Select(static text => (text, true)), .. invalid.Where(static text => text != "[9007199254740993,9007199254740992]").Select(static text => (text, false))]); // one double, and two decimals
        foreach (bool anyOrder in (ReadOnlySpan<bool>)[false, true])
        {
            CompiledGrammar grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = anyOrder });
            Assert.All(valid, text => Assert.True(GrammarTestbed.Accepts(grammar, text), $"{what}: {text} is rejected."));
            Assert.All(invalid, text => Assert.False(GrammarTestbed.Accepts(grammar, text), $"{what}: {text} is accepted."));
        }
    }

    [Theory]
    [InlineData("""{"items":{"enum":[1,2]},"minItems":3}""", "Nothing satisfies")]
    [InlineData("""{"items":{"type":"object","properties":{"x":{"type":"boolean"}},"required":["x"],"additionalProperties":false},"minItems":3}""", "are known to differ")]
    [InlineData("""{"items":{"type":["integer","string"]},"contains":{"const":1}}""", "beside contains")]
    public void WhatCannotBeFilledIsRefusedAtOnce(string array, string why) =>
        Assert.Contains(why, Assert.ThrowsAny<Exception>(() => GrammarTestbed.Schema("{\"type\":\"array\",\"uniqueItems\":true," + array[1..])).Message);

    /// <summary>Arrays of up to three of these values: what is accepted is what is valid.</summary>
    [Fact]
    public void ArraysOfAllKindsOfValuesAgreeWithTheSpecification()
    {
        string[] values = ["1", "1.0", "\"a\"", "\"\\u0061\"", "\"ab\"", "[1]", "[1.0,2]", "[]", "{\"a\":1}", "{\"a\":1,\"b\":[1]}", "{\"b\":[1.0],\"a\":1}", "{}", "null", "[{\"a\":null},{}]"];
        string[] schemas =
        [
            """{"type":"array","uniqueItems":true}""",
            """{"type":"array","items":{"anyOf":[{"type":["number","string"]},{"type":"object","additionalProperties":{"type":["number","array"]}},{"const":null}]},"uniqueItems":true}""",
            """{"type":"array","items":{"type":["array","object"],"items":{"type":["number","object"]}},"uniqueItems":true}""",
        ];
        using IndependentValidators judges = new();
        foreach (string schema in schemas)
        {
            JsonElement element = JsonElement.Parse(schema);
            CompiledGrammar grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = true });
            List<(string, bool)> judged = [];
            for (int i = 0; i < values.Length * values.Length; i++)
            {
                string text = $"[{values[i / values.Length]},{values[i % values.Length]}{(i % 3 == 0 ? "," + values[i * 7 % values.Length] : "")}]";
                bool valid = SchemaOracle.IsValid(element, JsonElement.Parse(text));
                Assert.True(GrammarTestbed.Accepts(grammar, text) == valid, $"{text} should be {(valid ? "valid" : "invalid")} by {schema}.");
                judged.Add((text, valid));
            }

            judges.Agree(schema, judged);
        }
    }

    /// <summary>Random texts, from few letters so that items often begin alike, end and are valid; masks say what the bytes say.</summary>
    [Fact]
    public void RandomArraysValidate()
    {
        string[] items =
        [
            """{"type":"string"}""", """{"type":"string","pattern":"^[ab]{1,3}$"}""", """{"type":"string","pattern":"^(a|b|ab+)$"}""", """{"type":"string","maxLength":1}""", """{"type":"integer","minimum":0,"maximum":12}""",
            """{"type":"number","minimum":0,"maximum":1,"multipleOf":0.5}""", """{"type":"object","properties":{"a":{"enum":[1,2]},"b":{"type":"boolean"}},"required":["a"],"additionalProperties":false}""",
            """{"type":"object","propertyNames":{"pattern":"^[ab]$"},"additionalProperties":{"type":"boolean"}}""", """{"type":"array","items":{"enum":["a","b"]},"maxItems":2}""", """{"anyOf":[{"type":"boolean"},{"type":"array","items":{"type":"null"}}]}""",
            """{"type":["string","null","boolean"],"maxLength":2,"pattern":"^[a1]*$"}""", """{"type":"array","items":{"enum":[1,2,3]},"uniqueItems":true,"minItems":2}""",
        ];
        int ended = 0, long3 = 0;
        using IndependentValidators judges = new();
        for (int seed = 0; seed < 20 * items.Length; seed++)
        {
            Random random = new(seed);
            string schema = $$"""{"type":"array","items":{{items[seed % items.Length]}},"uniqueItems":true,"minItems":{{random.Next(4)}}}""";
            CompiledGrammar grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = random.Next(2) == 0 });
            string? text;
            try
            {
                text = GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), random, 120, endBias: 0.1, checkMasks: seed % 3 == 0);
            }
            catch (GemmaException e)
            {
                throw new InvalidOperationException($"Seed {seed}: {schema} came to a dead end.", e);
            }

            if (text is not null)
            {
                ended++;
                JsonElement value = JsonElement.Parse(text);
                long3 += value.GetArrayLength() > 2 ? 1 : 0;
                Assert.True(SchemaOracle.IsValid(JsonElement.Parse(schema), value), $"Seed {seed}: {schema} gave {text}, which does not validate.");
                judges.Agree(schema, (text, true));
            }
        }

        Assert.True(ended > 150 && long3 > 60, $"{ended} texts ended, {long3} of them with three items.");
    }

    /// <summary>What came is known to the clone of a text, and not to another text under the same grammar.</summary>
    [Fact]
    public void TextsUnderOneGrammarDoNotKnowOfEachOther()
    {
        CompiledGrammar grammar = GrammarTestbed.Schema("""{"type":"array","items":{"type":"string"},"uniqueItems":true}""");
        ITokenConstraint a = grammar.CreateConstraint([GrammarTestbed.End]), b = grammar.CreateConstraint([GrammarTestbed.End]);
        foreach (char c in "[\"a\",\"")
        {
            a.Accept(2 + c);
        }

        foreach (char c in "[\"b\",\"")
        {
            b.Accept(2 + c);
        }

        ITokenConstraint copy = a.Clone();
        a.Accept(2 + 'a');
        b.Accept(2 + 'a');
        copy.Accept(2 + 'b');
        Assert.False(a.IsAllowed(2 + '"'));
        Assert.True(b.IsAllowed(2 + '"'));
        Assert.True(copy.IsAllowed(2 + '"'));
    }
}
