using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Numbers by tables in registers of 512 bits, which only AVX-512 with VBMI has.</summary>
internal static unsafe partial class CodebookSteps
{
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
