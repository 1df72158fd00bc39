using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Schema;
using Gemma.Extensions.AI.Grammar.Tokens;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Requests with equal schemas share one grammar, on many threads, and what is kept is bounded.</summary>
public sealed class GrammarCacheTests
{
    private static string Schema(int i) =>
        """{"type":"object","properties":{"NAME":{"type":"string"},"size":{"type":"number"},"tags":{"type":"array","items":{"type":"string","pattern":"^[a-z]+-[0-9]{1,3}$"}}},"required":["NAME"]}""".Replace("NAME", $"name{i}", StringComparison.Ordinal);

    [Fact]
    public void EqualSchemasShareAGrammarUntilOthersReplaceIt()
    {
        GrammarCompiler compiler = new(GrammarTestbed.Vocabulary);
        CompiledGrammar first = compiler.JsonSchema(JsonElement.Parse(Schema(0)));
        Assert.Same(first, compiler.JsonSchema(JsonElement.Parse(Schema(0))));
        Assert.NotSame(first, compiler.JsonSchema(JsonElement.Parse(Schema(0)), new JsonSchemaOptions { Lenient = true }));
        for (int i = 1; i <= 40; i++)
        {
            compiler.JsonSchema(JsonElement.Parse(Schema(i)));
            Assert.Same(first, compiler.JsonSchema(JsonElement.Parse(Schema(0)))); // In use, so kept.
        }

        for (int i = 1; i <= 100; i++)
        {
            compiler.JsonSchema(JsonElement.Parse(Schema(1000 + i)));
        }

        Assert.NotSame(first, compiler.JsonSchema(JsonElement.Parse(Schema(0))));
    }

    [Fact]
    public void MasksThatAreKeptAreBoundedOverAllGrammars()
    {
        // As many tokens as Gemma has, so that a mask takes 32 KB.
        VocabularyTrie vocabulary = new([.. Enumerable.Range(0, 256_000).Select(i => i < 256 ? new[] { (byte)i } : System.Text.Encoding.UTF8.GetBytes($"w{i}"))]);
        GrammarCompiler compiler = new(vocabulary);
        ulong[] mask = new ulong[vocabulary.MaskWords];
        for (int i = 0; i < 40; i++)
        {
            ITokenConstraint constraint = compiler.JsonSchema(JsonElement.Parse("""{"type":"string","pattern":"^[a-f]{1,400}END$"}""".Replace("END", $"{i}", StringComparison.Ordinal))).CreateConstraint([0]);
            foreach (byte b in System.Text.Encoding.UTF8.GetBytes("\"" + string.Concat(Enumerable.Repeat("abcdef", 60))))
            {
                constraint.TryFillMask(mask);
                constraint.Accept(b);
            }
        }

        compiler.JsonSchema(JsonElement.Parse("true"));
        Assert.InRange(compiler.CachedBytes, 1, GrammarCompiler.MaxKeptBytes);
    }

    [Fact]
    public void ThreadsShareAGrammar()
    {
        CompiledGrammar shared = GrammarTestbed.Schema(Schema(0));
        string?[] expected = [.. Enumerable.Range(0, 40).Select(seed => GrammarTestbed.RandomText(GrammarTestbed.Schema(Schema(0)).CreateConstraint([GrammarTestbed.End]), new Random(seed), 60, checkMasks: false))];
        string?[] actual = new string?[expected.Length];
        Parallel.For(0, actual.Length, seed => actual[seed] = GrammarTestbed.RandomText(shared.CreateConstraint([GrammarTestbed.End]), new Random(seed), 60, checkMasks: false));
        Assert.Equal(expected, actual);
    }
}
