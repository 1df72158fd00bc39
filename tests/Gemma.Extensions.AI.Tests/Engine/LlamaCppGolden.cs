using System.Text.Json;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>Probabilities that llama.cpp gave.</summary>
internal static class LlamaCppGolden
{
    /// <summary>
    /// llama.cpp keeps keys and values as float16 and reports the best 40 tokens, so that shares among those are compared; on the plain model the two
    /// differ by 2e-4 as well.
    /// </summary>
    /// <param name="file">Tokens, and the probabilities after each.</param>
    /// <param name="logits">Ours, after each token.</param>
    public static void Check(string file, Func<int[], float[][]> logits)
    {
        using JsonDocument golden = JsonDocument.Parse(File.ReadAllText(TestData.Local(file)));
        int[] tokens = [.. golden.RootElement.GetProperty("tokens").EnumerateArray().Select(token => token.GetInt32())];
        float[][] ours = logits(tokens);
        int position = 0;
        foreach (JsonElement row in golden.RootElement.GetProperty("probabilities").EnumerateArray())
        {
            (int Token, double Share)[] expected = [.. row.EnumerateObject().Select(entry => (int.Parse(entry.Name), entry.Value.GetDouble()))];
            double[] weights = [.. expected.Select(entry => Math.Exp(ours[position][entry.Token]))];
            double sum = weights.Sum(), all = expected.Sum(entry => entry.Share);
            Assert.Equal(expected.MaxBy(entry => entry.Share).Token, Array.IndexOf(ours[position], ours[position].Max()));
            for (int i = 0; i < expected.Length; i++)
            {
                Assert.InRange(Math.Abs(weights[i] / sum - expected[i].Share / all), 0, 1e-3);
            }

            position++;
        }

        Assert.Equal(tokens.Length, position);
    }
}
