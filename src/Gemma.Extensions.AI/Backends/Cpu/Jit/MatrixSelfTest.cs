using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Jit;

/// <summary>Checks kernels of matrix registers: one register of rows and two, whole ones and parts, sums that begin and sums that go on. The numbers are small integers, so every sum is exact.</summary>
internal static unsafe class MatrixSelfTest
{
    private const int Steps = 3, Columns = Steps * MatrixKernels.StepColumns, Tiles = 2, Outputs = Tiles * TileFormat.Rows, Stride = Outputs + 16;

    private static readonly int[] Batches = [1, 13, 16, 17, 29, 32];

    public static bool Passes(MatrixKernels kernels)
    {
        using NativeBuffer rows = new(), weights = new(), output = new();
        rows.Reserve(MatrixKernels.MaxRows * Columns * sizeof(ushort));
        output.Reserve(MatrixKernels.MaxRows * Stride * sizeof(float));
        ushort* w = (ushort*)weights.Reserve(Outputs * Columns * sizeof(ushort));
        for (int i = 0; i < Outputs * Columns; i++)
        {
            int tile = i / (TileFormat.Rows * Columns), pair = i / (2 * TileFormat.Rows) % (Columns / 2), row = i / 2 % TileFormat.Rows;
            w[i] = HalfBits.BFloat16FromSingle(Weight(tile * TileFormat.Rows + row, 2 * pair + i % 2));
        }

        return Batches.All(batch => Passes(kernels, batch, (ushort*)rows.Data, weights.Data, (float*)output.Data));
    }

    private static bool Passes(MatrixKernels kernels, int batch, ushort* rows, byte* weights, float* output)
    {
        int at = 0;
        for (int first = 0; first < batch; first += MatrixKernels.RegisterRows)
        {
            int count = Math.Min(MatrixKernels.RegisterRows, batch - first);
            for (int i = 0; i < count * Columns; i++)
            {
                int column = i / (count * MatrixKernels.StepColumns) * MatrixKernels.StepColumns + i % MatrixKernels.StepColumns;
                rows[at++] = HalfBits.BFloat16FromSingle(Activation(first + i / MatrixKernels.StepColumns % count, column));
            }
        }

        new Span<float>(output, MatrixKernels.MaxRows * Stride).Fill(-1);
        MatrixArgs args = new() { OutputStride = Stride * sizeof(float), Steps = Steps, Tiles = Tiles };
        for (int turn = 1; turn <= 2; turn++)
        {
            MatrixKernels.SetRows(&args, (byte*)rows, Columns, 0, batch, 0, output);
            args.Weights = weights;
            args.Accumulate = turn - 1;
            kernels.Multiply(&args, batch);
            for (int i = 0; i < MatrixKernels.MaxRows * Stride; i++)
            {
                int row = i / Stride, n = i % Stride;
                if (output[i] != (row < batch && n < Outputs ? turn * Expected(row, n) : -1))
                {
                    return false;
                }
            }
        }

        return true;
    }

    private static int Weight(int row, int column) => (7 * row + 3 * column) % 17 - 8;

    private static int Activation(int row, int column) => (5 * row + 11 * column) % 31 - 15;

    private static int Expected(int row, int output) => Enumerable.Range(0, Columns).Sum(k => Weight(output, k) * Activation(row, k));
}
