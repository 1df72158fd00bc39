using System.Text.Json;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Tests.Text;

/// <summary>Vocabularies that the tests of this folder share.</summary>
internal static class Tokenizers
{
    private static readonly Lazy<GemmaTokenizer> s_tiny = new(() => GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model")));
    private static readonly Lazy<GemmaTokenizer> s_gemma = new(() => GemmaTokenizer.FromFile(TestData.Shared("tokenizer/tokenizer.model")));

    /// <summary>1,024 pieces.</summary>
    public static GemmaTokenizer Tiny => s_tiny.Value;

    /// <summary>Gemma's own 256,000 pieces; skips where they are not here.</summary>
    public static GemmaTokenizer Gemma
    {
        get
        {
            TestData.Shared("tokenizer/tokenizer.model");
            return s_gemma.Value;
        }
    }

    public static Case[] ReadCases(string path) => JsonSerializer.Deserialize<Case[]>(File.ReadAllBytes(path), JsonSerializerOptions.Web)!;

    public sealed record Case(string Text, int[] Ids);
}
