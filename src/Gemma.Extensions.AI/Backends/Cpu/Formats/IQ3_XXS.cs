using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of four numbers up to 62 by bytes; seven bits for eight signs; four-bit scales of 32 columns.</summary>
internal static unsafe class IQ3_XXSTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ3_XXS,
        Group = 32,
        Offset = 64,
        MaxByte = 126,
        Unpack = &Unpack<TIsa>,
        Gemv = HasTables<TIsa>() ? null : &CodebookRows.Gemv<TIsa, IQ3_XXSRow>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ3_XXSBook.Tables;
        const byte Offset = 64;
        for (int k = 0; k < columns; k += 256, rows += 98, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.25f;
            for (int part = 0; part < 4; part++)
            {
                // 64 columns: 16 indices, two words of signs and a scale each.
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                TIsa.Transpose(rows + 66 + 8 * (part == 3 ? 2 : part), stride, out Vector512<uint> w0, out Vector512<uint> w1, out Vector512<uint> w2, out Vector512<uint> w3);
                (w0, w1) = part == 3 ? (w2, w3) : (w0, w1); // 16 bytes from there would reach past the block
                Vector512<uint> s0 = EvenSigns(SpreadSevens(w0)), s1 = EvenSigns(SpreadSevens(w1));
                byte* target = tile + 16 * part * ByteStep;
                for (int half = 0; half < 2; half++, target += 8 * ByteStep, d0 = d2, d1 = d3, s0 = s1)
                {
                    PutFours<TIsa, IQ3_XXSBook>(tables, target, d0, default, s0, Offset);
                    PutFours<TIsa, IQ3_XXSBook>(tables, target + 4 * ByteStep, d1, default, s0 >> 16, Offset);
                }

                PutOddScale(scales + 2 * part * TileFormat.Rows, d, w0 >> 28);
                PutOddScale(scales + (2 * part + 1) * TileFormat.Rows, d, w1 >> 28);
            }
        }
    }

    /// <summary>The scales of a block, <paramref name="step"/> from one group to the next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutScales<TIsa>(byte* rows, long stride, float* scales, int step)
        where TIsa : struct, IVectorIsa
    {
        Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.25f;
        for (int half = 0; half < 2; half++)
        {
            TIsa.Transpose(rows + 66 + 16 * half, stride, out Vector512<uint> w0, out Vector512<uint> w1, out Vector512<uint> w2, out Vector512<uint> w3);
            PutOddScale(scales + 4 * half * step, d, w0 >> 28);
            PutOddScale(scales + (4 * half + 1) * step, d, w1 >> 28);
            PutOddScale(scales + (4 * half + 2) * step, d, w2 >> 28);
            PutOddScale(scales + (4 * half + 3) * step, d, w3 >> 28);
        }
    }
}

internal readonly unsafe struct IQ3_XXSRow : ICodebookRow
{
    public static int BlockBytes => 98;

    public static int Group => 32;

    public static void* Entries => Codebooks.Iq3Xxs;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa => IQ3_XXSTiles.PutScales<TIsa>(rows, stride, scales, GemvArgs.WeightRows);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative)
    {
        uint word = *(uint*)(block + 66 + 4 * part);
        magnitudes = CodebookRows.Fours(entries, block + 2 + 8 * part, 0);
        negative = CodebookRows.EvenSigns(word & 127, (word >> 7) & 127, (word >> 14) & 127, (word >> 21) & 127);
    }
}

internal readonly unsafe struct IQ3_XXSBook : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ3_XXS, Codebooks.Iq3Xxs);

    public static int Entries => 256;

    public static Vector128<byte> Levels => Vector128.Create((byte)4, 12, 20, 28, 36, 44, 52, 62, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
