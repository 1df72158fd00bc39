using System.Text.Json;
using Gemma.Extensions.AI.Tests.Engine;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>An adapter that neither this project wrote nor its tests, and what llama.cpp says with it.</summary>
public sealed class LlamaCppTests
{
    /// <summary>
    /// llama.cpp keeps keys and values as float16 and reports the best 40 tokens, so that shares among those are compared; without any adapter the two
    /// differ by 2e-4 as well.
    /// </summary>
    [Fact]
    public void AdaptedProbabilitiesAreLlamaCpps()
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(TestData.Local("lora/llama.cpp.json")));
        int[] tokens = [.. golden.RootElement.GetProperty("tokens").EnumerateArray().Select(token => token.GetInt32())];
        using var tiny = new TinyEngine();
        float[][] logits = tiny.Logits(tokens, adapter: tiny.Adapter(TestData.Local("lora/adapter.gguf")));
        int position = 0;
        foreach (JsonElement row in golden.RootElement.GetProperty("probabilities").EnumerateArray())
        {
            (int Token, double Share)[] expected = [.. row.EnumerateObject().Select(entry => (int.Parse(entry.Name), entry.Value.GetDouble()))];
            double[] weights = [.. expected.Select(entry => Math.Exp(logits[position][entry.Token]))];
            double sum = weights.Sum(), all = expected.Sum(entry => entry.Share);
            Assert.Equal(expected.MaxBy(entry => entry.Share).Token, Array.IndexOf(logits[position], logits[position].Max()));
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.InRange(Math.Abs(weights[i] / sum - expected[i].Share / all), 0, 1e-3);
            }

            position++;
        }

        Assert.Equal(tokens.Length, position);
    }
}
