using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu;

internal sealed unsafe class CpuMatrix : Matrix
{
    private void* _allocation;

    public CpuMatrix(int rows, int columns)
        : base(rows, columns)
    {
        // The system zeroes large allocations lazily, so rows beyond the largest batch never take memory.
        _allocation = NativeMemory.AllocZeroed(checked((nuint)rows * (nuint)columns * sizeof(float) + 64));
        Data = (float*)(((nint)_allocation + 63) & ~63);
    }

    /// <summary>Row-major, without padding, 64-byte aligned.</summary>
    public float* Data { get; private set; }

    public float* RowData(int row) => Data + (long)row * Columns;

    public override Span<float> Read(int firstRow, int rows)
    {
        CheckRows(firstRow, rows);
        return new Span<float>(RowData(firstRow), checked(rows * Columns));
    }

    public override void Write(int firstRow, ReadOnlySpan<float> values) => values.CopyTo(Read(firstRow, Rows - firstRow));

    public Span<float> Row(int row)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Rows, nameof(row));
        return new Span<float>(RowData(row), Columns);
    }

    public override void Dispose()
    {
        NativeMemory.Free(_allocation);
        _allocation = null;
        Data = null;
    }
}

/// <summary>Rows of one tensor within a stacked weight matrix, in the memory of the model file.</summary>
internal readonly unsafe struct WeightPart(BlockFormat format, byte* data, int firstRow, int rows, int columns, bool interleaved = false)
{
    public readonly BlockFormat Format = format;
    public readonly byte* Data = data;
    public readonly long RowBytes = format.ByteLength(columns);

    /// <summary>First row of this part in the stacked matrix.</summary>
    public readonly int FirstRow = firstRow;
    public readonly int Rows = rows;

    /// <summary>True if the rows lie as <see cref="InterleavedRows"/> writes them.</summary>
    public readonly bool IsInterleaved = interleaved;

    /// <summary>Bytes from a row to the next as kernels take it; <see cref="InterleavedRows.Stride"/> for rows that lie among each other.</summary>
    public long Stride => IsInterleaved ? InterleavedRows.Stride : RowBytes;

    /// <summary>Address of a column of 16 rows; the first row is a multiple of 16 where they lie among each other.</summary>
    public byte* At(int row, int column) => Data + row * RowBytes + Format.ByteLength(column) * (IsInterleaved ? InterleavedRows.Count : 1);

    /// <summary>Decodes one row to float32 with the scalar reference decoder.</summary>
    public void Decode(int row, float* target, int columns)
    {
        if (!IsInterleaved)
        {
            Format.Decode(Data + row * RowBytes, target, columns);
            return;
        }

        fixed (byte* bytes = new byte[RowBytes])
        {
            InterleavedRows.Read(Format, At(row & -InterleavedRows.Count, 0), row % InterleavedRows.Count, RowBytes, bytes);
            Format.Decode(bytes, target, columns);
        }
    }
}

internal sealed class CpuWeights(WeightPart[] parts, int rows, int columns) : WeightMatrix(rows, columns)
{
    public WeightPart[] Parts { get; } = parts;

    /// <summary>The fast tiers' plans for the parts; null for the reference, which needs none.</summary>
    public MatMulPlan? Plan { get; init; }

    /// <summary>The weights that were multiplied after these the last time.</summary>
    public CpuWeights? Next { get; set; }
}

internal sealed class CpuVector(float[] values) : WeightVector(values.Length)
{
    public float[] Values { get; } = values;
}
