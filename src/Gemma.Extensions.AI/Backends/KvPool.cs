using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends;

/// <summary>Shape of a block of key/value memory: for each layer of the pool, for keys and then for values, [kvHeads, blockTokens, headDim].</summary>
internal readonly record struct KvLayout(int Layers, int KvHeads, int HeadDim, int BlockTokens, GemmaKvCacheType Type)
{
    /// <summary>Bytes of one row (one head of one token). Q8_0 stores 32 values as a float16 scale and 32 signed bytes.</summary>
    public int RowBytes => Type switch
    {
        GemmaKvCacheType.F32 => 4 * HeadDim,
        GemmaKvCacheType.Q8_0 => HeadDim / 32 * 34,
        _ => 2 * HeadDim,
    };

    /// <summary>Bytes of one block with all its layers.</summary>
    public long BlockBytes => 2L * Layers * KvHeads * BlockTokens * RowBytes;

    /// <exception cref="ArgumentException">The type cannot store such heads.</exception>
    public void Check()
    {
        if (Type == GemmaKvCacheType.Q8_0 && HeadDim % 32 != 0)
        {
            throw new ArgumentException($"Keys and values cannot be stored as Q8_0: the head dimension {HeadDim} is not a multiple of 32. Use F16.");
        }
    }
}

/// <summary>
/// Key/value memory in blocks of equal size. Blocks are numbered from 0; memory is reserved at construction and committed by use.
/// The pool does not know who owns a block.
/// </summary>
internal abstract class KvPool(KvLayout layout, int blockCount) : IDisposable
{
    public KvLayout Layout { get; } = layout;
    public int BlockCount { get; } = blockCount;

    /// <summary>Copies a whole block (copy on write of a shared, partly filled block).</summary>
    public abstract void CopyBlock(int source, int destination);

    /// <summary>
    /// Copies the bytes of a block to the host, for saving. Any thread may ask while the engine computes, for a block that nothing writes meanwhile and that was
    /// written by a pass that has been <see cref="Backend.Wait">waited for</see>.
    /// </summary>
    /// <param name="block">Number of the block.</param>
    /// <param name="destination">Receives <see cref="KvLayout.BlockBytes"/> bytes.</param>
    public abstract void ReadBlock(int block, Span<byte> destination);

    /// <summary>Fills a block with bytes that <see cref="ReadBlock"/> gave.</summary>
    public abstract void WriteBlock(int block, ReadOnlySpan<byte> source);

    public abstract void Dispose();
}
