using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>The codebook of an IQ format, as kernels read it.</summary>
internal unsafe interface ICodebook
{
    static abstract int Entries { get; }

    static abstract Vector128<byte> Levels { get; }

    /// <summary>Read it once per call: every access checks whether the statics behind it are initialised.</summary>
    static abstract CodebookTables Tables { get; }
}

/// <summary>Addresses of a codebook's tables.</summary>
/// <param name="numbers">The numbers of each entry: four bytes in IQ3, eight in the others.</param>
/// <param name="first">A byte per entry: which levels its first numbers have (two of three bits in IQ3, four of two bits in the others).</param>
/// <param name="last">The same of its last numbers.</param>
internal readonly unsafe struct CodebookTables(uint* numbers, byte* first, byte* last)
{
    public readonly uint* Numbers = numbers;
    public readonly byte* First = first, Last = last;

    public static CodebookTables Create(TensorType type, void* numbers) => new((uint*)numbers, Codebooks.Plane(type, last: false), Codebooks.Plane(type, last: true));
}

/// <summary>
/// Tiles of numbers from a codebook: the steps that the IQ1, IQ2 and IQ3 formats share. All work on 16 rows in 16 lanes. Everywhere but on AVX-512 with VBMI the numbers are
/// gathered from the table of entries. There tables of 128 bytes are looked up in registers (on a Zen 4, 43 to 65 ps a weight instead of 115 to 150): first the byte of levels
/// for 64 entries at once, then the level of each number.
/// </summary>
internal static unsafe partial class CodebookSteps
{
    /// <summary>16 columns: four entries of four numbers.</summary>
    /// <param name="tables">The codebook's.</param>
    /// <param name="tile">Where the four steps go.</param>
    /// <param name="indices">Lower eight bits of the four indices, a byte each.</param>
    /// <param name="upper">The other bits of the indices, a byte each.</param>
    /// <param name="signs">16 bits: set where a number is negative.</param>
    /// <param name="offset">The zero point.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutFours<TIsa, TBook>(CodebookTables tables, byte* tile, Vector512<uint> indices, Vector512<uint> upper, Vector512<uint> signs, byte offset)
        where TIsa : struct, IVectorIsa
        where TBook : struct, ICodebook
    {
#if !(HALVES || QUARTERS)
        if (HasTables<TIsa>())
        {
            PassByTile(tile, indices, upper, signs);
            PutFoursByTables<TBook>(tables, tile, offset);
            return;
        }
#endif

        Vector512<uint> eight = Vector512.Create(255u);
        PutSigned(tile, 0, TIsa.Gather(tables.Numbers, (indices & eight) | ((upper & eight) << 8)), signs, offset);
        PutSigned(tile, 1, TIsa.Gather(tables.Numbers, ((indices >> 8) & eight) | (upper & Vector512.Create(0xFF00u))), signs >> 4, offset);
        PutSigned(tile, 2, TIsa.Gather(tables.Numbers, ((indices >> 16) & eight) | ((upper >> 8) & Vector512.Create(0xFF00u))), signs >> 8, offset);
        PutSigned(tile, 3, TIsa.Gather(tables.Numbers, (indices >> 24) | ((upper >> 16) & Vector512.Create(0xFF00u))), signs >> 12, offset);
    }

    /// <summary>32 columns: four entries of eight numbers.</summary>
    /// <param name="tables">The codebook's.</param>
    /// <param name="tile">Where the eight steps go.</param>
    /// <param name="indices">Lower eight bits of the four indices, a byte each.</param>
    /// <param name="upper">The other bits of the indices, a byte each.</param>
    /// <param name="signs">32 bits: set where a number is negative.</param>
    /// <param name="offset">The zero point.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutEights<TIsa, TBook>(CodebookTables tables, byte* tile, Vector512<uint> indices, Vector512<uint> upper, Vector512<uint> signs, byte offset)
        where TIsa : struct, IVectorIsa
        where TBook : struct, ICodebook
    {
#if !(HALVES || QUARTERS)
        if (HasTables<TIsa>())
        {
            PassByTile(tile, indices, upper, signs);
            PutEightsByTables<TBook>(tables, tile, offset);
            return;
        }
#endif

        for (int i = 0; i < 4; i++)
        {
            Vector512<uint> index = Index(indices, upper, i);
            PutSigned(tile, 2 * i, TIsa.Gather(tables.Numbers, index), signs >> (8 * i), offset);
            PutSigned(tile, 2 * i + 1, TIsa.Gather(tables.Numbers + 1, index), signs >> (8 * i + 4), offset);
        }
    }

