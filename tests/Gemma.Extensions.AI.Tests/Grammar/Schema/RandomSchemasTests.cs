using System.Text.Json;
using Gemma.Extensions.AI.Benchmarks.Schemas;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>
/// What grammars allow, judged by validators that are not ours: JsonSchema.Net and, where the environment variable AJV_DIRECTORY names it, ajv. Where JsonSchema.Net
/// departs from the specification, <see cref="NetValidator"/> has the section, and a test here shows that it does.
/// </summary>
public sealed class RandomSchemasTests
{
    private const int Count = 300;

    /// <summary>What a grammar may refuse: it says so, and never gets it wrong.</summary>
    private static readonly string[] s_mayBeRefused =
        ["Core 8.2.3.2 $dynamicRef goes to the outermost $dynamicAnchor", "Core 11.2 unevaluatedItems beside an applicator", "Core 11.3 unevaluatedProperties sees through applicators", "Validation 6.4.3 uniqueItems of structures"];

    /// <summary>ajv 8 takes such a $dynamicRef for a schema that allows everything; Core 8.2.3.2 has it resolved like $ref first.</summary>
    private const string AjvDiffers = "Core 8.2.3.2 $dynamicRef without an outer anchor is $ref";

    public static TheoryData<string> Sections => [.. SpecificationExamples.All.Select(static e => e.Section)];

    [Fact]
    public void AnswersValidateAndInstancesAreRead()
    {
        int texts = 0, instances = 0, departures = 0, refused = 0;
        HashSet<string> keywords = [];
        for (int seed = 100_000; seed < 100_000 + Count; seed++)
        {
            SchemaTrial trial = SchemaTrial.Run(seed, Text.Tokenizers.Tiny, draws: 2);
            (string Text, string? Departure)[] invalid = [.. trial.Invalid.Where(static x => x.Departure is null)];
            Assert.True(invalid.Length == 0, $"Seed {seed}: the schema {trial.Schema} gave {invalid.FirstOrDefault().Text}, which does not validate.");
            Assert.True(trial.Rejected.Count == 0, $"Seed {seed}: the schema {trial.Schema} does not allow {trial.Rejected.FirstOrDefault()}, which validates.");
            (texts, departures, refused) = (texts + trial.Texts.Count, departures + trial.Invalid.Count, refused + (trial.Refusal is null ? 0 : 1));
            instances += trial.Refusal is null ? trial.Instances.Count : 0;
            keywords.UnionWith(trial.Refusal is null ? trial.Keywords : []);
        }

        Assert.InRange(texts, Count, int.MaxValue);
        Assert.InRange(instances, Count, int.MaxValue);
        Assert.InRange(departures, 0, Count / 50);
        Assert.InRange(refused, 0, Count / 4);
        Assert.Superset(
            new HashSet<string>
            {
                "$anchor", "$defs", "$dynamicAnchor", "$dynamicRef", "$id", "$ref", "additionalProperties", "allOf", "anyOf", "const", "contains", "dependentRequired", "dependentSchemas", "else", "enum",
                "exclusiveMaximum", "exclusiveMinimum", "format", "if", "items", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains", "minItems", "minLength", "minProperties",
                "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties", "prefixItems", "properties", "propertyNames", "required", "then", "type", "unevaluatedItems", "unevaluatedProperties",
                "uniqueItems",
            },
            keywords);
    }

