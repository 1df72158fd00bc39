using System.Text.Json;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

public sealed class ClosedObjectsTests
{
    private const string A = """ "$defs":{"A":{"type":"object","properties":{"a":{"type":"string"}}}},"$ref":"#/$defs/A" """;

    [Theory]
    [InlineData("""{"type":"object","properties":{"a":{"type":"integer"}}}""", """{"a":1}""", """{"a":1,"b":2}""")]
    [InlineData("""{"properties":{"a":{"properties":{"b":{}}}},"type":"object"}""", """{"a":{"b":1}}""", """{"a":{"b":1,"c":2}}""")]
    [InlineData("""{"type":"array","items":{"type":"object","properties":{"a":{}}}}""", """[{"a":1}]""", """[{"b":1}]""")]
    [InlineData("""{"$ref":"#/$defs/N","$defs":{"N":{"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}}}""", """{"next":{"next":{}}}""", """{"next":{"other":{}}}""")]
    [InlineData("""{"anyOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},{"type":"null"}]}""", """{"a":1}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","additionalProperties":{"type":"object","properties":{"a":{}}}}""", """{"x":{"a":1}}""", """{"x":{"b":1}}""")]
    [InlineData("""{"type":"object","properties":{}}""", "{}", """{"a":1}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"required":["b"]}""", """{"a":1,"b":2}""", """{"b":2,"c":1}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"dependentRequired":{"a":["b"]}}""", """{"a":1,"b":2}""", """{"c":1}""")]
    [InlineData("{" + A + ""","required":["b"]}""", """{"b":1}""", """{"b":1,"c":2}""")]
    [InlineData("{" + A + ""","properties":{"b":{}}}""", """{"a":"","b":1}""", """{"c":2}""")]
    [InlineData("""{"type":"object","anyOf":[{"type":"object","properties":{"a":{"type":"string"}}},{"type":"object","properties":{"b":{"type":"string"}}}],"required":["c"]}""", """{"c":1}""", """{"c":1,"d":2}""")]
    [InlineData("""{"allOf":[{"properties":{"a":{}}},{"properties":{"b":{}},"required":["a","b"]}],"type":"object"}""", """{"a":1,"b":2}""", """{"a":1,"b":2,"c":3}""")]
    [InlineData("""{"oneOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},{"type":"object","properties":{"b":{"const":2}},"required":["b"]}]}""", """{"b":2}""", """{"b":2,"c":3}""")]
    [InlineData("""{"type":"object","properties":{"k":{"enum":["x","y"]},"v":{}},"required":["k"],"if":{"properties":{"k":{"const":"x"}}},"then":{"required":["v"]}}""", """{"k":"x","v":1}""", """{"k":"y","w":1}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"not":{"required":["b"]}}""", """{"a":1}""", """{"a":1,"c":1}""")]
    [InlineData("""{"type":"array","contains":{"type":"object","properties":{"a":{"const":1}},"required":["a"]},"maxItems":1}""", """[{"a":1}]""", """[{"a":1,"b":1}]""")]
    public void ObjectsHoldWhatTheirSchemasName(string schema, string accepted, string rejected)
    {
        CompiledGrammar grammar = Closed(schema);
        Assert.True(GrammarTestbed.Accepts(grammar, accepted));
        Assert.False(GrammarTestbed.Accepts(grammar, rejected));
        Assert.True(GrammarTestbed.Accepts(GrammarTestbed.Schema(schema), rejected), "The schema itself allows it.");
    }

    [Theory]
    [InlineData("""{"type":"object","properties":{"a":{}},"additionalProperties":true}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"additionalProperties":{"type":"integer"}}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"unevaluatedProperties":true}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"patternProperties":{"^x":{}}}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"propertyNames":{"maxLength":1}}""", """{"b":2}""")]
    [InlineData("""{"type":"object"}""", """{"b":2}""")]
    [InlineData("""{"type":"object","required":["a"]}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","not":{"required":["a"]}}""", """{"b":2}""")]
    [InlineData("""{"type":"object","if":{"properties":{"a":{"const":1}},"required":["a"]},"then":{"required":["b"]}}""", """{"a":1,"b":2,"c":3}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"minProperties":2}""", """{"a":1,"b":2}""")]
    [InlineData("{" + A + ""","minProperties":2}""", """{"a":"","x":1}""")]
    [InlineData("{" + A + ""","additionalProperties":{"type":"integer"},"minProperties":2}""", """{"x":1,"y":2}""")]
    [InlineData("""{"type":"object","properties":{"n":{"$ref":"#"}},"minProperties":1}""", """{"n":{"x":1}}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"anyOf":[{"required":["b"]}]}""", """{"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"enum":[{"x":1}]}""", """{"x":1}""")]
    [InlineData("true", """{"b":2}""")]
    public void WhatAsksForMoreStaysOpen(string schema, string accepted) => Assert.True(GrammarTestbed.Accepts(Closed(schema), accepted));

