using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>IQ1_S's entries; three-bit scales of 16 columns, shifts of 8, and a scale of the block that lies in four quarters.</summary>
internal static unsafe class IQ1_MTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ1_M,
        Group = 16,
        Offset = 16,
        MaxByte = 25,
        Unpack = &Unpack<TIsa>,
        Gemv = HasTables<TIsa>() ? null : &CodebookRows.Gemv<TIsa, IQ1_MRow>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ1Book.Tables;
        for (int k = 0; k < columns; k += 256, rows += 56, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            PutScales<TIsa>(rows, stride, scales, TileFormat.Rows);
            TIsa.Transpose(rows + 32, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
            for (int part = 0; part < 2; part++, h0 = h2, h1 = h3)
            {
                TIsa.Transpose(rows + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                byte* target = tile + 32 * part * ByteStep;
                Four(tables, target, d0, h0);
                Four(tables, target + 8 * ByteStep, d1, h0 >> 16);
                Four(tables, target + 16 * ByteStep, d2, h1);
                Four(tables, target + 24 * ByteStep, d3, h1 >> 16);
            }
        }

        // 32 columns: four indices, and a nibble each of upper bits and shift.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Four(CodebookTables tables, byte* tile, Vector512<uint> indices, Vector512<uint> nibbles)
        {
            Vector512<uint> bytes = (nibbles & Vector512.Create(0xFu)) | ((nibbles << 4) & Vector512.Create(0xF00u)) | ((nibbles << 8) & Vector512.Create(0xF0000u)) | ((nibbles << 12) & Vector512.Create(0xF000000u));
            PutShiftedEights<TIsa, IQ1Book>(tables, tile, indices, bytes & Vector512.Create(0x07070707u), IQ1_STiles.Shifts((bytes >> 3) & Vector512.Create(0x01010101u)));
        }
    }

    /// <summary>The scales of a block, <paramref name="step"/> from one group to the next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutScales<TIsa>(byte* rows, long stride, float* scales, int step)
        where TIsa : struct, IVectorIsa
    {
        TIsa.Transpose(rows + 40, stride, out _, out _, out Vector512<uint> s0, out Vector512<uint> s1);
        Vector512<uint> top = Vector512.Create(0xF000u);
        Vector512<float> d = LowHalf(((s0 & top) >> 12) | ((s0 >> 24) & Vector512.Create(0xF0u)) | ((s1 & top) >> 4) | ((s1 >> 16) & top)) * 0.125f;
        for (int group = 0; group < 8; group++)
        {
            int shift = group / 4 * 16 + group % 4 * 3;
            PutOddScale(scales + group * step, d, (s0 >> shift) & Vector512.Create(7u));
            PutOddScale(scales + (8 + group) * step, d, (s1 >> shift) & Vector512.Create(7u));
        }
    }
}

internal readonly unsafe struct IQ1_MRow : ICodebookRow
{
    public static int BlockBytes => 56;

    public static int Group => 16;

    public static void* Entries => Codebooks.Iq1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa => IQ1_MTiles.PutScales<TIsa>(rows, stride, scales, GemvArgs.WeightRows);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative)
    {
        byte* index = block + 4 * part;
        uint nibbles = ((ushort*)(block + 32))[part], minus = (nibbles >> 3) & 0x1111;
        Vector256<sbyte> numbers = CodebookRows.Eights(
            entries, index[0] | ((nibbles << 8) & 0x700), index[1] | ((nibbles << 4) & 0x700), index[2] | (nibbles & 0x700), index[3] | ((nibbles >> 4) & 0x700)).AsSByte();
        numbers += Vector256.Create(Shift(minus), Shift(minus >> 4), Shift(minus >> 8), Shift(minus >> 12)).AsSByte();
        negative = Vector256.LessThan(numbers, Vector256<sbyte>.Zero);
        magnitudes = Vector256.Abs(numbers).AsByte();

        // Eight bytes of 1, or of -1.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static ulong Shift(uint minus) => (minus & 1) * 0xFEFEFEFEFEFEFEFEul ^ 0x0101010101010101ul;
    }
}
