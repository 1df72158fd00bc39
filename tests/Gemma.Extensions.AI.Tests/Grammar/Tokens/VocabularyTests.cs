using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;
using Gemma.Extensions.AI.Grammar.Tokens;
using Gemma.Extensions.AI.Text;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Grammar;

/// <summary>Wherever a tokenizer is read from, grammars over it are the same.</summary>
public sealed class VocabularyTests
{
    private const string Schema = """{"type":"object","properties":{"name":{"type":"string","maxLength":20},"tags":{"type":"array","items":{"enum":["red","green",1.5]}},"when":{"type":"string","format":"date"}},"required":["name","when"]}""";
    private const string Text = """{"name": "Ünal 日本 \n😀", "tags": ["red", 1.5], "when": "2024-02-29"}""";

    [Fact]
    public void TokenizersFromEveryFormatGiveTheSameMasks()
    {
        using GemmaModel gguf = GemmaModel.Load(TestData.Local("gguf/tiny-Q8_0.gguf"), new GemmaOptions { Threads = 1 });
        AssertSame(
            GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model")),
            GemmaTokenizer.FromTokenizerJson(File.ReadAllBytes(TestData.Local("tiny/tokenizer.json")), "tokenizer.json"),
            gguf.Tokenizer);
    }

    private static void AssertSame(params GemmaTokenizer[] tokenizers)
    {
        GrammarCompiler[] compilers = [.. tokenizers.Select(GrammarCompiler.For)];
        VocabularyTrie expected = compilers[0].Vocabulary;
        foreach (VocabularyTrie vocabulary in compilers[1..].Select(c => c.Vocabulary))
        {
            Assert.Equal(expected.Count, vocabulary.Count);
            for (int id = 0; id < expected.Count; id++)
            {
                Assert.True(expected.Bytes(id).AsSpan().SequenceEqual(vocabulary.Bytes(id)), $"Token {id} is '{Encoding.UTF8.GetString(expected.Bytes(id))}' here and '{Encoding.UTF8.GetString(vocabulary.Bytes(id))}' there.");
            }
        }

        ITokenConstraint[] constraints = [.. compilers.Select((c, i) => c.JsonSchema(JsonElement.Parse(Schema)).CreateConstraint([tokenizers[i].EndOfTurnId]))];
        List<int> ids = [];
        tokenizers[0].Encode(Text, ids, matchSpecial: false);
        ulong[][] masks = [.. compilers.Select(c => new ulong[c.Vocabulary.MaskWords])];
        foreach (int id in ids.Append(tokenizers[0].EndOfTurnId))
        {
            for (int i = 0; i < constraints.Length; i++)
            {
                Assert.True(constraints[i].TryFillMask(masks[i]));
                Assert.Equal(masks[0], masks[i]);
            }

            Assert.True(constraints[0].IsAllowed(id), $"'{Encoding.UTF8.GetString(expected.Bytes(id))}' is not allowed.");
            Array.ForEach(constraints, c => c.Accept(id));
        }
    }
}