    /// <summary>32 columns: four entries of eight numbers, moved up by a byte each.</summary>
    /// <param name="tables">The codebook's.</param>
    /// <param name="tile">Where the eight steps go.</param>
    /// <param name="indices">Lower eight bits of the four indices, a byte each.</param>
    /// <param name="upper">The other bits of the indices, a byte each.</param>
    /// <param name="shifts">What is added to the numbers of each entry, a byte each.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutShiftedEights<TIsa, TBook>(CodebookTables tables, byte* tile, Vector512<uint> indices, Vector512<uint> upper, Vector512<uint> shifts)
        where TIsa : struct, IVectorIsa
        where TBook : struct, ICodebook
    {
#if !(HALVES || QUARTERS)
        if (HasTables<TIsa>())
        {
            PassByTile(tile, indices, upper, shifts);
            PutShiftedEightsByTables<TBook>(tables, tile);
            return;
        }
#endif

        for (int i = 0; i < 4; i++)
        {
            Vector512<byte> shift = Repeat(shifts, i);
            Vector512<uint> index = Index(indices, upper, i);
            Put(tile, 2 * i, (TIsa.Gather(tables.Numbers, index).AsByte() + shift).AsUInt32());
            Put(tile, 2 * i + 1, (TIsa.Gather(tables.Numbers + 1, index).AsByte() + shift).AsUInt32());
        }
    }

    /// <summary>Bits 0 to 3 as four bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> SpreadBits(Vector512<uint> bits)
    {
        Vector512<uint> x = bits & Vector512.Create(15u);
        return (x | (x << 7) | (x << 14) | (x << 21)) & Vector512.Create(0x01010101u);
    }

    /// <summary>Four fields of seven bits as four bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> SpreadSevens(Vector512<uint> fields) =>
        (fields & Vector512.Create(0x7Fu)) | ((fields << 1) & Vector512.Create(0x7F00u)) | ((fields << 2) & Vector512.Create(0x7F0000u)) | ((fields << 3) & Vector512.Create(0x7F000000u));

    /// <summary>Per byte seven sign bits, and an eighth that makes their number even.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> EvenSigns(Vector512<uint> sevens)
    {
        Vector512<uint> parity = sevens ^ ((sevens >> 4) & Vector512.Create(0x0F0F0F0Fu));
        parity ^= parity >> 2;
        parity ^= parity >> 1;
        return sevens | ((parity & Vector512.Create(0x01010101u)) << 7);
    }

    /// <summary>d times an odd number: 2·scale + 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutOddScale(float* scales, Vector512<float> d, Vector512<uint> scale) =>
        (d * Vector512.ConvertToSingle((scale + scale + Vector512<uint>.One).AsInt32())).Store(scales);

    /// <summary>Scales of 16 groups, <paramref name="step"/> from one to the next: an eighth of the block's d times 2·nibble + 1. The eight bytes of <paramref name="nibbles"/> are a block's last, so those before them are read, not those behind.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutNibbleScales<TIsa>(byte* rows, byte* nibbles, long stride, float* scales, int step)
        where TIsa : struct, IVectorIsa
    {
        Vector512<float> d = TileScales.LowHalf(First<TIsa>(rows, stride)) * 0.125f;
        TIsa.Transpose(nibbles - 8, stride, out _, out _, out Vector512<uint> s0, out Vector512<uint> s1);
        for (int group = 0; group < 8; group++)
        {
            PutOddScale(scales + group * step, d, (s0 >> (4 * group)) & Vector512.Create(15u));
            PutOddScale(scales + (8 + group) * step, d, (s1 >> (4 * group)) & Vector512.Create(15u));
        }
    }

    /// <summary>True where tables are looked up in registers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool HasTables<TIsa>() =>
#if HALVES || QUARTERS
        false;
#else
        typeof(TIsa) == typeof(Avx512Isa) && Avx512Vbmi.IsSupported;
#endif

    /// <summary>One of four bytes, in all four places.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Repeat(Vector512<uint> bytes, int index) => (((bytes >> (8 * index)) & Vector512.Create(255u)) * 0x01010101u).AsByte();

    /// <summary>Twice the index of an entry: its place among dwords.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Index(Vector512<uint> indices, Vector512<uint> upper, int entry)
    {
        Vector512<uint> eight = Vector512.Create(255u);
        Vector512<uint> index = ((indices >> (8 * entry)) & eight) | (((upper >> (8 * entry)) & eight) << 8);
        return index + index;
    }

    /// <summary>Four columns: bytes that are negated where their bit (0 to 3) is set, then moved up by the zero point.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutSigned(byte* tile, int step, Vector512<uint> numbers, Vector512<uint> signs, byte offset)
    {
        Vector512<byte> ones = SpreadBits(signs).AsByte(); // one where negative
        Put(tile, step, ((numbers.AsByte() ^ (Vector512<byte>.Zero - ones)) + (ones + Vector512.Create(offset))).AsUInt32());
    }
}
