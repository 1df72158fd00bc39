using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>
/// Checks that kernels multiply pairs of bfloat16 correctly, with one product for each path. The numbers are small integers, so every sum is exact: a processor
/// that adds a pair in another order, or rounds differently from Intel's manual, passes.
/// </summary>
internal static unsafe class BFloat16SelfTest
{
    private const int Columns = 32;
    private const int Outputs = TileFormat.Rows;

    // One row (generation), the most rows that GEMV takes at a time, and GEMM panels of twelve.
    private static readonly int[] Batches = [1, 8, 36];

    public static bool Passes(MatMulKernels kernels)
    {
        int rows = Batches.Max();
        using WorkerPool workers = new(1);
        using TiledMatMul product = new(workers, kernels);
        using CpuMatrix x = new(rows, Columns), sums = new(rows, Outputs);
        ushort* data = stackalloc ushort[Outputs * Columns];
        for (int i = 0; i < Outputs * Columns; i++)
        {
            data[i] = HalfBits.BFloat16FromSingle(Weight(i / Columns, i % Columns));
        }

        for (int i = 0; i < rows * Columns; i++)
        {
            x.Data[i] = Activation(i / Columns, i % Columns);
        }

        CpuWeights weights = product.Load([new WeightPart(BlockFormat.Get(TensorType.BF16), (byte*)data, 0, Outputs, Columns)], Outputs, Columns);
        return Batches.All(batch =>
        {
            new Span<float>(sums.Data, rows * Outputs).Clear();
            product.Run(x, weights, sums, batch);
            return Enumerable.Range(0, batch * Outputs).All(i => sums.Data[i] == Expected(i / Outputs, i % Outputs));
        });
    }

    private static int Weight(int row, int column) => (7 * row + 3 * column) % 17 - 8;

    private static int Activation(int row, int column) => (5 * row + 11 * column) % 31 - 15;

    private static int Expected(int row, int output) => Enumerable.Range(0, Columns).Sum(k => Weight(output, k) * Activation(row, k));
}
