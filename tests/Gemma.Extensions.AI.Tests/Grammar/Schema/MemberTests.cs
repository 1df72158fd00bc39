using System.Text.Json;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>
/// Schemas and expressions put together at random, with texts judged by others (Data/README.md): references between nested resources, assertions anywhere in expressions, numbers at the edges of doubles,
/// Unicode properties in classes, and objects that several keywords close.
/// </summary>
public sealed class MemberTests
{
    private static readonly Lazy<JsonElement[]> s_members = new(static () => [.. File.ReadLines(TestData.Local("schemas/members.jsonl")).Select(static line => JsonElement.Parse(line))]);

    [Theory]
    [InlineData("references")]
    [InlineData("assertions")]
    [InlineData("numbers")]
    [InlineData("properties")]
    [InlineData("objects")]
    public void TextsAreWhatOthersSay(string kind)
    {
        JsonElement[] members = [.. s_members.Value.Where(m => m.GetProperty("kind").GetString() == kind)];
        Assert.InRange(members.Length, 40, 1000);
        foreach (JsonElement member in members)
        {
            CompiledGrammar grammar = member.TryGetProperty("regex", out JsonElement regex)
                ? new CompiledGrammar(GrammarTestbed.Vocabulary, new LexerSymbol(Gemma.Extensions.AI.Grammar.GrammarCompiler.RegexLexer(regex.GetString()!)))
                : GrammarTestbed.Schema(member.GetProperty("schema").GetRawText(), new JsonSchemaOptions { AnyPropertyOrder = true, Rfc3339Times = true });
            Assert.All(member.GetProperty("valid").EnumerateArray(), text => Assert.True(GrammarTestbed.Accepts(grammar, text.GetString()!), $"{text} is valid by {member}."));
            Assert.All(member.GetProperty("invalid").EnumerateArray(), text => Assert.False(GrammarTestbed.Accepts(grammar, text.GetString()!), $"{text} is not valid by {member}."));
        }
    }

    /// <summary>A multiple that a double sees is none of those left out, and the other way round: divisors of more places than numbers are written with leave nothing.</summary>
    [Theory]
    [InlineData("""{"type":"number","not":{"type":"integer","multipleOf":0.3333333333333333}}""", new[] { "0.5" }, new[] { "1", "2", "-1" })]
    [InlineData("""{"type":["number","null"],"not":{"type":"number","multipleOf":0.1111111111111111}}""", new[] { "null" }, new[] { "1", "0", "9", "0.1111111111111111" })]
    [InlineData("""{"type":["number","null"],"not":{"type":"number","multipleOf":1e-15}}""", new[] { "null" }, new[] { "1", "0", "9", "0.5" })]
    [InlineData("""{"type":["number","null"],"not":{"type":"number","multipleOf":0.33333333333333}}""", new[] { "null", "1", "0.5" }, new[] { "0", "0.33333333333333" })]
    public void NoQuotientIsRounded(string schema, string[] valid, string[] invalid)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema(schema);
        Assert.All(valid, text => Assert.True(GrammarTestbed.Accepts(grammar, text), text));
        Assert.All(invalid, text => Assert.False(GrammarTestbed.Accepts(grammar, text), text));
    }

    /// <summary>What contains demands may be the array itself: it is begun as soon as any item does, not only where the deepest would.</summary>
    [Theory]
    [InlineData("""{"prefixItems":[{"type":"array"}],"contains":{"$ref":"#"}}""", new[] { "[[],1]", "[[[],1]]", "[[],[[],null]]", "7", "[[],[],{}]" }, new[] { "[]", "[[]]", "[[[]]]", "[1,1]" })]
    [InlineData("""{"$dynamicAnchor":"node","items":{"type":"integer"},"prefixItems":[{"type":"array"}],"contains":{"$dynamicRef":"#node"}}""", new[] { "[[],-6,-15]", "[[0.9],-20,22]", "[[[],1]]" }, new[] { "[]", "[[]]", "[[],\"a\"]" })]
    [InlineData("""{"type":["array","null"],"contains":{"$ref":"#"},"minContains":2}""", new[] { "null", "[null,null]", "[null,1,[null,null]]" }, new[] { "[]", "[null]", "[1,1]", "[null,[null]]" })]
    [InlineData("""{"type":"array","contains":{"anyOf":[{"const":1},{"$ref":"#"}]},"maxContains":1}""", new[] { "[1]", "[[1]]", "[[[1],2],{}]" }, new[] { "[]", "[2]", "[1,1]", "[[1],1]", "[[2]]" })]
    public void ContainsMayBeWhatItStandsIn(string schema, string[] valid, string[] invalid)
    {
        using IndependentValidators judges = new();
        foreach (int nesting in (int[])[64, 4])
        {
            CompiledGrammar grammar = GrammarTestbed.Schema(schema, new JsonSchemaOptions { MaxNesting = nesting });
            Assert.All(valid, text => Assert.True(GrammarTestbed.Accepts(grammar, text), text));
            Assert.All(invalid, text => Assert.False(GrammarTestbed.Accepts(grammar, text), text));
            for (int seed = 0; seed < 30; seed++)
            {
                if (GrammarTestbed.RandomText(grammar.CreateConstraint([GrammarTestbed.End]), new Random(seed), 150, endBias: 0.3, checkMasks: seed % 10 == 0) is { } text)
                {
                    Assert.InRange(Depth(text), 0, nesting);
                    Assert.True(new Benchmarks.Schemas.NetValidator(JsonElement.Parse(schema)).IsValid(JsonElement.Parse(text)), text);
                }
            }
        }
    }

    /// <summary>Texts that only some take for one of a format are never given as none of it.</summary>
    [Theory]
    [InlineData("uri-reference", "\"a\\\"b\"", "\"\\\"\"")]
    [InlineData("byte", "\"{\\n\"", "\"a\\u000a!\"", "\"\\u2028?\"")]
    public void OutsideOfAFormatIsOutsideForAll(string format, params string[] texts)
    {
        CompiledGrammar grammar = GrammarTestbed.Schema($$$"""{"type":"string","not":{"format":"{{{format}}}"}}""");
        Assert.All(texts, text => Assert.False(GrammarTestbed.Accepts(grammar, text), text));
        Assert.True(GrammarTestbed.Accepts(grammar, "\"{ }\""));
    }

    private static int Depth(string json)
    {
        Utf8JsonReader reader = new(System.Text.Encoding.UTF8.GetBytes(json));
        int depth = 0;
        while (reader.Read())
        {
            depth = Math.Max(depth, reader.CurrentDepth + (reader.TokenType is JsonTokenType.StartArray or JsonTokenType.StartObject ? 1 : 0));
        }

        return depth;
    }
}
