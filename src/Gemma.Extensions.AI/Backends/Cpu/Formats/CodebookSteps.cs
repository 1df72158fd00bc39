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
internal static unsafe class CodebookSteps
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
        if (HasTables<TIsa>())
        {
            PassByTile(tile, indices, upper, signs);
            PutFoursByTables<TBook>(tables, tile, offset);
            return;
        }

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
        if (HasTables<TIsa>())
        {
            PassByTile(tile, indices, upper, signs);
            PutEightsByTables<TBook>(tables, tile, offset);
            return;
        }

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
        if (HasTables<TIsa>())
        {
            PassByTile(tile, indices, upper, shifts);
            PutShiftedEightsByTables<TBook>(tables, tile);
            return;
        }

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
    public static bool HasTables<TIsa>() => typeof(TIsa) == typeof(Avx512Isa) && Avx512Vbmi.IsSupported;

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)] // more than one copy in a caller exceeds what the compiler inlines
    private static void PutFoursByTables<TBook>(CodebookTables tables, byte* tile, byte zero)
        where TBook : struct, ICodebook
    {
        Vector512<uint> indices = Passed(tile, 0), upper = Passed(tile, 1), signs = Passed(tile, 2);
        Vector512<byte> offset = Vector512.Create(zero);
        Vector512<uint> first = Look<TBook>(tables.First, indices.AsByte(), upper.AsByte()).AsUInt32(), last = Look<TBook>(tables.Last, indices.AsByte(), upper.AsByte()).AsUInt32();

        // Two entries of a row in each dword: first, first, last, last. Offsets of the fields of three bits in two rows.
        Vector512<uint> low = (first & Vector512.Create(0xFFFFu)) | (last << 16), high = (first >> 16) | (last & Vector512.Create(0xFFFF0000u));
        PutLevels<TBook>(tile, 0, low, 0x3330_2320_1310_0300, 7, signs, 0x1C1B_1A19_3C3B_3A39, offset);
        PutLevels<TBook>(tile, 1, low, 0x3B38_2B28_1B18_0B08, 7, signs, 0x201F_1E1D_003F_3E3D, offset);
        PutLevels<TBook>(tile, 2, high, 0x3330_2320_1310_0300, 7, signs, 0x2423_2221_0403_0201, offset);
        PutLevels<TBook>(tile, 3, high, 0x3B38_2B28_1B18_0B08, 7, signs, 0x2827_2625_0807_0605, offset);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)] // more than one copy in a caller exceeds what the compiler inlines
    private static void PutEightsByTables<TBook>(CodebookTables tables, byte* tile, byte zero)
        where TBook : struct, ICodebook
    {
        Vector512<uint> indices = Passed(tile, 0), upper = Passed(tile, 1), signs = Passed(tile, 2);
        Vector512<byte> offset = Vector512.Create(zero);
        Vector512<uint> first = Look<TBook>(tables.First, indices.AsByte(), upper.AsByte()).AsUInt32(), last = Look<TBook>(tables.Last, indices.AsByte(), upper.AsByte()).AsUInt32();
        PutLevels<TBook>(tile, 0, first, 0x2624_2220_0604_0200, 3, signs, 0x1C1B_1A19_3C3B_3A39, offset);
        PutLevels<TBook>(tile, 1, last, 0x2624_2220_0604_0200, 3, signs, 0x201F_1E1D_003F_3E3D, offset);
        PutLevels<TBook>(tile, 2, first, 0x2E2C_2A28_0E0C_0A08, 3, signs, 0x2423_2221_0403_0201, offset);
        PutLevels<TBook>(tile, 3, last, 0x2E2C_2A28_0E0C_0A08, 3, signs, 0x2827_2625_0807_0605, offset);
        PutLevels<TBook>(tile, 4, first, 0x3634_3230_1614_1210, 3, signs, 0x2C2B_2A29_0C0B_0A09, offset);
        PutLevels<TBook>(tile, 5, last, 0x3634_3230_1614_1210, 3, signs, 0x302F_2E2D_100F_0E0D, offset);
        PutLevels<TBook>(tile, 6, first, 0x3E3C_3A38_1E1C_1A18, 3, signs, 0x3433_3231_1413_1211, offset);
        PutLevels<TBook>(tile, 7, last, 0x3E3C_3A38_1E1C_1A18, 3, signs, 0x3837_3635_1817_1615, offset);
    }

    [MethodImpl(MethodImplOptions.NoInlining | MethodImplOptions.AggressiveOptimization)]
    private static void PutShiftedEightsByTables<TBook>(CodebookTables tables, byte* tile)
        where TBook : struct, ICodebook
    {
        Vector512<uint> indices = Passed(tile, 0), upper = Passed(tile, 1), shifts = Passed(tile, 2);
        Vector512<uint> first = Look<TBook>(tables.First, indices.AsByte(), upper.AsByte()).AsUInt32(), last = Look<TBook>(tables.Last, indices.AsByte(), upper.AsByte()).AsUInt32();
        for (int i = 0; i < 4; i++)
        {
            Vector512<byte> shift = Repeat(shifts, i);
            Put(tile, 2 * i, (Levels<TBook>(first >> (8 * i), 0x2624_2220_0604_0200, 3) + shift).AsUInt32());
            Put(tile, 2 * i + 1, (Levels<TBook>(last >> (8 * i), 0x2624_2220_0604_0200, 3) + shift).AsUInt32());
        }
    }

    /// <summary>One of four bytes, in all four places.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Repeat(Vector512<uint> bytes, int index) => (((bytes >> (8 * index)) & Vector512.Create(255u)) * 0x01010101u).AsByte();

    // Vectors of 64 bytes are passed on the stack, which is aligned to 16: what crosses a line is slow to write and read at once. Tiles are aligned, and are written anyway.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PassByTile(byte* tile, Vector512<uint> first, Vector512<uint> second, Vector512<uint> third)
    {
        Put(tile, 0, first);
        Put(tile, 1, second);
        Put(tile, 2, third);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Passed(byte* tile, int step) => Vector512.Load((uint*)(tile + step * ByteStep));

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

    /// <summary>Four columns by tables: fields of codes at bit offsets within two rows, and sign bits that are brought to the top of a byte.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutLevels<TBook>(byte* tile, int step, Vector512<uint> codes, ulong offsets, byte mask, Vector512<uint> signs, ulong signOffsets, Vector512<byte> zero)
        where TBook : struct, ICodebook
    {
        Vector512<byte> numbers = Levels<TBook>(codes, offsets, mask);
        Vector512<byte> top = Avx512Vbmi.MultiShift(Vector512.Create(signOffsets).AsByte(), signs.AsUInt64());
        Put(tile, step, Vector512.ConditionalSelect(Vector512.LessThan(top.AsSByte(), Vector512<sbyte>.Zero).AsByte(), zero - numbers, zero + numbers).AsUInt32());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Levels<TBook>(Vector512<uint> codes, ulong offsets, byte mask)
        where TBook : struct, ICodebook =>
        Avx512Isa.Lookup(TBook.Levels, (Avx512Vbmi.MultiShift(Vector512.Create(offsets).AsByte(), codes.AsUInt64()) & Vector512.Create(mask)).AsUInt32()).AsByte();

    /// <summary>A byte of the table for each index of eight bits and upper ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> Look<TBook>(byte* plane, Vector512<byte> index, Vector512<byte> upper)
        where TBook : struct, ICodebook
    {
        Vector512<byte> result = Look256(plane, index);
        if (TBook.Entries >= 512)
        {
            Vector512<byte> odd = IsSet(upper, 1);
            result = Vector512.ConditionalSelect(odd, Look256(plane + 256, index), result);
            if (TBook.Entries >= 1024)
            {
                Vector512<byte> next = Vector512.ConditionalSelect(odd, Look256(plane + 768, index), Look256(plane + 512, index));
                if (TBook.Entries >= 2048)
                {
                    Vector512<byte> third = Vector512.ConditionalSelect(odd, Look256(plane + 1280, index), Look256(plane + 1024, index));
                    Vector512<byte> fourth = Vector512.ConditionalSelect(odd, Look256(plane + 1792, index), Look256(plane + 1536, index));
                    Vector512<byte> second = IsSet(upper, 2);
                    return Vector512.ConditionalSelect(IsSet(upper, 4), Vector512.ConditionalSelect(second, fourth, third), Vector512.ConditionalSelect(second, next, result));
                }

                result = Vector512.ConditionalSelect(IsSet(upper, 2), next, result);
            }
        }

        return result;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<byte> IsSet(Vector512<byte> bits, byte bit) => Vector512.Equals(bits & Vector512.Create(bit), Vector512.Create(bit));

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<byte> Look256(byte* table, Vector512<byte> index) => Vector512.ConditionalSelect(
            Vector512.LessThan(index.AsSByte(), Vector512<sbyte>.Zero).AsByte(),
            Avx512Vbmi.PermuteVar64x8x2(Vector512.Load(table + 128), index, Vector512.Load(table + 192)),
            Avx512Vbmi.PermuteVar64x8x2(Vector512.Load(table), index, Vector512.Load(table + 64)));
    }
}
