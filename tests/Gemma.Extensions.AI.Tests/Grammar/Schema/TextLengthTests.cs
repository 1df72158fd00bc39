using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;

namespace Gemma.Extensions.AI.Tests.Grammar.Schema;

/// <summary>A limit on texts that a schema leaves open, of three characters here. Expectations are written by hand from what the limit promises.</summary>
public sealed class TextLengthTests
{
    private static readonly JsonSchemaOptions s_three = new() { MaxTextLength = 3 };

    [Theory]
    [InlineData("""{"type":"string"}""", "\"abc\"", true)]
    [InlineData("""{"type":"string"}""", "\"abcd\"", false)]
    [InlineData("""{"type":"string"}""", "\"日本語\"", true)]
    [InlineData("""{"type":"string"}""", "\"😀😀😀\"", true)] // characters, not UTF-16 units
    [InlineData("""{"type":"string"}""", "\"😀😀😀😀\"", false)]
    [InlineData("""{"type":"string"}""", "\"\\u0041\\n\\\\\"", true)] // an escape is one character
    [InlineData("true", "[\"abc\",{\"abc\":\"abc\"}]", true)]
    [InlineData("true", "[\"abcd\"]", false)]
    [InlineData("true", "{\"abcd\":1}", false)]
    [InlineData("""{"enum":["a long text"]}""", "\"a long text\"", true)] // what the schema says wins
    [InlineData("""{"type":"string","maxLength":5}""", "\"abcde\"", true)]
    [InlineData("""{"type":"string","minLength":5}""", "\"abcdefgh\"", true)]
    [InlineData("""{"type":"string","pattern":"^x+$"}""", "\"xxx\"", true)]
    [InlineData("""{"type":"string","pattern":"^x+$"}""", "\"xxxx\"", false)]
    [InlineData("""{"type":"string","pattern":"^x{4,}$"}""", "\"xxxxx\"", true)]
    [InlineData("""{"type":"string","not":{"const":"ab"}}""", "\"ab\"", false)]
    [InlineData("""{"type":"string","not":{"const":"ab"}}""", "\"abc\"", true)]
    [InlineData("""{"type":"string","not":{"const":"ab"}}""", "\"abcd\"", false)]
    [InlineData("""{"not":{"type":"string","maxLength":2}}""", "\"abc\"", true)]
    [InlineData("""{"not":{"type":"string","maxLength":2}}""", "\"abcd\"", false)]
    [InlineData("""{"anyOf":[{"const":"a long text"},{"type":"string"}]}""", "\"abc\"", true)]
    [InlineData("""{"type":"string","format":"date"}""", "\"2024-02-29\"", true)]
    [InlineData("""{"type":"object","additionalProperties":{"type":"integer"}}""", "{\"abc\":1}", true)]
    [InlineData("""{"type":"object","additionalProperties":{"type":"integer"}}""", "{\"abcd\":1}", false)]
    [InlineData("""{"type":"object","properties":{"a long name":{"type":"string"}},"required":["a long name"],"additionalProperties":false}""", "{\"a long name\":\"abc\"}", true)]
    [InlineData("""{"type":"object","properties":{"a long name":{"type":"string"}},"required":["a long name"],"additionalProperties":false}""", "{\"a long name\":\"abcd\"}", false)]
    [InlineData("""{"type":"object","propertyNames":{"pattern":"^a+$"},"minProperties":5}""", "{\"a\":1,\"aa\":1,\"aaa\":1,\"aaaa\":1,\"aaaaa\":1}", true)] // too few short names
    public void OpenTextsAreShort(string schema, string text, bool expected) => Assert.Equal(expected, GrammarTestbed.Accepts(GrammarTestbed.Schema(schema, s_three), text));

    /// <summary>No mask leads to where nothing may follow, and what is written is valid and short.</summary>
    [Theory]
    [InlineData("true")]
    [InlineData("""{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"array","items":{"type":"string"},"uniqueItems":true}},"required":["a"]}""")]
    [InlineData("""{"type":"object","patternProperties":{"^x":{"type":"string"}},"additionalProperties":{"type":"integer"},"minProperties":2}""")]
    [InlineData("""{"type":"array","items":{"type":"string","pattern":"^[ab]+$"},"uniqueItems":true,"minItems":6}""")]
    public void RandomTextsEndAndAreShort(string schema)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema(schema, s_three);
        using JsonDocument document = JsonDocument.Parse(schema);
        Random random = new(7);
        int ended = 0;
        for (int i = 0; i < 60; i++)
        {
            ITokenConstraint constraint = grammar.CreateConstraint([GrammarTestbed.End]);
            if (GrammarTestbed.RandomText(constraint, random, 300) is { } text)
            {
                ended++;
                JsonElement value = JsonElement.Parse(text);
                Assert.True(SchemaOracle.IsValid(document.RootElement, value), text);
                Assert.All(Texts(value), found => Assert.InRange(found.EnumerateRunes().Count(), 0, 3));
            }
        }

        Assert.True(ended > 20, $"Only {ended} of 60 texts ended.");
    }

    /// <summary>Four different texts of a's are as short as that; more cannot be asked for.</summary>
    [Fact]
    public void TooFewShortTextsAreRefused()
    {
        const string Schema = """{"type":"array","items":{"type":"string","pattern":"^a*$"},"uniqueItems":true,"minItems":6}""";
        Assert.ThrowsAny<ArgumentException>(() => GrammarTestbed.Schema(Schema, s_three));
        Assert.True(GrammarTestbed.Accepts(GrammarTestbed.Schema(Schema), """["","a","aa","aaa","aaaa","aaaaa"]"""));
    }

    private static IEnumerable<string> Texts(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => [value.GetString()!],
        JsonValueKind.Array => value.EnumerateArray().SelectMany(Texts),
        JsonValueKind.Object => value.EnumerateObject().SelectMany(property => Texts(property.Value).Prepend(property.Name)).Where(name => name is not "a" and not "b"),
        _ => [],
    };
}
