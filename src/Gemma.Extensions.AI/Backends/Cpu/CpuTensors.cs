using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>Native memory aligned to cache lines, which grows and never moves while in use.</summary>
internal sealed unsafe class NativeBuffer : IDisposable
{
    private nuint _bytes;

    public byte* Data { get; private set; }

    /// <summary>At least this many bytes; the contents are lost when the buffer grows.</summary>
    public byte* Reserve(long bytes)
    {
        if ((nuint)bytes > _bytes)
        {
            Dispose();
            Data = (byte*)NativeMemory.AlignedAlloc((nuint)bytes, 64);
            _bytes = (nuint)bytes;
        }

        return Data;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(Data);
        Data = null;
        _bytes = 0;
    }
}

internal sealed unsafe class CpuMatrix : Matrix
{
    private void* _allocation;

    public CpuMatrix(int rows, int columns)
        : base(rows, columns)
    {
        // Zeroed by the system where it is large, so that rows which no batch is long enough for never take memory.
        _allocation = NativeMemory.AllocZeroed(checked((nuint)rows * (nuint)columns * sizeof(float) + 64));
        Data = (float*)(((nint)_allocation + 63) & ~63);
    }

    /// <summary>Row-major, without padding, 64-byte aligned.</summary>
    public float* Data { get; private set; }

    public float* RowData(int row) => Data + (long)row * Columns;

    public override Span<float> Row(int row)
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
internal readonly unsafe struct WeightPart(BlockFormat format, byte* data, int firstRow, int rows, int columns)
{
    public readonly BlockFormat Format = format;
    public readonly byte* Data = data;
    public readonly long RowBytes = format.ByteLength(columns);

    /// <summary>Row of the stacked matrix at which this part begins.</summary>
    public readonly int FirstRow = firstRow;
    public readonly int Rows = rows;
}

internal sealed class CpuWeights(WeightPart[] parts, int rows, int columns) : WeightMatrix(rows, columns)
{
    public WeightPart[] Parts { get; } = parts;
}

internal sealed class CpuVector(float[] values) : WeightVector(values.Length)
{
    public float[] Values { get; } = values;
}

/// <summary>
/// Updates of a stacked matrix. The A of all parts lie behind one another, [ranks, columns], so that one pass over x serves them; each B is
/// transposed, [rank, rows of the part], so that a result is a sum of rows.
/// </summary>
internal sealed unsafe class CpuLowRank : LowRankMatrix
{
    private const int ChunkRows = 512;
    private readonly float[] _a, _b; // pinned: the kernels use their addresses

    public CpuLowRank(int rows, int columns, ReadOnlySpan<LowRankPart> parts)
        : base(rows, columns)
    {
        long aCount = 0, bCount = 0;
        foreach (LowRankPart part in parts)
        {
            aCount += part.A.Length;
            bCount += part.B.Length;
        }

        _a = GC.AllocateUninitializedArray<float>(checked((int)aCount), pinned: true);
        _b = GC.AllocateUninitializedArray<float>(checked((int)bCount), pinned: true);
        A = (float*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_a));
        float* b = (float*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_b));
        var chunks = new List<Chunk>();
        foreach (LowRankPart part in parts)
        {
            int outputs = part.B.Length / part.Rank;
            part.A.CopyTo(_a, (long)Rank * columns);
            for (int n = 0; n < outputs; n++)
            {
                for (int j = 0; j < part.Rank; j++)
                {
                    b[(long)j * outputs + n] = part.B[(long)n * part.Rank + j];
                }
            }

            for (int n = 0; n < outputs; n += ChunkRows)
            {
                chunks.Add(new Chunk(b + n, outputs, Rank, part.Rank, part.FirstRow + n, Math.Min(ChunkRows, outputs - n)));
            }

            b += part.B.Length;
            Rank += part.Rank;
        }

        Chunks = [.. chunks];
    }

    /// <summary>Sum of the parts' ranks.</summary>
    public int Rank { get; }

    /// <summary>[<see cref="Rank"/>, columns].</summary>
    public float* A { get; }

    /// <summary>Pieces of the outputs, none longer than the first-level cache likes.</summary>
    public Chunk[] Chunks { get; }

    /// <summary>Some outputs of one part.</summary>
    public readonly struct Chunk(float* b, int stride, int firstRank, int rank, int firstRow, int rows)
    {
        /// <summary>First of the chunk's outputs in the transposed B, whose rows are <see cref="Stride"/> apart.</summary>
        public readonly float* B = b;
        public readonly int Stride = stride;
        public readonly int FirstRank = firstRank;
        public readonly int Rank = rank;
        public readonly int FirstRow = firstRow;
        public readonly int Rows = rows;
    }
}

internal sealed unsafe partial class CpuKvPool : KvPool
{
    private const nuint HugePage = 2 << 20;
    private const int AdviseHugePages = 14;

    private readonly void* _allocation;
    private readonly byte* _data;
    private bool _disposed;

    public CpuKvPool(KvLayout layout, int blockCount)
        : base(layout, blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(blockCount);

        // Zeroed memory of this size comes straight from the operating system, which backs a page when it is first touched.
        nuint bytes = checked((nuint)(layout.BlockBytes * blockCount));
        _allocation = NativeMemory.AllocZeroed(bytes + HugePage);
        _data = (byte*)(((nuint)_allocation + HugePage - 1) & ~(HugePage - 1));
        if (OperatingSystem.IsLinux() && bytes >= HugePage)
        {
            // Long contexts are read from end to end for every token. Where the system has no huge pages to give, small ones do.
            _ = Advise(_data, bytes & ~(HugePage - 1), AdviseHugePages);
        }
    }

    /// <summary>Address of [blockTokens, headDim] of one head of one layer of one block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Head(int block, int layer, bool values, int kvHead)
    {
        long headBytes = (long)Layout.BlockTokens * Layout.RowBytes;
        return _data + block * Layout.BlockBytes + ((2L * layer + (values ? 1 : 0)) * Layout.KvHeads + kvHead) * headBytes;
    }

    public override void CopyBlock(int source, int destination) => Block(source).CopyTo(Block(destination));

    public override Span<byte> Block(int block)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)block, (uint)BlockCount, nameof(block));
        ObjectDisposedException.ThrowIf(_disposed, this);
        return new Span<byte>(_data + block * Layout.BlockBytes, checked((int)Layout.BlockBytes));
    }

    public override void Dispose()
    {
        if (!_disposed)
        {
            _disposed = true;
            NativeMemory.Free(_allocation);
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
