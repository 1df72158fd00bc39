using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>The layouts of a tile of 32 weight rows by a run of columns.</summary>
internal enum TileLayout
{
    /// <summary>
    /// Unsigned bytes <c>q[column/4][row][4]</c>, the operand order of a four-way dot product. For each group of columns <c>scale[group][row]</c> and, where
    /// the format has minima, <c>minimum[group][row]</c> after it: weight = scale·(q - Offset) - minimum.
    /// </summary>
    Int8x4,

    /// <summary>float32: <c>w[column][row]</c>.</summary>
    Float32,

    /// <summary>bfloat16: <c>w[column/2][row][2]</c>, the operand order of a dot product of pairs.</summary>
    BFloat16x2,
}

/// <summary>
/// A weight format's kernels on the CPU: the unpacker of its tiles and, where there is one, its GEMV kernel in C#. Packed data is transposed
/// before it is unpacked, four bytes of 16 rows at a time, so that every later step works on 16 rows in 16 lanes.
/// </summary>
internal sealed unsafe class TileFormat
{
    /// <summary>Weight rows of a tile.</summary>
    public const int Rows = 32;

    public required TensorType Type { get; init; }

    public TileLayout Layout { get; init; }

    /// <summary>Columns that share a scale: 16 or 32. Int8 tiles only, as the next three.</summary>
    public int Group { get; init; }

    /// <summary>Zero point: what the unsigned bytes of a tile exceed the signed weights by. Formats with minima have none.</summary>
    public int Offset { get; init; }

    /// <summary>Largest byte of a tile, which decides how many products fit 16 bits.</summary>
    public int MaxByte { get; init; }

    public bool HasMinimum { get; init; }

    /// <summary>Columns are unpacked in multiples of this: the format's blocks, or whole vectors of plain numbers.</summary>
    public int BlockElements { get => field > 0 ? field : field = BlockFormat.Get(Type).BlockElements; init; }

    /// <summary>GEMV takes columns in multiples of this; a turn of an assembled kernel's loop.</summary>
    public int GemvColumns { get => field > 0 ? field : field = BlockElements; init; }

    /// <summary>(first row, stride in bytes, columns, tile, scales): unpacks 16 rows, in C#.</summary>
    public required delegate*<byte*, long, int, byte*, float*, void> Unpack { get; init; }

    /// <summary>The same by code that was assembled at run time; null where there is none.</summary>
    public delegate* unmanaged[SuppressGCTransition]<byte*, long, int, byte*, float*, void> AssembledUnpack { get; set; }

    /// <summary>The same for interleaved rows (<see cref="InterleavedRows"/>), which have no stride; null where there is none.</summary>
    public delegate* unmanaged[SuppressGCTransition]<byte*, long, int, byte*, float*, void> InterleavedUnpack { get; set; }

    /// <summary>(first row, stride in bytes, columns, the rest): multiplies 16 rows with one activation row; null where tiles serve it.</summary>
    public delegate*<byte*, long, int, GemvArgs*, void> Gemv { get; init; }

    /// <summary>Floats from one group's scales to the next's.</summary>
    public int ScaleStride => HasMinimum ? 2 * Rows : Rows;

    /// <summary>Unpacks 16 rows.</summary>
    /// <param name="rows">First row.</param>
    /// <param name="stride">Bytes from a row to the next; <see cref="InterleavedRows.Stride"/> for rows that lie among each other.</param>
    /// <param name="columns">Columns, a multiple of <see cref="BlockElements"/>.</param>
    /// <param name="tile">Receives the weights, in every second half of 32 rows.</param>
    /// <param name="scales">Receives scales and minima of int8 tiles; null for others.</param>
    public void UnpackRows(byte* rows, long stride, int columns, byte* tile, float* scales)
    {
        if (stride == InterleavedRows.Stride)
        {
            InterleavedUnpack(rows, stride, columns, tile, scales);
        }
        else if (AssembledUnpack is not null)
        {
            AssembledUnpack(rows, stride, columns, tile, scales);
        }
        else
        {
            Unpack(rows, stride, columns, tile, scales);
        }
    }
}
