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
    /// GEMV/GEMM crossover in activation rows. At 32 rows, with weights unpacked for eight at once, the tiled path took a sixth less for Q4_K and a quarter less for Q6_K.
    /// </summary>
    public const int MaxGemvRows = 16;

    /// <summary>
    /// Tiles of a task of GEMV: workers end within the time of one. With four, a task of the 2B's down projection is a ninth of what each of two workers does.
    /// </summary>
    public const int GemvTiles = 1;

    /// <summary>Tiles side by side in a task of a batch, so that their activations are read from L2 once.</summary>
    public const int TilesPerTask = 4;

    /// <summary>
    /// Most columns of a tile of bfloat16 for matrix registers: four tiles of 32 rows take 640 KiB of L2, which is two megabytes where there are such registers, and 32 rows
    /// of activations another 160 KiB.
    /// </summary>
    private const int MatrixColumns = 2560;

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
        ActivationLayout.BFloat16Matrix => columns,
        _ => Math.Min(columns, rows <= MemoryBoundRows ? Int8Columns / 2 : Int8Columns),
    };

    /// <summary>Columns that matrix registers work on at a time: equal shares in whole blocks of any format.</summary>
    public static int MatrixStep(int columns)
    {
        int steps = (columns + MatrixColumns - 1) / MatrixColumns;
        return (columns + 256 * steps - 1) / (256 * steps) * 256;
    }

    /// <summary>Tiles of a task for matrix registers: each worker gets two tasks or more, for the rows are read once for all tiles of a task.</summary>
    public static int MatrixTilesFor(int weightRows, int workers) => Math.Clamp(weightRows / (TileFormat.Rows * workers * 2), 1, TilesPerTask);

    /// <summary>Tiles of a task: enough tasks that each worker gets about four.</summary>
    public static int TilesFor(int weightRows, int workers) => Math.Clamp(weightRows / (TileFormat.Rows * workers * 4), 1, TilesPerTask);
}
