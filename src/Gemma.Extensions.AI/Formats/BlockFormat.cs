namespace Gemma.Extensions.AI.Formats;

/// <summary>How weights are packed: blocks of a fixed number of elements in a fixed number of bytes. Contract and the one table of all formats.</summary>
internal abstract unsafe class BlockFormat
{
    public abstract TensorType Type { get; }

    /// <summary>Name as users write it: <c>Q4_K</c>.</summary>
    public string Name => Type.ToString();

    /// <summary>Elements of one block; rows are whole numbers of blocks.</summary>
    public abstract int BlockElements { get; }

    /// <summary>Bytes of one block.</summary>
    public abstract int BlockBytes { get; }

    /// <summary>Bytes of <paramref name="elements"/> elements, which must be whole blocks.</summary>
    public long ByteLength(long elements) => elements / BlockElements * BlockBytes;

    /// <summary>Scalar reference decoder: the oracle from which every fast path is tested.</summary>
    public abstract void Decode(byte* source, float* destination, long elements);
}
