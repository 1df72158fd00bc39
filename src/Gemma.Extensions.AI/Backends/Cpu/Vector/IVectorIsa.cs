using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>
/// The few operations that no portable vector API expresses well, for one instruction set; the rest is written once, over <see cref="Vector512"/>. Of the
/// multiplications of bytes a set has the dot products or the products of neighbours, <see cref="PortableIsa"/> neither: the others throw.
/// </summary>
internal unsafe interface IVectorIsa
{
    /// <summary>True if one instruction multiplies bytes and adds to 32-bit sums. Otherwise products are summed in 16 bits as long as they fit.</summary>
    static abstract bool HasDot { get; }

    /// <summary>
    /// Activation rows that a kernel of bytes multiplies at once. Pairs that are added in 16 bits keep the activations of 16 columns in registers: of 16 registers of 256 bits the loop of one row leaves none to
    /// the stack; that of two had a dozen there, and where the stack lay to the cache lines decided the time. A prompt of Q4_K took a quarter less with one (Zen 5); with 32 registers two rows are faster.
    /// </summary>
    static abstract int ByteRows { get; }

    /// <summary>Reads 16 bytes of each of 16 rows and transposes them: result i holds dword i of all rows, in row order.</summary>
    static abstract void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);

    /// <summary>Replaces each byte (0 to 15) by that element of a table of 16 bytes.</summary>
    static abstract Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices);

    /// <summary>Reads an element of a table for each lane.</summary>
    static abstract Vector512<uint> Gather(uint* table, Vector512<uint> indices);

    /// <summary>sum + four products per lane. Weights up to 127; only where <see cref="HasDot"/>, as the next one.</summary>
    static abstract Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations);

    /// <summary>sum + four products per lane, any weights.</summary>
    static abstract Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations);

    /// <summary>Sums of two neighbouring products, saturated to 16 bits; only where there is no dot product, as the next one.</summary>
    static abstract Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations);

    /// <summary>Sums of two neighbours.</summary>
    static abstract Vector512<int> PairSums(Vector512<short> values);
}
