using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Few activation rows (generation). Weights are unpacked as for tiles but multiplied in registers instead of through a tile: throughput from L2
/// rose from 12 to more than 20 GB/s a core, so that memory bandwidth is the only limit left.
/// </summary>
internal static unsafe class Gemv
{
    // Weights are prefetched so far ahead of the products, at least. With the 16 rows after, 20 KB of Q4_K and 30 of Q6_K, two cores read 0.87 and 0.82 of what plain loads read, twice as far ahead
    // 0.93 and 0.89 (Zen 4, 33 GB/s); where the memory gave 26 GB/s it made no difference.
    private const int AheadBytes = 40_000;

    // Of interleaved rows, which are one stream: 1 to 4 KB ahead two cores generated 25 to 27 tokens a second with a 2B Q4_0, 8 KB 28.8, 16 to 32 KB 27 to 28, and without prefetch 21 (Zen 5, 50 GB/s).
    private const int InterleavedAheadBytes = 8192;

    private const int Page = 4096;

    // Pages are touched so many blocks of 16 rows before their lines are asked for.
    private const int PageBlocks = 2;

    /// <summary>
    /// While 16 weight rows are multiplied, later ones are prefetched in four streams or so, one line of each at a time. On one core of an Ice Lake server reading a
    /// file's pages that way gave 13.0 GB/s; loads alone in four streams 11.4, in one stream 9.0; the walk over 16 rows without prefetch 7.5, with prefetch in
    /// one stream 9.2, in eight streams in bursts 10.8.
    /// </summary>
    /// <param name="call">What all tasks share.</param>
    /// <param name="plan">The part of the weights.</param>
    /// <param name="firstTile">First tile of 32 weight rows.</param>
    /// <param name="lastTile">End of the tiles.</param>
    /// <param name="worker">The worker, whose memory is used.</param>
    /// <param name="after">The weights that this worker will probably read next; null: the same once more.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(in MatMulCall call, in PartPlan plan, int firstTile, int lastTile, int worker, byte* after)
    {
        int first = firstTile * TileFormat.Rows, last = Math.Min(plan.Part.Rows, lastTile * TileFormat.Rows), rows = call.Rows;
        long stride = plan.Part.RowBytes;
        byte* scratch = call.Scratch[worker].Reserve(GemvArgs.ScratchBytes + GemvArgs.MaxActivationRows * GemvArgs.WeightRows * sizeof(float));
        float* sums = (float*)(scratch + GemvArgs.ScratchBytes);
        byte* activations = call.Packed.Data(plan.Layout, call.X, rows);
        int columns = call.X.Columns, panel = call.GemvPanel, bytesPerColumn = plan.Layout.BytesPerColumn();
        bool int8 = plan.Layout.IsInt8();
        int groups = int8 ? columns / plan.Format.Group : 0;
        int* terms = int8 ? call.Packed.ZeroPointTerms(plan.TermsIndex) : null;
        GemvArgs args = new()
        {
            Columns = columns,
            WeightStride = plan.Part.Stride,
            Scratch = scratch,
            Output = sums,
            RowBytes = stride,
            Stream = GemvArgs.WeightRows * stride / 4 & ~63L,
        };
        int ahead = (int)((AheadBytes + GemvArgs.WeightRows * stride - 1) / (GemvArgs.WeightRows * stride)) * GemvArgs.WeightRows;
        for (int row = first; row < last; row += GemvArgs.WeightRows)
        {
            // The last block may overlap the one before it: some rows are computed twice.
            int start = Math.Min(row, plan.Part.Rows - GemvArgs.WeightRows);
            if (plan.Part.IsInterleaved)
            {
                args.Ahead = plan.Part.Data + start * stride + InterleavedAheadBytes;
            }
            else
            {
                args.Ahead = Later(plan.Part, row + ahead, last, after);
                TouchPages(Later(plan.Part, row + ahead + PageBlocks * GemvArgs.WeightRows, last, after), GemvArgs.WeightRows * stride);
            }

            args.Weights = plan.Part.Data + start * stride;
            for (int r = 0; r < rows; r += panel)
            {
                args.Count = Math.Min(panel, rows - r);
                args.Activations = activations + (long)r * columns * bytesPerColumn;
                args.ActivationScales = call.Packed.Scales + r * (columns / 32);
                args.ZeroPointTerms = terms + (long)r * groups;
                call.Kernels.Gemv(plan.Format, &args);
                Store(call.Output, r, args.Count, plan.Part.FirstRow + row, sums, row - start);
            }
        }
    }

    /// <summary>Sums of 16 weight rows into the rows of the output, without those that the block before had.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(CpuMatrix output, int firstRow, int rows, int column, float* sums, int had)
    {
        float* target = output.RowData(firstRow) + column;
        for (int i = 0; i < rows; i++, target += output.Columns, sums += GemvArgs.WeightRows)
        {
            if (had == 0)
            {
                Unsafe.CopyBlockUnaligned(target, sums, GemvArgs.WeightRows * sizeof(float)); // of a length that is known: a move or two
            }
            else
            {
                new ReadOnlySpan<float>(sums + had, GemvArgs.WeightRows - had).CopyTo(new Span<float>(target, GemvArgs.WeightRows - had));
            }
        }
    }

    /// <summary>Rows that come after those of a task, or are still in it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* Later(in WeightPart part, int row, int last, byte* after) =>
        row < last || after is null ? part.Data + Math.Min(row, part.Rows - GemvArgs.WeightRows) * part.RowBytes : after + (row - last) * part.RowBytes;

    /// <summary>
    /// Prefetches a line of each page, so that the tables of pages are walked for several at once and before the lines are asked for. From pages of 4 kB one core multiplied Q6_K at 25.0 instead of
    /// 21.4 GB/s that way, Q4_K at 24 instead of 23 (Zen 4, virtual machine); from huge pages it makes no difference.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void TouchPages(byte* data, long bytes)
    {
        for (long offset = 0; offset < bytes && Sse.IsSupported; offset += Page)
        {
            Sse.Prefetch1(data + offset);
        }
    }
}
