using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>A codebook format as <see cref="CodebookRows.Gemv"/> reads it: row by row.</summary>
internal unsafe interface ICodebookRow
{
    static abstract int BlockBytes { get; }

    /// <summary>Columns that share a scale.</summary>
    static abstract int Group { get; }

    /// <summary>The table of entries, to be read once a call.</summary>
    static abstract void* Entries { get; }

    /// <summary>The scales of a block of 16 rows: [group][16].</summary>
    static abstract void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa;

    /// <summary>32 columns of a row: magnitudes, and bytes of -1 where they are negative.</summary>
    /// <param name="entries"><see cref="Entries"/>.</param>
    /// <param name="block">A block.</param>
    /// <param name="part">Which 32 columns of it, 0 to 7.</param>
    /// <param name="magnitudes">Up to 63.</param>
    /// <param name="negative">0 or -1.</param>
    static abstract void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative);
}

/// <summary>
/// GEMV of codebook formats for one activation row. An entry's numbers are loaded whole, by its index, and each row is multiplied where it stands, 32 columns at a time; what
/// the products leave is transposed into lanes, not the weights. On AVX2 that takes 110 to 170 ps a weight, gathering numbers into the lanes of tiles 190 to 280. Signs go to
/// the activations, since weights are unsigned bytes. There is no zero point then, and the integer sums are the same. Where tables are looked up in registers, IQ1 and IQ3
/// are faster through tiles.
/// </summary>
internal static unsafe class CodebookRows
{
    private const int PartialBytes = 8 * sizeof(int);

    // What seven bits of signs and the eighth that makes their number even stand for, a byte each.
    private static readonly ulong* s_evenSigns = EvenSigns();

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gemv<TIsa, TRow>(byte* rows, long stride, int columns, GemvArgs* args)
        where TIsa : struct, IVectorIsa
        where TRow : struct, ICodebookRow
    {
        void* entries = TRow.Entries;
        byte* partials = args->Scratch;
        float* scales = (float*)(args->Scratch + GemvArgs.WeightRows * PartialBytes);
        Vector512<float> sum = Vector512<float>.Zero;
        byte* x = args->Activations, ahead = args->Ahead;
        float* xScales = args->ActivationScales;
        for (int k = 0; k < columns; k += 256, rows += TRow.BlockBytes)
        {
            TRow.Scales<TIsa>(rows, stride, scales);
            for (int part = 0; part < 8; part++, x += 32, xScales++)
            {
                if (part <= TRow.BlockBytes / 16)
                {
                    GemvSteps.Prefetch(ref ahead, args->Stream);
                }

                Vector256<sbyte> a = Vector256.Load((sbyte*)x);
                Vector512<sbyte> both = Vector512.Create(a, a);
                byte* block = rows;
                for (byte* target = partials; target < partials + GemvArgs.WeightRows * PartialBytes; target += 2 * PartialBytes, block += 2 * stride)
                {
                    TRow.Read(entries, block, part, out Vector256<byte> first, out Vector256<sbyte> firstNegative);
                    TRow.Read(entries, block + stride, part, out Vector256<byte> second, out Vector256<sbyte> secondNegative);
                    Vector512<sbyte> negative = Vector512.Create(firstNegative, secondNegative);
                    Products<TIsa>(Vector512.Create(first, second), (both ^ negative) - negative).Store((int*)target);
                }

                TIsa.Transpose(partials, PartialBytes, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                Vector512<uint> low = d0 + d1 + (d2 + d3);
                TIsa.Transpose(partials + PartialBytes / 2, PartialBytes, out d0, out d1, out d2, out d3);
                Vector512<uint> high = d0 + d1 + (d2 + d3);
                if (TRow.Group == 32)
                {
                    sum = GemvSteps.Add(sum, (low + high).AsInt32(), Vector512.Load(scales + 16 * part), *xScales);
                }
                else
                {
                    sum = GemvSteps.Add(sum, low.AsInt32(), Vector512.Load(scales + 32 * part), *xScales);
                    sum = GemvSteps.Add(sum, high.AsInt32(), Vector512.Load(scales + 32 * part + 16), *xScales);
                }
            }
        }

        sum.Store(args->Output);
    }

    /// <summary>32 bytes: four entries of eight.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Eights(void* table, uint i0, uint i1, uint i2, uint i3)
    {
        ulong* entries = (ulong*)table;
        if (Sse2.IsSupported)
        {
            return Vector256.Create(Two(entries + i0, entries + i1), Two(entries + i2, entries + i3));
        }

        return Vector256.Create(entries[i0], entries[i1], entries[i2], entries[i3]).AsByte();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector128<byte> Two(ulong* first, ulong* second) => Sse2.LoadHigh(Sse2.LoadScalarVector128((double*)first), (double*)second).AsByte();
    }

    /// <summary>32 bytes: eight entries of four.</summary>
    /// <param name="table">The entries.</param>
    /// <param name="index">The lower eight bits of their indices.</param>
    /// <param name="upper">The ninth bits.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<byte> Fours(void* table, byte* index, uint upper)
    {
        uint* entries = (uint*)table;
        if (Sse2.IsSupported)
        {
            return Vector256.Create(
                Sse2.UnpackLow(Two(Entry(0), Entry(1)), Two(Entry(2), Entry(3))),
                Sse2.UnpackLow(Two(Entry(4), Entry(5)), Two(Entry(6), Entry(7)))).AsByte();
        }

        uint* numbers = stackalloc uint[8];
        for (int i = 0; i < 8; i++)
        {
            numbers[i] = *Entry(i);
        }

        return Vector256.Load(numbers).AsByte();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        uint* Entry(int i) => entries + (index[i] | (upper << (8 - i) & 256));

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector128<ulong> Two(uint* first, uint* second) => Sse2.UnpackLow(Vector128.CreateScalarUnsafe(*first), Vector128.Load(second)).AsUInt64();
    }

    /// <summary>Four times seven bits of signs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<sbyte> EvenSigns(uint i0, uint i1, uint i2, uint i3) => Eights(s_evenSigns, i0, i1, i2, i3).AsSByte();

    /// <summary>A bit a sign.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<sbyte> Signs(uint bits)
    {
        Vector128<byte> four = Vector128.Create(bits).AsByte();
        Vector256<byte> spread = Vector256.Create(
            Vector128.Shuffle(four, Vector128.Create((byte)0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1)),
            Vector128.Shuffle(four, Vector128.Create((byte)2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3)));
        Vector256<byte> bit = Vector256.Create(0x8040201008040201u).AsByte();
        return Vector256.Equals(spread & bit, bit).AsSByte();
    }

    /// <summary>Sums of four products each. Two of magnitudes up to 63 fit 16 bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Products<TIsa>(Vector512<byte> magnitudes, Vector512<sbyte> activations)
        where TIsa : struct, IVectorIsa =>
        TIsa.HasDot ? TIsa.Dot(Vector512<int>.Zero, magnitudes, activations) : TIsa.PairSums(TIsa.PairProducts(magnitudes, activations));

    private static ulong* EvenSigns()
    {
        ulong* masks = (ulong*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc(128 * sizeof(ulong), 64);
        for (uint seven = 0; seven < 128; seven++)
        {
            masks[seven] = 0;
            for (int bit = 0; bit < 8; bit++)
            {
                masks[seven] |= (ulong)(Codebooks.EvenSigns(seven) >> bit & 1) * 0xFF << (8 * bit);
            }
        }

        return masks;
    }
}
