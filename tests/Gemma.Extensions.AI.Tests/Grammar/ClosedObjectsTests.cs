using System.Text.Json;
using Gemma.Extensions.AI.Grammar;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

public sealed class ClosedObjectsTests
{
    [Theory]
    [InlineData("""{"type":"object","properties":{"a":{"type":"integer"}}}""", """{"a":1}""", """{"a":1,"b":2}""")]
    [InlineData("""{"properties":{"a":{"properties":{"b":{}}}},"type":"object"}""", """{"a":{"b":1}}""", """{"a":{"b":1,"c":2}}""")]
    [InlineData("""{"type":"array","items":{"type":"object","properties":{"a":{}}}}""", """[{"a":1}]""", """[{"b":1}]""")]
    [InlineData("""{"$ref":"#/$defs/N","$defs":{"N":{"type":"object","properties":{"next":{"$ref":"#/$defs/N"}}}}}""", """{"next":{"next":{}}}""", """{"next":{"other":{}}}""")]
    [InlineData("""{"anyOf":[{"type":"object","properties":{"a":{"const":1}},"required":["a"]},{"type":"null"}]}""", """{"a":1}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","additionalProperties":{"type":"object","properties":{"a":{}}}}""", """{"x":{"a":1}}""", """{"x":{"b":1}}""")]
    public void Objects_hold_what_is_declared(string schema, string accepted, string rejected)
    {
        Gemma.Extensions.AI.Grammar.Grammar grammar = Closed(schema);
        Assert.True(GrammarTestbed.Accepts(grammar, accepted));
        Assert.False(GrammarTestbed.Accepts(grammar, rejected));
        Assert.True(GrammarTestbed.Accepts(GrammarTestbed.Schema(schema), rejected), "The schema itself allows it.");
    }

    [Theory]
    [InlineData("""{"type":"object","properties":{"a":{}},"additionalProperties":true}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"additionalProperties":{"type":"integer"}}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object"}""", """{"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"required":["b"]}""", """{"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"minProperties":2}""", """{"a":1,"b":2}""")]
    [InlineData("""{"allOf":[{"properties":{"a":{}}},{"properties":{"b":{}},"required":["a","b"]}],"type":"object"}""", """{"a":1,"b":2}""")]
    [InlineData("""{"type":"object","properties":{"a":{}},"anyOf":[{"required":["b"]}]}""", """{"b":2}""")]
    [InlineData("""{"$ref":"#/$defs/A","properties":{"b":{}},"required":["b"],"$defs":{"A":{"type":"object","properties":{"a":{}}}}}""", """{"b":2}""")]
    [InlineData("true", """{"b":2}""")]
    public void What_asks_for_more_or_spreads_an_object_stays_open(string schema, string accepted) => Assert.True(GrammarTestbed.Accepts(Closed(schema), accepted));

    /// <summary>Closing loses no schema, and what is left validates under the schema as it was.</summary>
    [Fact]
    public void Random_schemas_are_narrowed_and_nothing_else()
    {
        int closed = 0, documents = 0;
        for (int seed = 0; closed < 500; seed++)
        {
            Random random = new(seed);
            JsonElement schema = JsonElement.Parse(new RandomSchema(random).Next());
            JsonElement narrow = ClosedObjects.Close(schema);
            if (JsonElement.DeepEquals(schema, narrow))
            {
                continue;
            }

            try
            {
                _ = GrammarTestbed.Schema(schema.GetRawText());
            }
            catch (Exception e) when (e is NotSupportedException or ArgumentException)
            {
                continue;
            }

            closed++;
            if (GrammarTestbed.RandomText(GrammarTestbed.Schema(narrow.GetRawText()).CreateConstraint([GrammarTestbed.End]), random, 150, checkMasks: false) is { } text)
            {
                documents++;
                Assert.True(SchemaOracle.IsValid(schema, JsonElement.Parse(text)), $"Seed {seed}: {schema} became {narrow}, which gave {text}.");
            }
        }

        Assert.True(documents > 250, $"only {documents} of {closed} documents ended");
    }

    private static Gemma.Extensions.AI.Grammar.Grammar Closed(string schema) => GrammarTestbed.Schema(ClosedObjects.Close(JsonElement.Parse(schema)).GetRawText());
}
