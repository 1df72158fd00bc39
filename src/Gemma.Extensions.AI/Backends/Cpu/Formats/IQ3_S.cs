using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of four numbers up to 15 by 9-bit indices; a bit a sign; four-bit scales of 32 columns.</summary>
internal static unsafe class IQ3_STiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ3_S,
        Group = 32,
        Offset = 16,
        MaxByte = 31,
        Unpack = &Unpack<TIsa>,
        Gemv = HasTables<TIsa>() ? null : &CodebookRows.Gemv<TIsa, IQ3_SRow>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ3_SBook.Tables;
        const byte Offset = 16;
        for (int k = 0; k < columns; k += 256, rows += 110, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            PutScales<TIsa>(rows, stride, scales, TileFormat.Rows);
            TIsa.Transpose(rows + 66, stride, out Vector512<uint> high, out Vector512<uint> laterHigh, out _, out _);
            for (int part = 0; part < 4; part++, high = part == 2 ? laterHigh : high)
            {
                // 64 columns: 16 indices, two bytes of their highest bits, 8 bytes of signs.
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                TIsa.Transpose(rows + 74 + 8 * (part == 3 ? 2 : part), stride, out Vector512<uint> s0, out Vector512<uint> s1, out Vector512<uint> s2, out Vector512<uint> s3);
                (s0, s1) = part == 3 ? (s2, s3) : (s0, s1); // 16 bytes from there would reach past the block
                byte* target = tile + 16 * part * ByteStep;
                for (int quarter = 0; quarter < 4; quarter++, target += 4 * ByteStep, high >>= 4, d0 = d1, d1 = d2, d2 = d3, s0 = quarter == 2 ? s1 : s0 >> 16)
                {
                    PutFours<TIsa, IQ3_SBook>(tables, target, d0, SpreadBits(high), s0, Offset);
                }
            }
        }
    }

    /// <summary>The scales of a block, <paramref name="step"/> from one group to the next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutScales<TIsa>(byte* rows, long stride, float* scales, int step)
        where TIsa : struct, IVectorIsa
    {
        Vector512<float> d = LowHalf(First<TIsa>(rows, stride));
        Vector512<uint> scale = Last<TIsa>(rows + 94, stride);
        for (int group = 0; group < 8; group++)
        {
            PutOddScale(scales + group * step, d, (scale >> (4 * group)) & Vector512.Create(15u));
        }
    }
}

internal readonly unsafe struct IQ3_SRow : ICodebookRow
{
    public static int BlockBytes => 110;

    public static int Group => 32;

    public static void* Entries => Codebooks.Iq3S;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa => IQ3_STiles.PutScales<TIsa>(rows, stride, scales, GemvArgs.WeightRows);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative)
    {
        magnitudes = CodebookRows.Fours(entries, block + 2 + 8 * part, block[66 + part]);
        negative = CodebookRows.Signs(*(uint*)(block + 74 + 4 * part));
    }
}

internal readonly unsafe struct IQ3_SBook : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ3_S, Codebooks.Iq3S);

    public static int Entries => 512;

    public static Vector128<byte> Levels => Vector128.Create((byte)1, 3, 5, 7, 9, 11, 13, 15, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
