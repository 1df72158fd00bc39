using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>
/// How a weight format is unpacked into tiles. A tile is <see cref="Rows"/> weight rows by a run of columns, in one of three layouts:
/// <list type="bullet">
/// <item>bytes: <c>q[column/4][row][4]</c>, the operand order of a four-way byte dot product, and for each group of columns <c>scale[group][row]</c> and,
/// where the format has minima, <c>minimum[group][row]</c> after it: weight = scale·(q - Offset) - minimum.</item>
/// <item>floats: <c>w[column][row]</c>.</item>
/// <item>pairs of bfloat16: <c>w[column/2][row][2]</c>, the operand order of a dot product of such pairs.</item>
/// </list>
/// Packed data is transposed before it is unpacked, four bytes of 16 rows at a time, so that every later step works on 16 rows in 16 lanes.
/// </summary>
internal sealed unsafe class TileFormat
{
    /// <summary>Weight rows of a tile.</summary>
    public const int Rows = 32;

    public required TensorType Type { get; init; }

    /// <summary>Columns that share a scale: 16 or 32. 0: a tile of floats or of pairs.</summary>
    public required int Group { get; init; }

    /// <summary>What the unsigned bytes of a tile exceed the signed weights by.</summary>
    public required int Offset { get; init; }

    /// <summary>Largest byte of a tile.</summary>
    public required int MaxByte { get; init; }

    public required bool HasMinimum { get; init; }

    /// <summary>Columns must be unpacked in multiples of this.</summary>
    public required int BlockElements { get; init; }

    /// <summary>(first row, stride in bytes, columns, tile, scales): unpacks 16 rows.</summary>
    public required delegate*<byte*, long, int, byte*, float*, void> Unpack { get; init; }

    public TileLayout Layout { get; init; } = TileLayout.Int8x4;

    /// <summary>GEMV needs columns in multiples of this.</summary>
    public int GemvColumns => Type == TensorType.BF16 ? 16 : BlockElements;

    /// <summary>Floats from one group's scales to the next's.</summary>
    public int ScaleStride => HasMinimum ? 2 * Rows : Rows;

    /// <summary>Tiles of bfloat16 that stays bfloat16.</summary>
    public static TileFormat BFloat16<TIsa>()
        where TIsa : struct, ITileIsa
        => new() { Type = TensorType.BF16, Group = 0, Offset = 0, MaxByte = 0, HasMinimum = false, BlockElements = 8, Layout = TileLayout.BFloat16x2, Unpack = &TileUnpack<TIsa>.BFloat16Pairs };

    /// <summary>The tile formats for one instruction set, by tensor type; bfloat16 as floats.</summary>
    public static TileFormat[] Table<TIsa>()
        where TIsa : struct, ITileIsa
    {
        TileFormat[] all =
        [
            new() { Type = TensorType.F32, Group = 0, Offset = 0, MaxByte = 0, HasMinimum = false, BlockElements = 4, Layout = TileLayout.Float32, Unpack = &TileUnpack<TIsa>.F32 },
            new() { Type = TensorType.F16, Group = 0, Offset = 0, MaxByte = 0, HasMinimum = false, BlockElements = 8, Layout = TileLayout.Float32, Unpack = &TileUnpack<TIsa>.F16 },
            new() { Type = TensorType.BF16, Group = 0, Offset = 0, MaxByte = 0, HasMinimum = false, BlockElements = 8, Layout = TileLayout.Float32, Unpack = &TileUnpack<TIsa>.BF16 },
            new() { Type = TensorType.Q8_0, Group = 32, Offset = 128, MaxByte = 255, HasMinimum = false, BlockElements = 32, Unpack = &TileUnpack<TIsa>.Q8_0 },
            new() { Type = TensorType.Q4_0, Group = 32, Offset = 8, MaxByte = 15, HasMinimum = false, BlockElements = 32, Unpack = &TileUnpack<TIsa>.Q4_0 },
            new() { Type = TensorType.Q4_1, Group = 32, Offset = 0, MaxByte = 15, HasMinimum = true, BlockElements = 32, Unpack = &TileUnpack<TIsa>.Q4_1 },
            new() { Type = TensorType.Q5_0, Group = 32, Offset = 16, MaxByte = 31, HasMinimum = false, BlockElements = 32, Unpack = &TileUnpack<TIsa>.Q5_0 },
            new() { Type = TensorType.Q5_1, Group = 32, Offset = 0, MaxByte = 31, HasMinimum = true, BlockElements = 32, Unpack = &TileUnpack<TIsa>.Q5_1 },
            new() { Type = TensorType.Q2_K, Group = 16, Offset = 0, MaxByte = 3, HasMinimum = true, BlockElements = 256, Unpack = &TileUnpack<TIsa>.Q2_K },
            new() { Type = TensorType.Q3_K, Group = 16, Offset = 4, MaxByte = 7, HasMinimum = false, BlockElements = 256, Unpack = &TileUnpack<TIsa>.Q3_K },
            new() { Type = TensorType.Q4_K, Group = 32, Offset = 0, MaxByte = 15, HasMinimum = true, BlockElements = 256, Unpack = &TileUnpack<TIsa>.Q4_K },
            new() { Type = TensorType.Q5_K, Group = 32, Offset = 0, MaxByte = 31, HasMinimum = true, BlockElements = 256, Unpack = &TileUnpack<TIsa>.Q5_K },
            new() { Type = TensorType.Q6_K, Group = 16, Offset = 32, MaxByte = 63, HasMinimum = false, BlockElements = 256, Unpack = &TileUnpack<TIsa>.Q6_K },
            new() { Type = TensorType.IQ4_NL, Group = 32, Offset = 128, MaxByte = 255, HasMinimum = false, BlockElements = 32, Unpack = &TileUnpack<TIsa>.IQ4_NL },
            new() { Type = TensorType.IQ4_XS, Group = 32, Offset = 128, MaxByte = 255, HasMinimum = false, BlockElements = 256, Unpack = &TileUnpack<TIsa>.IQ4_XS },
        ];
        var byType = new TileFormat[all.Max(format => (int)format.Type) + 1];
        foreach (TileFormat format in all)
        {
            byType[(int)format.Type] = format;
        }

        return byType;
    }
}

/// <summary>The layouts of a tile, which <see cref="TileFormat"/> describes.</summary>
internal enum TileLayout
{
    Float32,
    BFloat16x2,
    Int8x4,
}
