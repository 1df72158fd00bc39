using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Backends.Cpu.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Few activation rows (generation). Weights are unpacked as for tiles but multiplied in registers instead of through a tile: throughput from L2
/// rose from 12 to more than 20 GB/s a core, so that memory bandwidth is the only limit left.
/// </summary>
internal static unsafe class Gemv
{
    /// <summary>
    /// While 16 weight rows are multiplied, the next 16 are prefetched in four streams, one line of each at a time. On one core of an Ice Lake server reading a
    /// file's pages that way gave 13.0 GB/s; loads alone in four streams 11.4, in one stream 9.0; the walk over 16 rows without prefetch 7.5, with prefetch in
    /// one stream 9.2, in eight streams in bursts 10.8.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(in MatMulCall call, in PartPlan plan, int firstTile, int lastTile, int worker)
    {
        int first = firstTile * TileFormat.Rows, last = Math.Min(plan.Part.Rows, lastTile * TileFormat.Rows), rows = call.Rows;
        long stride = plan.Part.RowBytes;
        byte* scratch = call.Scratch[worker].Reserve(GemvArgs.ScratchBytes + GemvArgs.MaxActivationRows * GemvArgs.WeightRows * sizeof(float));
        float* sums = (float*)(scratch + GemvArgs.ScratchBytes);
        byte* activations = call.Packed.Data(plan.Layout, call.X, rows);
        int columns = call.X.Columns, panel = BlockSizes.PanelRows(rows, GemvArgs.MaxActivationRows), bytesPerColumn = plan.Layout.BytesPerColumn();
        bool int8 = plan.Layout.IsInt8();
        int groups = int8 ? columns / plan.Format.Group : 0;
        int* terms = int8 ? call.Packed.ZeroPointTerms(plan.TermsIndex) : null;
        GemvArgs args = new()
        {
            Columns = columns,
            WeightStride = stride,
            Scratch = scratch,
            Output = sums,
            Stream = GemvArgs.WeightRows * stride / 4 & ~63L,
        };
        for (int row = first; row < last; row += GemvArgs.WeightRows)
        {
            // The last block may overlap the one before it: some rows are computed twice.
            int start = Math.Min(row, plan.Part.Rows - GemvArgs.WeightRows), next = row + GemvArgs.WeightRows;
            if (next >= last)
            {
                // The other workers have the tasks in between.
                next = first + call.Scratch.Length * call.TilesPerTask * TileFormat.Rows;
            }

            args.Ahead = plan.Part.Data + Math.Min(next, plan.Part.Rows - GemvArgs.WeightRows) * stride;
            args.Weights = plan.Part.Data + start * stride;
            for (int r = 0; r < rows; r += panel)
            {
                args.Count = Math.Min(panel, rows - r);
                args.Activations = activations + (long)r * columns * bytesPerColumn;
                args.ActivationScales = call.Packed.Scales + r * (columns / 32);
                args.ZeroPointTerms = terms + (long)r * groups;
                call.Kernels.Gemv(plan.Format, &args);
                for (int i = 0; i < args.Count; i++)
                {
                    new ReadOnlySpan<float>(sums + i * GemvArgs.WeightRows + (row - start), GemvArgs.WeightRows - (row - start))
                        .CopyTo(call.Output.Row(r + i)[(plan.Part.FirstRow + row)..]);
                }
            }
        }
    }
}
