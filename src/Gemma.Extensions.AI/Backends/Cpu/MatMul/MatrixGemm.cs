using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Rows of prompts by matrix registers: a few tiles of weights are unpacked to bfloat16 into the worker's L2, a few thousand columns at a time, and multiplied with all
/// rows, 32 by 32. Meanwhile the weights that come next are prefetched.
/// </summary>
internal static unsafe class MatrixGemm
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(in MatrixCall call, in PartPlan plan, int first, int last, int worker)
    {
        int all = call.X.Columns, padded = MatrixKernels.Padded(all), step = BlockSizes.MatrixStep(all), rows = call.Rows, tiles = last - first;
        bool apart = last == plan.Tiles && plan.Part.Rows % TileFormat.Rows != 0; // the last tile overlaps the one before it
        int whole = apart ? tiles - 1 : tiles;
        byte* scratch = call.Scratch[worker].Reserve(tiles * BFloat16Pairs.TileBytes(step) + BFloat16Pairs.ScratchBytes), weights = scratch + BFloat16Pairs.ScratchBytes;
        float* sums = apart ? (float*)call.Sums[worker].Reserve((long)rows * TileFormat.Rows * sizeof(float)) : null;
        float* output = call.Output.RowData(call.FirstRow) + plan.Part.FirstRow + first * TileFormat.Rows;
        MatrixArgs args = default;
        for (int k = 0; k < all; k += step)
        {
            int columns = Math.Min(step, all - k);
            long bytes = BFloat16Pairs.TileBytes(columns);
            for (int tile = 0; tile < tiles; tile++)
            {
                BFloat16Pairs.Unpack(plan.Format, plan.Part.At(Math.Min((first + tile) * TileFormat.Rows, plan.Part.Rows - TileFormat.Rows), k), plan.Part.RowBytes, plan.Part.Stride, columns, scratch, weights + tile * bytes);
            }

            args.Steps = MatrixKernels.Padded(columns) / MatrixKernels.StepColumns;
            args.Accumulate = k > 0 ? 1 : 0;
            for (int row = 0; row < rows; row += MatrixKernels.MaxRows)
            {
                int count = Math.Min(MatrixKernels.MaxRows, rows - row);
                if (whole > 0)
                {
                    args.OutputStride = (long)call.Output.Columns * sizeof(float);
                    args.Weights = weights;
                    args.Tiles = whole;
                    MatrixKernels.SetRows(&args, call.Packed, padded, row, count, k, output + (long)row * call.Output.Columns);
                    call.Kernels.Multiply(&args, count);
                }

                if (apart)
                {
                    args.OutputStride = TileFormat.Rows * sizeof(float);
                    args.Weights = weights + whole * bytes;
                    args.Tiles = 1;
                    MatrixKernels.SetRows(&args, call.Packed, padded, row, count, k, sums + (long)row * TileFormat.Rows);
                    call.Kernels.Multiply(&args, count);
                }

                ReadAhead(call, plan, first, last, k + step, row, count);
            }
        }

        for (int row = 0; apart && row < rows; row++)
        {
            int rest = plan.Part.Rows % TileFormat.Rows;
            new Span<float>(sums + (row + 1L) * TileFormat.Rows - rest, rest).CopyTo(new Span<float>(output + (long)row * call.Output.Columns + whole * TileFormat.Rows, rest));
        }
    }

    /// <summary>Prefetches a share of the columns that come next, or of the next task's first ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ReadAhead(in MatrixCall call, in PartPlan plan, int first, int last, int column, int done, int count)
    {
        int all = call.X.Columns, step = BlockSizes.MatrixStep(all);
        if (column >= all)
        {
            column = 0;
            first += call.Scratch.Length * call.TilesPerTask; // the other workers have the tasks in between
            last = Math.Min(plan.Tiles, first + call.TilesPerTask);
        }

        if (!Sse.IsSupported || first >= last)
        {
            return;
        }

        long bytes = plan.Part.Format.ByteLength(Math.Min(step, all - column));
        int rows = Math.Min(plan.Part.Rows, last * TileFormat.Rows) - first * TileFormat.Rows;
        for (int row = (int)((long)rows * done / call.Rows), end = (int)((long)rows * (done + count) / call.Rows); row < end; row++)
        {
            // Of rows that lie among each other each has a sixteenth of their bytes.
            int of = plan.Part.IsInterleaved ? row % InterleavedRows.Count : 0;
            byte* data = plan.Part.At(first * TileFormat.Rows + row - of, column) + of * bytes;
            for (long line = 0; line < bytes; line += 64)
            {
                Sse.Prefetch1(data + line);
            }
        }
    }
}

/// <summary>The arguments that all tasks of one product share, for the rows of prompts.</summary>
/// <param name="x">Activations.</param>
/// <param name="output">Receives the products.</param>
/// <param name="firstRow">The first row of a prompt.</param>
/// <param name="rows">Rows of prompts.</param>
/// <param name="kernels">Kernels for matrix registers.</param>
/// <param name="packed">The rows in <see cref="ActivationLayout.BFloat16Matrix"/>.</param>
/// <param name="scratch">Memory of each worker for tiles.</param>
/// <param name="sums">Memory of each worker for sums that are not added up in the output.</param>
/// <param name="tilesPerTask">Tiles of 32 weight rows that a task takes.</param>
internal readonly unsafe struct MatrixCall(
    CpuMatrix x, CpuMatrix output, int firstRow, int rows, MatrixKernels? kernels, byte* packed, NativeBuffer[] scratch, NativeBuffer[] sums, int tilesPerTask)
{
    private readonly MatrixKernels? _kernels = kernels;

    public readonly CpuMatrix X = x, Output = output;
    public readonly int FirstRow = firstRow, Rows = rows, TilesPerTask = tilesPerTask;
    public readonly byte* Packed = packed;
    public readonly NativeBuffer[] Scratch = scratch, Sums = sums;

    /// <summary>Not available without rows.</summary>
    public MatrixKernels Kernels => _kernels!;
}
