using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Backends.Cpu;

internal sealed unsafe class CpuKvPool : KvPool
{
    private readonly void* _allocation;
    private readonly byte* _data;
    private bool _disposed;

    public CpuKvPool(KvLayout layout, int blockCount)
        : base(layout, blockCount)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(blockCount);

        // Zeroed memory of this size comes straight from the operating system, which commits a page on first touch.
        nuint bytes = checked((nuint)(layout.BlockBytes * blockCount));
        _allocation = NativeMemory.AllocZeroed(bytes + HugePages.Size);
        _data = (byte*)(((nuint)_allocation + HugePages.Size - 1) & ~(nuint)(HugePages.Size - 1));
        HugePages.Advise(_data, (long)bytes & -HugePages.Size);
    }

    /// <summary>Address of [blockTokens, headDim] of one head of one layer of one block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Head(int block, int layer, bool values, int kvHead)
    {
        long headBytes = (long)Layout.BlockTokens * Layout.RowBytes;
        return _data + block * Layout.BlockBytes + ((2L * layer + (values ? 1 : 0)) * Layout.KvHeads + kvHead) * headBytes;
    }

    public override void CopyBlock(int source, int destination) => Block(source).CopyTo(Block(destination));

    public override void ReadBlock(int block, Span<byte> destination) => Block(block).CopyTo(destination);

    public override void WriteBlock(int block, ReadOnlySpan<byte> source) => source.CopyTo(Block(block));

    private Span<byte> Block(int block)
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
}
