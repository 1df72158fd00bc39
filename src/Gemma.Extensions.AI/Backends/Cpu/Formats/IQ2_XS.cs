using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        CodebookTables tables = IQ2_XSBook.Tables;
        Vector512<uint> four = Vector512.Create(15u);
        for (int k = 0; k < columns; k += 256, rows += 74, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
            TIsa.Transpose(rows + 58, stride, out _, out _, out Vector512<uint> s0, out Vector512<uint> s1);
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> e0, out Vector512<uint> e1, out Vector512<uint> e2, out Vector512<uint> e3);
                byte* target = tile + 16 * part * ByteStep;
                Four(tables, target, e0, e1);
                Four(tables, target + 8 * ByteStep, e2, e3);
                Vector512<uint> scale = (part < 2 ? s0 : s1) >> (part % 2 * 16);
                for (int group = 0; group < 4; group++)
                {
                    PutOddScale(scales + (4 * part + group) * TileFormat.Rows, d, (scale >> (4 * group)) & four);
                }
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
}

internal readonly unsafe struct IQ2_XSBook : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ2_XS, Codebooks.Iq2Xs);

    public static int Entries => 512;

    public static Vector128<byte> Levels => Vector128.Create((byte)8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
