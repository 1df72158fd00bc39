using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of eight numbers -1, 0, 1 by 11-bit indices, in eighths; three-bit scales and a shift of 32 columns.</summary>
internal static unsafe class IQ1_STiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ1_S,
        Group = 32,
        Offset = 16,
        MaxByte = 25,
        Unpack = &Unpack<TIsa>,
        Gemv = HasTables<TIsa>() ? null : &CodebookRows.Gemv<TIsa, IQ1_SRow>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ1Book.Tables;
        for (int k = 0; k < columns; k += 256, rows += 50, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            PutScales<TIsa>(rows, stride, scales, TileFormat.Rows);
            TIsa.Transpose(rows + 34, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
            for (int part = 0; part < 2; part++, h0 = h2, h1 = h3)
            {
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                for (int group = 4 * part; group < 4 * part + 4; group += 2, d0 = d2, d1 = d3, h0 = h1)
                {
                    Group(tables, tile, group, d0, h0);
                    Group(tables, tile, group + 1, d1, h0 >> 16);
                }
            }
        }

        // 32 columns: four indices, and a word of their upper bits, the scale and the shift.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Group(CodebookTables tables, byte* tile, int group, Vector512<uint> indices, Vector512<uint> word)
        {
            Vector512<uint> upper = (word & Vector512.Create(7u)) | ((word << 5) & Vector512.Create(0x700u)) | ((word << 10) & Vector512.Create(0x70000u)) | ((word << 15) & Vector512.Create(0x7000000u));
            PutShiftedEights<TIsa, IQ1Book>(tables, tile + 8 * group * ByteStep, indices, upper, Shifts(((word >> 15) & Vector512<uint>.One) * 0x01010101u));
        }
    }

    /// <summary>The scales of a block, <paramref name="step"/> from one group to the next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutScales<TIsa>(byte* rows, long stride, float* scales, int step)
        where TIsa : struct, IVectorIsa
    {
        Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
        TIsa.Transpose(rows + 34, stride, out Vector512<uint> w0, out Vector512<uint> w1, out Vector512<uint> w2, out Vector512<uint> w3);
        Two(scales, step, d, w0);
        Two(scales + 2 * step, step, d, w1);
        Two(scales + 4 * step, step, d, w2);
        Two(scales + 6 * step, step, d, w3);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Two(float* scales, int step, Vector512<float> d, Vector512<uint> words)
        {
            PutOddScale(scales, d, (words >> 12) & Vector512.Create(7u));
            PutOddScale(scales + step, d, (words >> 28) & Vector512.Create(7u));
        }
    }

    /// <summary>The zero point of 16 and an eighth more, or less where a byte is one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<uint> Shifts(Vector512<uint> minus) => Vector512.Create(0x11111111u) - (minus + minus);
}

internal readonly unsafe struct IQ1_SRow : ICodebookRow
{
    public static int BlockBytes => 50;

    public static int Group => 32;

    public static void* Entries => Codebooks.Iq1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa => IQ1_STiles.PutScales<TIsa>(rows, stride, scales, GemvArgs.WeightRows);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative)
    {
        byte* index = block + 2 + 4 * part;
        uint word = ((ushort*)(block + 34))[part];
        Vector256<sbyte> shift = Vector256.Create((sbyte)(1 - (word >> 15 << 1)));
        Vector256<sbyte> numbers = shift + CodebookRows.Eights(
            entries, index[0] | ((word << 8) & 0x700), index[1] | ((word << 5) & 0x700), index[2] | ((word << 2) & 0x700), index[3] | ((word >> 1) & 0x700)).AsSByte();
        negative = Vector256.LessThan(numbers, Vector256<sbyte>.Zero);
        magnitudes = Vector256.Abs(numbers).AsByte();
    }
}

/// <summary>The codebook of IQ1_S and IQ1_M.</summary>
internal readonly unsafe struct IQ1Book : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ1_S, Codebooks.Iq1);

    public static int Entries => 2048;

    public static Vector128<byte> Levels => Vector128.Create(unchecked((byte)-8), 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
