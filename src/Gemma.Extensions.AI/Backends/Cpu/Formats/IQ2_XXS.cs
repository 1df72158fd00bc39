using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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
}

internal readonly unsafe struct IQ2_XXSBook : ICodebook
{
    private static readonly CodebookTables s_tables = CodebookTables.Create(TensorType.IQ2_XXS, Codebooks.Iq2Xxs);

    public static int Entries => 256;

    public static Vector128<byte> Levels => Vector128.Create((byte)8, 25, 43, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);

    public static CodebookTables Tables => s_tables;
}
