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

    /// <summary>True once the rows lie as <see cref="InterleavedRows"/> writes them (<see cref="ModelFile.Interleave"/>).</summary>
    public bool IsInterleaved { get; set; }

    /// <summary>Decodes one row to float32 with the scalar reference decoder.</summary>
    public void DecodeRow(long row, Span<float> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((ulong)row, (ulong)Rows, nameof(row));
        ArgumentOutOfRangeException.ThrowIfLessThan(destination.Length, Columns, nameof(destination));
        fixed (float* target = destination)
        {
            if (!IsInterleaved)
            {
                Format.Decode(Data + row * RowBytes, target, Columns);
                return;
            }

            fixed (byte* bytes = RowOf(row))
            {
                Format.Decode(bytes, target, Columns);
            }
        }
    }

    /// <summary>Copies bytes as they are in the file.</summary>
    /// <param name="start">The first of them.</param>
    /// <param name="destination">Receives as many as it has.</param>
    public void CopyBytes(long start, Span<byte> destination)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((ulong)start, (ulong)(ByteLength - destination.Length), nameof(start));
        if (!IsInterleaved)
        {
            new ReadOnlySpan<byte>(Data + start, destination.Length).CopyTo(destination);
            return;
        }

        while (destination.Length > 0)
        {
            Span<byte> rest = RowOf(start / RowBytes).AsSpan((int)(start % RowBytes));
            int count = Math.Min(rest.Length, destination.Length);
            rest[..count].CopyTo(destination);
            destination = destination[count..];
            start += count;
        }
    }

    private byte[] RowOf(long row)
    {
        byte[] bytes = new byte[RowBytes];
        fixed (byte* target = bytes)
        {
            InterleavedRows.Read(Format, Data + row / InterleavedRows.Count * InterleavedRows.Count * RowBytes, (int)(row % InterleavedRows.Count), RowBytes, target);
        }

        return bytes;
    }
}
