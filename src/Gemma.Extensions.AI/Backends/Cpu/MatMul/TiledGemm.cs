using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// A run of weight rows by tiles: a tile of 32 rows by a few hundred columns is unpacked into the worker's cache and multiplied with all panels of
/// activations.
/// </summary>
internal static unsafe class TiledGemm
{
    private const int Int8TileBytes = BlockSizes.Int8Columns * TileFormat.Rows;
    private const int Float32TileBytes = BlockSizes.Float32Columns * TileFormat.Rows * sizeof(float);
    private const int ScaleBytes = BlockSizes.Int8Columns / 16 * 2 * TileFormat.Rows * sizeof(float);

    // An int8 tile and its scales, then 128 of its columns as float32 for tiers without int8 kernels.
    private const int SlotBytes = Int8TileBytes + ScaleBytes + Float32TileBytes;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(in MatMulCall call, in PartPlan plan, int first, int last, int worker)
    {
        byte* scratch = call.Scratch[worker].Reserve(call.TilesPerTask * SlotBytes);
        if (call.Rows <= BlockSizes.MemoryBoundRows)
        {
            // Tile after tile, in the order of the file, with prefetch.
            for (int tile = first; tile < last; tile++)
            {
                Tiles(call, plan, tile, tile + 1, scratch, worker, readAhead: tile + 2 <= plan.Part.Rows / TileFormat.Rows);
            }
        }
        else
        {
            Tiles(call, plan, first, last, scratch, worker, readAhead: false);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Tiles(in MatMulCall call, in PartPlan plan, int first, int last, byte* scratch, int worker, bool readAhead)
    {
        int all = call.X.Columns, step = BlockSizes.Step(plan.Layout, call.Rows, all), panel = BlockSizes.PanelRows(call.Rows, call.Kernels.MaxPanel(plan.Layout));
        if (Expands(plan))
        {
            step = Math.Max(step, plan.Format.BlockElements);
        }

        long stride = plan.Part.RowBytes;
        for (int k = 0; k < all; k += step)
        {
            int columns = Math.Min(step, all - k);
            for (int tile = first; tile < last; tile++)
            {
                int row = Row(plan, tile);
                byte* next = plan.Part.Data + (row + TileFormat.Rows) * stride;
                byte* slot = scratch + (tile - first) * SlotBytes;
                for (int half = 0; half < 2; half++)
                {
                    plan.Format.UnpackRows(plan.Part.At(row + 16 * half, k), plan.Part.Stride, columns, slot + 64 * half, (float*)(slot + Int8TileBytes) + 16 * half);
                    if (readAhead)
                    {
                        ReadAhead(next, TileFormat.Rows * stride, 2L * k + half * columns, columns, 2L * all);
                    }
                }
            }

            for (int tile = first; tile < last; tile++)
            {
                Multiply(call, plan, tile, k, columns, panel, scratch, tile - first, worker);
            }
        }
    }

    /// <summary>First row of a tile: the last one may overlap the one before it.</summary>
    private static int Row(in PartPlan plan, int tile) => Math.Min(tile * TileFormat.Rows, plan.Part.Rows - TileFormat.Rows);

    /// <summary>
    /// Prefetches a share of the next tile, whose rows lie one after the other, at eight places at once: one core got 9.4 GB/s in that way, 8.3 with one
    /// place, 6.7 without prefetch (rows of 1296 bytes on an Ice Lake server). At 5184 bytes walking row by row was as good (9.9 against 9.4).
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void ReadAhead(byte* next, long bytes, long done, long count, long all)
    {
        if (Sse.IsSupported)
        {
            long stream = bytes / 8, end = stream * (done + count) / all;
            for (long offset = stream * done / all; offset < end; offset += 64)
            {
                for (byte* place = next + offset; place < next + bytes; place += stream)
                {
                    Sse.Prefetch1(place);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Multiply(in MatMulCall call, in PartPlan plan, int tile, int k, int columns, int panel, byte* scratch, int index, int worker)
    {
        int row = Row(plan, tile);
        byte* slot = scratch + index * SlotBytes;
        int overlap = tile * TileFormat.Rows - row, rows = call.Rows;
        float* target = call.Output.Data + plan.Part.FirstRow + row;
        TileArgs args = new()
        {
            Weights = slot,
            Scales = (float*)(slot + Int8TileBytes),
            OutputStride = (long)call.Output.Columns * sizeof(float),
            Accumulate = k == 0 ? 0 : 1,
        };
        bool apart = overlap > 0 || rows > BlockSizes.MemoryBoundRows;
        if (apart)
        {
            // Sums go to the worker's own memory first: another worker may be summing the rows that overlapping tiles share. And output rows of a batch are so
            // far apart (often whole pages) that accumulating there at every step should miss the TLB; measurements did not settle whether it matters.
            args.OutputStride = TileFormat.Rows * sizeof(float);
            target = (float*)call.Sums[worker].Reserve(call.TilesPerTask * rows * args.OutputStride) + (long)index * rows * TileFormat.Rows;
        }

        if (Expands(plan))
        {
            for (int done = 0; done < columns; done += BlockSizes.Float32Columns)
            {
                int count = Math.Min(BlockSizes.Float32Columns, columns - done);
                args.Weights = slot + Int8TileBytes + ScaleBytes;
                Expand(plan.Format, slot + done * TileFormat.Rows, (float*)(slot + Int8TileBytes) + done / plan.Format.Group * plan.Format.ScaleStride, count, (float*)args.Weights);
                Panels(call, plan, k + done, count, panel, target, ref args);
                args.Accumulate = 1;
            }
        }
        else
        {
            Panels(call, plan, k, columns, panel, target, ref args);
        }

        if (apart && k + columns == call.X.Columns)
        {
            for (int r = 0; r < rows; r++)
            {
                new Span<float>(target + r * TileFormat.Rows + overlap, TileFormat.Rows - overlap).CopyTo(call.Output.Row(r)[(plan.Part.FirstRow + row + overlap)..]);
            }
        }
    }

    /// <summary>A tile with all panels of activations, at the same columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Panels(in MatMulCall call, in PartPlan plan, int k, int columns, int panel, float* target, ref TileArgs args)
    {
        ActivationLayout layout = plan.Layout;
        int rows = call.Rows, bytesPerColumn = layout.BytesPerColumn(), blocks = 0, groups = 0;
        args.Activations = call.Packed.Data(layout, call.X, rows) + (long)rows * k * bytesPerColumn;
        args.Output = target;
        args.WeightStride = TileFormat.Rows;
        args.ActivationStride = 1;
        if (layout.IsInt8())
        {
            int group = plan.Format.Group;
            blocks = columns / 32;
            groups = columns / group;
            args.Steps = blocks;
            args.ActivationScales = call.Packed.Scales + (long)rows * (k / 32);
            args.ZeroPointTerms = call.Packed.ZeroPointTerms(plan.TermsIndex) + (long)rows * (k / group);
        }
        else
        {
            args.Steps = layout == ActivationLayout.BFloat16x2 ? columns / 2 : columns;
        }

        fixed (TileArgs* pinned = &args)
        {
            for (int first = 0; first < rows; first += panel)
            {
                int count = Math.Min(panel, rows - first);
                pinned->ActivationStep = count;
                call.Kernels.Gemm(layout, pinned, count, plan.Format);
                pinned->Activations += (long)count * columns * bytesPerColumn;
                pinned->ActivationScales += count * blocks;
                pinned->ZeroPointTerms = (int*)pinned->ZeroPointTerms + count * groups;
                pinned->Output += count * (pinned->OutputStride / sizeof(float));
            }
        }
    }

    /// <summary>An int8 tile as a float32 tile.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Expand(TileFormat format, byte* q, float* scales, int columns, float* target)
    {
        Vector512<int> low = Vector512.Create(255), offset = Vector512.Create(format.Offset);
        for (int k = 0; k < columns; k += 4, q += 4 * TileFormat.Rows)
        {
            float* scale = scales + k / format.Group * format.ScaleStride;
            for (int half = 0; half < 2; half++)
            {
                Vector512<int> bytes = Vector512.Load((int*)(q + 64 * half));
                Vector512<float> s = Vector512.Load(scale + 16 * half);
                Vector512<float> m = format.HasMinimum ? Vector512.Load(scale + TileFormat.Rows + 16 * half) : Vector512<float>.Zero;
                for (int i = 0; i < 4; i++)
                {
                    Vector512<float> value = Vector512.ConvertToSingle(((bytes >> (8 * i)) & low) - offset);
                    (s * value - m).Store(target + (k + i) * TileFormat.Rows + 16 * half);
                }
            }
        }
    }

    /// <summary>True if the tier has no int8 kernels and multiplies int8 tiles as float32.</summary>
    private static bool Expands(in PartPlan plan) => plan.Format.Layout == TileLayout.Int8x4 && !plan.Layout.IsInt8();
}
