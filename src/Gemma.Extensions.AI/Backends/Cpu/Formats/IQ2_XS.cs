using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.CodebookSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Entries of eight numbers up to 43 by 9-bit indices, seven bits for eight signs; four-bit scales of 16 columns.</summary>
internal static unsafe class IQ2_XSTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.IQ2_XS,
        Group = 16,
        Offset = 64,
        MaxByte = 107,
        Unpack = &Unpack<TIsa>,
        Gemv = &CodebookRows.Gemv<TIsa, IQ2_XSRow>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ2_XSBook.Tables;
        for (int k = 0; k < columns; k += 256, rows += 74, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            PutScales<TIsa>(rows, stride, scales, TileFormat.Rows);
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> e0, out Vector512<uint> e1, out Vector512<uint> e2, out Vector512<uint> e3);
                byte* target = tile + 16 * part * ByteStep;
                Four(tables, target, e0, e1);
                Four(tables, target + 8 * ByteStep, e2, e3);
            }
        }

        // 32 columns: four words, the lower nine bits of each the index.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Four(CodebookTables tables, byte* tile, Vector512<uint> a, Vector512<uint> b)
        {
            Vector512<uint> low = Pack(a & Vector512.Create(0x00FF00FFu), b & Vector512.Create(0x00FF00FFu));
            Vector512<uint> ninth = Pack((a >> 8) & Vector512.Create(0x00010001u), (b >> 8) & Vector512.Create(0x00010001u));
            Vector512<uint> sevens = Pack((a >> 9) & Vector512.Create(0x007F007Fu), (b >> 9) & Vector512.Create(0x007F007Fu));
            PutEights<TIsa, IQ2_XSBook>(tables, tile, low, ninth, EvenSigns(sevens), 64);
        }

        // The lower bytes of two words each, as four bytes.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Pack(Vector512<uint> a, Vector512<uint> b)
        {
            a = (a | (a >> 8)) & Vector512.Create(0xFFFFu);
            b = (b | (b >> 8)) << 16;
            return a | b;
        }
    }

    /// <summary>The scales of a block, <paramref name="step"/> from one group to the next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutScales<TIsa>(byte* rows, long stride, float* scales, int step)
        where TIsa : struct, IVectorIsa => PutNibbleScales<TIsa>(rows, rows + 66, stride, scales, step);
}

internal readonly unsafe struct IQ2_XSRow : ICodebookRow
{
    public static int BlockBytes => 74;

    public static int Group => 16;

    public static void* Entries => Codebooks.Iq2Xs;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Scales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa => IQ2_XSTiles.PutScales<TIsa>(rows, stride, scales, GemvArgs.WeightRows);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read(void* entries, byte* block, int part, out Vector256<byte> magnitudes, out Vector256<sbyte> negative)
    {
        ushort* words = (ushort*)(block + 2 + 8 * part);
        uint w0 = words[0], w1 = words[1], w2 = words[2], w3 = words[3];
        magnitudes = CodebookRows.Eights(entries, w0 & 511, w1 & 511, w2 & 511, w3 & 511);
        negative = CodebookRows.EvenSigns(w0 >> 9, w1 >> 9, w2 >> 9, w3 >> 9);
    }
}

internal readonly unsafe struct IQ2_XSBook : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ2_XS, Codebooks.Iq2Xs);

    public static int Entries => 512;

    public static Vector128<byte> Levels => Vector128.Create((byte)8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
