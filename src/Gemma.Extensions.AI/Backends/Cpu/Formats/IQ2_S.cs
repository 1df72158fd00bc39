using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of eight numbers up to 43 by 10-bit indices; a bit a sign; four-bit scales of 16 columns.</summary>
internal static unsafe class IQ2_STiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ2_S,
        Group = 16,
        Offset = 64,
        MaxByte = 107,
        Unpack = &Unpack<TIsa>,
        Gemv = &CodebookRows.Gemv<TIsa, IQ2_SRow>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ2_SBook.Tables;
        const byte Offset = 64;
        for (int k = 0; k < columns; k += 256, rows += 82, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            PutScales<TIsa>(rows, stride, scales, TileFormat.Rows);
            TIsa.Transpose(rows + 66, stride, out Vector512<uint> high, out Vector512<uint> laterHigh, out _, out _);
            for (int half = 0; half < 2; half++, high = laterHigh)
            {
                TIsa.Transpose(rows + 2 + 16 * half, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                TIsa.Transpose(rows + 34 + 16 * half, stride, out Vector512<uint> s0, out Vector512<uint> s1, out Vector512<uint> s2, out Vector512<uint> s3);
                byte* target = tile + 32 * half * ByteStep;
                for (int pair = 0; pair < 2; pair++, target += 16 * ByteStep, d0 = d2, d1 = d3, s0 = s2, s1 = s3, high >>= 16)
                {
                    PutEights<TIsa, IQ2_SBook>(tables, target, d0, Pairs(high), s0, Offset);
                    PutEights<TIsa, IQ2_SBook>(tables, target + 8 * ByteStep, d1, Pairs(high >> 8), s1, Offset);
                }
            }
        }

        // Four pairs of bits as four bytes.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Pairs(Vector512<uint> bits)
        {
            Vector512<uint> x = bits & Vector512.Create(255u);
            x = (x | (x << 12)) & Vector512.Create(0x000F000Fu);
            return (x | (x << 6)) & Vector512.Create(0x03030303u);
        }
    }

    /// <summary>The scales of a block, <paramref name="step"/> from one group to the next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutScales<TIsa>(byte* rows, long stride, float* scales, int step)
        where TIsa : struct, IVectorIsa => PutNibbleScales<TIsa>(rows, rows + 74, stride, scales, step);
}

internal readonly unsafe struct IQ2_SRow : ICodebookRow
{
    public static int BlockBytes => 82;

    public static int Group => 16;

    public static void* Entries => Codebooks.Iq2S;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa => IQ2_STiles.PutScales<TIsa>(rows, stride, scales, GemvArgs.WeightRows);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative)
    {
        byte* index = block + 2 + 4 * part;
        uint high = block[66 + part];
        magnitudes = CodebookRows.Eights(entries, index[0] | ((high << 8) & 0x300), index[1] | ((high << 6) & 0x300), index[2] | ((high << 4) & 0x300), index[3] | ((high << 2) & 0x300));
        negative = CodebookRows.Signs(*(uint*)(block + 34 + 4 * part));
    }
}

internal readonly unsafe struct IQ2_SBook : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ2_S, Codebooks.Iq2S);

    public static int Entries => 1024;

    public static Vector128<byte> Levels => Vector128.Create((byte)8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