    /// <summary>A property may have any name: none of them is a keyword.</summary>
    [Theory]
    [InlineData("contains")]
    [InlineData("not")]
    [InlineData("if")]
    [InlineData("oneOf")]
    [InlineData("allOf")]
    [InlineData("$ref")]
    [InlineData("$id")]
    [InlineData("dependentSchemas")]
    [InlineData("additionalProperties")]
    [InlineData("patternProperties")]
    [InlineData("required")]
    [InlineData("properties")]
    [InlineData("enum")]
    [InlineData("const")]
    [InlineData("type")]
    public void NamesOfKeywordsAreNames(string name)
    {
        CompiledGrammar grammar = Closed("""{"type":"object","properties":{"NAME":{"type":"string"},"x":{"type":"object","properties":{"NAME":{}}}}}""".Replace("NAME", name));
        Assert.True(GrammarTestbed.Accepts(grammar, """{"NAME":"","x":{"NAME":1}}""".Replace("NAME", name)));
        Assert.False(GrammarTestbed.Accepts(grammar, """{"b":false}"""));
        Assert.False(GrammarTestbed.Accepts(grammar, """{"x":{"b":false}}"""));
    }

    [Theory]
    [InlineData("{" + A + ""","required":["b"]}""", """{"b":1}""", """{"b":1,"c":2}""")]
    [InlineData("{" + A + ""","minProperties":2}""", """{"a":"","c":2}""", """{"a":""}""")]
    [InlineData("""{"properties":{"if":{"type":"integer"}}}""", """{"if":1}""", """{"b":1}""")]
    [InlineData("""{"type":"object"}""", "{}", """{"b":1}""")]
    [InlineData("""{"type":"object","required":["b"]}""", """{"b":1}""", """{"b":1,"c":1}""")]
    public void ArgumentsOfToolsAreClosedAlike(string schema, string accepted, string rejected)
    {
        Rule calls = ToolCallGrammar.Calls(Gemma.Extensions.AI.Text.ToolMarkup.Own, [new ToolSignature("f", JsonElement.Parse(schema))], false, new JsonSchemaOptions());
        CompiledGrammar grammar = new(GrammarTestbed.Vocabulary, new RuleSymbol(calls));
        Assert.True(GrammarTestbed.Accepts(grammar, Call(accepted)));
        Assert.False(GrammarTestbed.Accepts(grammar, Call(rejected)));

        static string Call(string arguments) => "<tool_call>{\"name\":\"f\",\"arguments\":" + arguments + "}</tool_call>";
    }

    /// <summary>Closing loses no schema, and what is left validates under the schema as it was.</summary>
    [Fact]
    public void RandomSchemasKeepAnswersAndTheseValidate()
    {
        int compiled = 0, documents = 0;
        for (int seed = 0; compiled < 500; seed++)
        {
            Random random = new(seed);
            string schema = new RandomSchema(random).Next();
            try
            {
                _ = GrammarTestbed.Schema(schema);
            }
            catch (Exception e) when (e is NotSupportedException or ArgumentException)
            {
                Assert.Throws(e.GetType(), () => Closed(schema));
                continue;
            }

            compiled++;
            if (GrammarTestbed.RandomText(Closed(schema).CreateConstraint([GrammarTestbed.End]), random, 150, checkMasks: false) is { } text)
            {
                documents++;
                Assert.True(SchemaOracle.IsValid(JsonElement.Parse(schema), JsonElement.Parse(text)), $"Seed {seed}: {schema} gave {text}.");
            }
        }

        Assert.True(documents > 250, $"only {documents} of {compiled} documents ended");
    }

    private static CompiledGrammar Closed(string schema) => GrammarTestbed.Schema(schema, new JsonSchemaOptions { ClosesObjects = true });
}
