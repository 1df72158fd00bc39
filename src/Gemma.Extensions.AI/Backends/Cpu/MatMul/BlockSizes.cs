using Gemma.Extensions.AI.Backends.Cpu.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>The block sizes of matrix products, each with its reason.</summary>
internal static class BlockSizes
{
    /// <summary>Columns of an int8 tile: 16 KiB with 32 rows, so that it stays in L1 with its scales.</summary>
    public const int Int8Columns = 512;

    /// <summary>Columns of a float32 tile: 16 KiB. A tile of bfloat16 has twice as many.</summary>
    public const int Float32Columns = 128;

    /// <summary>Up to this many activation rows a product is bound by reading weights: int8 tiles are half as long, and the next ones are prefetched.</summary>
    public const int MemoryBoundRows = 32;

    /// <summary>
    /// GEMV/GEMM crossover in activation rows, twice what GEMV unpacks weights for at once. At 16 rows both took the same time; at 32 the tiled path took
    /// a sixth less for Q4_K and a quarter less for Q6_K.
    /// </summary>
    public const int MaxGemvRows = 2 * GemvArgs.MaxActivationRows;

    /// <summary>Tiles side by side in a task of a batch, so that their activations are read from L2 once. A task of GEMV may take twice as many.</summary>
    public const int TilesPerTask = 4;

    /// <summary>Activations below which packing is not worth waking a worker.</summary>
    public const int SmallWork = 16 * 1024;

    /// <summary>Rows of a panel when at most <paramref name="max"/> fit a micro-kernel: panels are as equal as possible.</summary>
    public static int PanelRows(int rows, int max)
    {
        int panels = (rows + max - 1) / max;
        return (rows + panels - 1) / panels;
    }

    /// <summary>Columns that GEMM works on at a time. Activations are packed in the same steps, so that those of a step lie together.</summary>
    public static int Step(ActivationLayout layout, int rows, int columns) => layout switch
    {
        ActivationLayout.Float32 => Float32Columns,
        ActivationLayout.BFloat16x2 => 2 * Float32Columns,
        _ => Math.Min(columns, rows <= MemoryBoundRows ? Int8Columns / 2 : Int8Columns),
    };

    /// <summary>Tiles of a task: enough tasks that each worker gets about four.</summary>
    public static int TilesFor(bool gemv, int weightRows, int workers)
    {
        int perWorker = weightRows / (TileFormat.Rows * workers * 4);
        return Math.Clamp(perWorker, 1, gemv ? 2 * TilesPerTask : TilesPerTask);
    }
}