    /// <summary>Objects whose names are finitely many because everything else has no value: no key is begun where none is left.</summary>
    [Theory]
    [InlineData("""{"type":"object","patternProperties":{"^(a|x1)$":{"type":"integer"},"^[ab]$":{"minimum":1}},"additionalProperties":{"type":"string","enum":[1]}}""", 3)]
    [InlineData("""{"type":"object","patternProperties":{"^(a|x1)$":{"type":"integer"},"^b$":true},"minProperties":3,"unevaluatedProperties":{"type":"string","minLength":2,"maxLength":1}}""", 3)]
    [InlineData("""{"type":"object","properties":{"z":true},"patternProperties":{"^[ab]$":true},"minProperties":3,"additionalProperties":{"allOf":[{"type":"null"},{"type":"string"}]}}""", 3)]
    [InlineData("""{"type":"object","additionalProperties":false,"patternProperties":{"^x":{"type":"null"},"^[a-c]{2}$":{"type":"integer"}},"maxProperties":2,"dependentRequired":{"ab":["b"]}}""", 2)]
    public void NoKeyIsBegunWhereNoneIsLeft(string schema, int most)
    {
        NetValidator oracle = new(JsonElement.Parse(schema));
        int largest = 0;
        foreach (bool anyOrder in (bool[])[false, true])
        {
            CompiledGrammar grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = anyOrder, AllowWhitespace = false });
            for (int seed = 0; seed < 150; seed++)
            {
                if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), new Random(seed), 80, endBias: 0.1, checkMasks: false) is { } text)
                {
                    JsonElement document = JsonElement.Parse(text);
                    Assert.True(oracle.IsValid(document), text);
                    largest = Math.Max(largest, document.GetPropertyCount());
                }
            }
        }

        Assert.Equal(most, largest);
    }

    /// <summary>Names that are finitely many and more than can come are no reason to refuse anything.</summary>
    [Theory]
    [InlineData("""{"type":"object","patternProperties":{"^.$":true},"additionalProperties":{"type":"string","enum":[1]}}""")]
    [InlineData("""{"type":"object","patternProperties":{"^.{1,3}$":{"type":"integer"}},"minProperties":2,"additionalProperties":{"type":"string","enum":[1]}}""")]
    public void ManyNamesAreAsGoodAsAnyNumber(string schema) => Assert.True(GrammarTestbed.Accepts(GrammarTestbed.Schema(schema), """{"x":1,"é":2}"""));

    [Theory]
    [InlineData("""{"type":"object","patternProperties":{"^(a|x1)$":{"type":"integer"},"^b$":true},"minProperties":4,"additionalProperties":{"type":"string","enum":[1]}}""")]
    [InlineData("""{"type":"object","properties":{"z":true},"patternProperties":{"^[ab]$":true},"minProperties":4,"additionalProperties":{"allOf":[{"type":"null"},{"type":"string"}]}}""")]
    public void MorePropertiesThanThereAreNamesAreImpossible(string schema) =>
        Assert.Contains("Nothing satisfies", Assert.Throws<ArgumentException>(() => GrammarTestbed.Schema(schema)).Message);

    /// <summary>The same for ajv, which reads numbers as doubles and expressions as JavaScript.</summary>
    [Fact]
    public void AnswersValidateWithAjv()
    {
        using AjvValidator? ajv = AjvValidator.TryStart(out string reason);
        Assert.SkipWhen(ajv is null, reason);
        for (int seed = 200_000; seed < 200_000 + Count; seed++)
        {
            SchemaTrial trial = SchemaTrial.Run(seed, Text.Tokenizers.Tiny, draws: 2);
            if (ajv.Validate(trial.Schema, trial.Texts, out _) is { } verdicts)
            {
                Assert.All(verdicts, (verdict, i) => Assert.True(verdict != false, $"Seed {seed}: the schema {trial.Schema} gave {trial.Texts[i]}, which does not validate."));
            }
        }
    }

    /// <summary>The specification's own sections: expected by its words, and seen so by the grammar and by JsonSchema.Net; what is drawn validates too.</summary>
    [Theory]
    [MemberData(nameof(Sections))]
    public void SectionsOfTheSpecification(string section)
    {
        (_, string schema, string[] valid, string[] invalid) = SpecificationExamples.All.Single(e => e.Section == section);
        JsonElement element = JsonElement.Parse(schema);
        NetValidator oracle = new(element);
        CompiledGrammar grammar;
        try
        {
            grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { AnyPropertyOrder = true, Rfc3339Times = true });
        }
        catch (NotSupportedException e)
        {
            Assert.Contains(section, s_mayBeRefused);
            Assert.Contains("cannot be enforced at '/u", e.Message);
            return;
        }

        foreach ((string text, bool expected) in valid.Select(static v => (v, true)).Concat(invalid.Select(static v => (v, false))))
        {
            JsonElement document = JsonElement.Parse(text);
            Assert.True(GrammarTestbed.Accepts(grammar, text) == expected, $"{text} should be {(expected ? "allowed" : "impossible")}.");
            Assert.True(oracle.IsValid(document) == expected || NetValidator.Departure(document, new HashSet<string> { "minLength", "maxLength", "pattern" }) is not null, $"JsonSchema.Net says {!expected} of {text}.");
        }

        for (int seed = 0; seed < 10; seed++)
        {
            if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), new Random(seed), 120, checkMasks: false) is { } text)
            {
                JsonElement document = JsonElement.Parse(text);
                Assert.True(oracle.IsValid(document) || NetValidator.Departure(document, new HashSet<string> { "minLength", "maxLength", "pattern", "format" }) is not null, $"{text} does not validate.");
            }
        }
    }

    [Fact]
    public void SectionsOfTheSpecificationWithAjv()
    {
        using AjvValidator? ajv = AjvValidator.TryStart(out string reason);
        Assert.SkipWhen(ajv is null, reason);
        foreach ((string section, string schema, string[] valid, string[] invalid) in SpecificationExamples.All)
        {
            bool?[]? verdicts = ajv.Validate(schema, [.. valid, .. invalid], out string refusal);
            Assert.True(verdicts is not null, $"{section}: {refusal}");
            Assert.All(verdicts, (verdict, i) => Assert.True(verdict == (i < valid.Length) || section == AjvDiffers, $"{section}: {(i < valid.Length ? valid[i] : invalid[i - valid.Length])}"));
        }
    }

    /// <summary>Where JsonSchema.Net 8.0.5 says no to what the specification allows; a later version that agrees takes its line away.</summary>
    [Theory]
    [InlineData("""{"minLength":2}""", "\"e\u0301\"", NetValidator.TextElements)]
    [InlineData("""{"pattern":"^.$"}""", "\"😀\"", NetValidator.DotNetExpressions)]
    [InlineData("""{"not":{"pattern":"^a$"}}""", "\"a\\n\"", NetValidator.DotNetExpressions)]
    [InlineData("""{"not":{"pattern":"^.$"}}""", "\"\\r\"", NetValidator.DotNetExpressions)]
    [InlineData("""{"pattern":"^\\s$"}""", "\"\u00a0\"", NetValidator.DotNetExpressions)]
    [InlineData("""{"anyOf":[{"const":1},{"type":"number"}]}""", "1e200", NetValidator.LargeNumbers)]
    [InlineData("""{"format":"uri"}""", "\"a:b\"", NetValidator.DriveLetters)]
    [InlineData("""{"format":"email"}""", "\"joe@example.c0\"", NetValidator.TopLevelDomains)]
    public void JsonSchemaNetDepartsFromTheSpecification(string schema, string text, string departure)
    {
        JsonElement document = JsonElement.Parse(text);
        Assert.False(new NetValidator(JsonElement.Parse(schema)).IsValid(document));
        Assert.Equal(departure, NetValidator.Departure(document, SchemaKeywords.Of(System.Text.Json.Nodes.JsonNode.Parse(schema)!.AsObject())));
        Assert.True(GrammarTestbed.Accepts(GrammarTestbed.Schema(schema), text));
    }

    [Fact]
    public void JsonSchemaNetComparesNumbersWithinItemsAsTheyAreSpelled()
    {
        const string Schema = """{"uniqueItems":true}""";
        JsonElement document = JsonElement.Parse("[[1],[1.0]]");
        Assert.True(new NetValidator(JsonElement.Parse(Schema)).IsValid(document));
        Assert.Equal(NetValidator.SpelledNumbers, NetValidator.Departure(document, new HashSet<string> { "uniqueItems" }));
        Assert.False(GrammarTestbed.Accepts(GrammarTestbed.Schema(Schema), "[[1],[1.0]]"));
    }
}
