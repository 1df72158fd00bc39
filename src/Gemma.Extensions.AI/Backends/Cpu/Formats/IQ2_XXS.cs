using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of eight numbers up to 43 by bytes; seven bits for eight signs; four-bit scales of 32 columns.</summary>
internal static unsafe class IQ2_XXSTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ2_XXS,
        Group = 32,
        Offset = 64,
        MaxByte = 107,
        Unpack = &Unpack<TIsa>,
        Gemv = &CodebookRows.Gemv<TIsa, IQ2_XXSRow>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ2_XXSBook.Tables;
        const byte Offset = 64;
        for (int k = 0; k < columns; k += 256, rows += 66, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> i0, out Vector512<uint> w0, out Vector512<uint> i1, out Vector512<uint> w1);
                PutEights<TIsa, IQ2_XXSBook>(tables, tile + 16 * part * ByteStep, i0, default, EvenSigns(SpreadSevens(w0)), Offset);
                PutEights<TIsa, IQ2_XXSBook>(tables, tile + (16 * part + 8) * ByteStep, i1, default, EvenSigns(SpreadSevens(w1)), Offset);
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
        Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
        for (int part = 0; part < 4; part++)
        {
            TIsa.Transpose(rows + 2 + 16 * part, stride, out _, out Vector512<uint> w0, out _, out Vector512<uint> w1);
            PutOddScale(scales + 2 * part * step, d, w0 >> 28);
            PutOddScale(scales + (2 * part + 1) * step, d, w1 >> 28);
        }
    }
}

internal readonly unsafe struct IQ2_XXSRow : ICodebookRow
{
    public static int BlockBytes => 66;

    public static int Group => 32;

    public static void* Entries => Codebooks.Iq2Xxs;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa => IQ2_XXSTiles.PutScales<TIsa>(rows, stride, scales, GemvArgs.WeightRows);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative)
    {
        byte* index = block + 2 + 8 * part;
        uint word = *(uint*)(index + 4);
        magnitudes = CodebookRows.Eights(entries, index[0], index[1], index[2], index[3]);
        negative = CodebookRows.EvenSigns(word & 127, (word >> 7) & 127, (word >> 14) & 127, (word >> 21) & 127);
    }
}

internal readonly unsafe struct IQ2_XXSBook : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ2_XXS, Codebooks.Iq2Xxs);

    public static int Entries => 256;

    public static Vector128<byte> Levels => Vector128.Create((byte)8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
