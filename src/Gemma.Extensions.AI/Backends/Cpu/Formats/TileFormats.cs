using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>
/// The tile formats for one instruction set, by tensor type. A weight format without a row here is multiplied row by row with its scalar decoder, which
/// is right and slow; a test names it.
/// </summary>
internal sealed class TileFormats
{
    private readonly TileFormat?[] _byType;

    private TileFormats(TileFormat[] rows)
    {
        _byType = new TileFormat?[rows.Max(row => (int)row.Type) + 1];
        foreach (TileFormat row in rows)
        {
            _byType[(int)row.Type] = row;
        }
    }

    /// <summary>The table. bfloat16 is widened to float32; tiers that multiply it directly use <see cref="KernelSet.BFloat16Pairs"/> instead.</summary>
    public static TileFormats Create(KernelSet kernels) => new(kernels.Formats);

    /// <summary>The tile format of a type; null if it has no row.</summary>
    public TileFormat? Find(TensorType type) => (uint)type < (uint)_byType.Length ? _byType[(int)type] : null;

    /// <summary>The tile format of a type that must have one.</summary>
    public TileFormat Get(TensorType type) =>
        Find(type) ?? throw new NotSupportedException($"{type} has no row in {nameof(TileFormats)}: it needs a file in Backends/Cpu/Formats and a line in {nameof(KernelSets)}.");
}
