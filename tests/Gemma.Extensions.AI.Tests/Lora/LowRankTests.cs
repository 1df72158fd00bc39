using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Tests.Backends;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>The low-rank product of every tier against double precision.</summary>
public sealed class LowRankTests
{
    [Theory, MemberData(nameof(Tiers.All), MemberType = typeof(Tiers))]
    public void AddLowRank(string tier)
    {
        using Backend backend = Tiers.Create(tier);
        using RandomTensors random = new(3);
        const int Columns = 77, Rows = 40;
        LowRankPart[] parts = [Part(0, 5, 70), Part(70, 1, 3), Part(90, 18, 1100)];
        LowRankMatrix weights = backend.LoadLowRank(1200, Columns, parts);
        using Matrix x = backend.CreateMatrix(Rows, Columns), y = backend.CreateMatrix(Rows, 1200), solo = backend.CreateMatrix(Rows, 1200);
        for (int r = 0; r < Rows; r++)
        {
            random.Fill(x, r);
            random.Fill(y, r);
            solo.Write(r, y.Row(r));
        }

        float[][] before = [.. Enumerable.Range(0, Rows).Select(r => y.Row(r).ToArray())];
        int[] chosen = [.. Enumerable.Range(0, Rows).Where(r => r % 3 != 1)];
        bool matrix = backend is CpuBackend { HasPromptKernels: true };
        int prompts = matrix ? chosen.Length : 0;
        double tolerance = matrix ? 0.1 : 2e-4; // sums of 77 products, and of 18 such sums, of numbers below 1.5 that were moved by 2^-9
        backend.AddLowRank(x, weights, y, chosen, prompts);
        for (int r = 0; r < Rows; r++)
        {
            if (!chosen.Contains(r))
            {
                Assert.True(y.Row(r).SequenceEqual(before[r]));
                continue;
            }

            float[] row = y.Row(r).ToArray();
            Assert.All(Expected(x.Row(r).ToArray(), before[r], parts).Zip(row), pair => Assert.Equal(pair.First, pair.Second, tolerance));
            backend.AddLowRank(x, weights, solo, [r], Math.Min(1, prompts));
            Assert.True(solo.Row(r).SequenceEqual(row), $"{tier}: row {r} differs from what it is alone.");
        }

        LowRankPart Part(int first, int rank, int rows)
        {
            float[] a = new float[rank * Columns], b = new float[rows * rank];
            random.Fill(a);
            random.Fill(b);
            return new LowRankPart(first, rank, a, b);
        }
    }

    [Fact]
    public void WrongShapesAreRefused()
    {
        using Backend backend = Tiers.Create("reference");
        LowRankMatrix weights = backend.LoadLowRank(8, 4, new LowRankPart(2, 2, new float[8], new float[8]));
        using Matrix x = backend.CreateMatrix(3, 4), y = backend.CreateMatrix(3, 8), narrow = backend.CreateMatrix(3, 7);
        Assert.Throws<ArgumentException>(() => backend.AddLowRank(x, weights, narrow, [0]));
        Assert.Throws<ArgumentException>(() => backend.AddLowRank(narrow, weights, y, [0]));
        Assert.Throws<ArgumentOutOfRangeException>(() => backend.AddLowRank(x, weights, y, [3]));
        Assert.Throws<ArgumentException>(() => backend.LoadLowRank(8, 4, new LowRankPart(5, 2, new float[8], new float[8])));
        Assert.Throws<ArgumentException>(() => backend.LoadLowRank(8, 5, new LowRankPart(0, 2, new float[8], new float[8])));
    }

    private static double[] Expected(float[] x, float[] before, LowRankPart[] parts)
    {
        double[] result = [.. before.Select(v => (double)v)];
        foreach (LowRankPart part in parts)
        {
            for (int n = 0; n < part.B.Length / part.Rank; n++)
            {
                for (int j = 0; j < part.Rank; j++)
                {
                    double inner = 0;
                    for (int i = 0; i < x.Length; i++)
                    {
                        inner += (double)x[i] * part.A[j * x.Length + i];
                    }

                    result[part.FirstRow + n] += inner * part.B[n * part.Rank + j];
                }
            }
        }

        return result;
    }
}
