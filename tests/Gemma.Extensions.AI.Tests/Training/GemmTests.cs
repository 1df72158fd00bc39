using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Tests.Backends;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

public sealed unsafe class GemmTests
{
    /// <summary>Every layout against a triple loop, at sizes beside every block boundary, in place of and added to what is there.</summary>
    [Theory]
    [CombinatorialSizes]
    public void EqualsTheTripleLoop(Layout layout, int m, int n, int k) => CheckProduct(layout, m, n, k);

    /// <summary>By matrix registers, as they compute, with two numbers of bfloat16 for each of float32: within the same bound.</summary>
    [Theory]
    [CombinatorialSizes]
    public void MatrixRegistersEqualTheTripleLoop(Layout layout, int m, int n, int k) => CheckByMatrix(new EmulatedMatrix(), layout, m, n, k);

    /// <summary>The very machine code.</summary>
    [Theory]
    [InlineData(Layout.NN, 33, 70, 70)]
    [InlineData(Layout.NT, 9, 33, 512)]
    [InlineData(Layout.TN, 40, 32, 33)]
    public void InterpretedMatrixRegistersEqualTheTripleLoop(Layout layout, int m, int n, int k) => CheckByMatrix(new InterpretedMatrix(), layout, m, n, k);

    private static void CheckByMatrix(MatrixKernels inner, Layout layout, int m, int n, int k)
    {
        using CountedMatrix kernels = new(inner);
        Gemm.Matrix = kernels;
        try
        {
            CheckProduct(layout, m, n, k);
            Assert.Equal(m >= 8 && n >= 32 && k >= 32, kernels.Calls > 0);
        }
        finally
        {
            Gemm.Matrix = null;
        }
    }

    private static void CheckProduct(Layout layout, int m, int n, int k)
    {
        Random random = new(m * 31 + n * 7 + k);
        FloatBuffer a = Fill(m * k), b = Fill(k * n), c = Fill(m * n), expected = new(m * n);
        foreach (bool accumulate in new[] { false, true })
        {
            for (int i = 0; i < m; i++)
            {
                for (int j = 0; j < n; j++)
                {
                    double sum = accumulate ? c.Span[i * n + j] : 0;
                    for (int p = 0; p < k; p++)
                    {
                        float x = layout == Layout.TN ? a.Span[p * m + i] : a.Span[i * k + p];
                        float y = layout == Layout.NT ? b.Span[j * k + p] : b.Span[p * n + j];
                        sum += (double)x * y;
                    }

                    expected.Span[i * n + j] = (float)sum;
                }
            }

            switch (layout)
            {
                case Layout.NN:
                    Gemm.NN(m, n, k, a.Pointer, k, b.Pointer, n, c.Pointer, n, accumulate);
                    break;
                case Layout.NT:
                    Gemm.NT(m, n, k, a.Pointer, k, b.Pointer, k, c.Pointer, n, accumulate);
                    break;
                default:
                    Gemm.TN(m, n, k, a.Pointer, m, b.Pointer, n, c.Pointer, n, accumulate);
                    break;
            }

            for (int i = 0; i < m * n; i++)
            {
                // Sums of k products of numbers below 1 in float32.
                Assert.InRange(MathF.Abs(c.Span[i] - expected.Span[i]), 0, 2e-6f * (k + 1));
            }
        }

        FloatBuffer Fill(int length)
        {
            FloatBuffer buffer = new(length);
            foreach (ref float value in buffer.Span)
            {
                value = (float)(random.NextDouble() * 2 - 1);
            }

            return buffer;
        }
    }

    /// <summary>The kernel for machines without 512-bit vectors, wherever the test runs.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(4)]
    public void NarrowTileEqualsTheTripleLoop(int height)
    {
        const int Depth = 19;
        Random random = new(height);
        FloatBuffer a = new(4 * Depth), panel = new(Depth * 32), c = new(4 * 32);
        foreach (FloatBuffer buffer in new[] { a, panel })
        {
            foreach (ref float value in buffer.Span)
            {
                value = (float)random.NextDouble();
            }
        }

        Gemm.Tile256(a.Pointer, Depth, 1, panel.Pointer, 32, Depth, c.Pointer, 32, height, add: false);
        for (int i = 0; i < 4; i++)
        {
            for (int j = 0; j < 32; j++)
            {
                double expected = 0;
                for (int p = 0; p < Depth && i < height && j < 16; p++)
                {
                    expected += (double)a.Span[i * Depth + p] * panel.Span[p * 32 + j];
                }

                Assert.Equal(expected, c.Span[i * 32 + j], 1e-5);
            }
        }
    }

    public enum Layout
    {
        NN,
        NT,
        TN,
    }

    private sealed class CombinatorialSizesAttribute : Xunit.v3.DataAttribute
    {
        private static readonly (int, int, int)[] s_sizes =
            [(1, 1, 1), (8, 32, 16), (7, 31, 5), (9, 33, 17), (130, 40, 300), (16, 800, 20), (5, 1, 257), (129, 64, 256), (64, 32, 0), (9, 33, 512), (11, 512, 23), (17, 45, 1024), (130, 400, 700), (40, 800, 400), (9, 16, 200), (200, 17, 390)];

        public override ValueTask<IReadOnlyCollection<ITheoryDataRow>> GetData(System.Reflection.MethodInfo testMethod, Xunit.Sdk.DisposalTracker disposalTracker) =>
            new([.. Enum.GetValues<Layout>().SelectMany(layout => s_sizes.Select(s => new TheoryDataRow(layout, s.Item1, s.Item2, s.Item3)))]);

        public override bool SupportsDiscoveryEnumeration() => true;
    }
}
