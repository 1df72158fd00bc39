using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Files;

/// <summary>A named tensor in a memory-mapped model file. The memory belongs to the <see cref="ModelFile"/> that it came from.</summary>
/// <param name="name">Canonical name, as in GGUF: <c>blk.3.attn_q.weight</c>.</param>
/// <param name="format">How the elements are stored.</param>
/// <param name="shape">Sizes, slowest first: [rows, columns] or [n].</param>
/// <param name="data">First byte.</param>
/// <param name="byteLength">Bytes of the whole tensor.</param>
/// <param name="source">Path of the file that holds it.</param>
internal sealed unsafe class TensorView(string name, BlockFormat format, long[] shape, byte* data, long byteLength, string source)
{
    public string Name { get; } = name;
    public BlockFormat Format { get; } = format;
    public IReadOnlyList<long> Shape { get; } = shape;
    public byte* Data { get; } = data;
    public long ByteLength { get; } = byteLength;
    public string Source { get; } = source;

    /// <summary>Elements of the fastest dimension.</summary>
    public long Columns { get; } = shape.Length == 0 ? 1 : shape[^1];

    /// <summary>Product of all other dimensions.</summary>
    public long Rows { get; } = shape.Length <= 1 ? 1 : shape[..^1].Aggregate(1L, (a, b) => a * b);

    public long ElementCount => Rows * Columns;

    /// <summary>Bytes of one row.</summary>
    public long RowBytes => Format.ByteLength(Columns);

    /// <summary>Decodes one row to float32 with the scalar reference decoder.</summary>
    public void DecodeRow(long row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)row, (ulong)Rows, nameof(row));
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, Columns, nameof(destination));
        fixed (float* target = destination)
        {
            Format.Decode(Data + row * RowBytes, target, Columns);
        }
    }
}
