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
        Vector512<uint> low = Vector512.Create(255u);
        Vector512<byte> offset = Vector512.Create((byte)64);
        for (int k = 0; k < columns; k += 256, rows += 66, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.125f;
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> i0, out Vector512<uint> w0, out Vector512<uint> i1, out Vector512<uint> w1);
                for (int i = 0; i < 4; i++)
                {
                    PutEight<TIsa>(tile, 16 * part + 2 * i, Codebooks.Iq2Xxs, (i0 >> (8 * i)) & low, EvenSigns(w0 >> (7 * i)), offset);
                    PutEight<TIsa>(tile, 16 * part + 8 + 2 * i, Codebooks.Iq2Xxs, (i1 >> (8 * i)) & low, EvenSigns(w1 >> (7 * i)), offset);
                }

                PutOddScale(scales + 2 * part * TileFormat.Rows, d, w0 >> 28);
                PutOddScale(scales + (2 * part + 1) * TileFormat.Rows, d, w1 >> 28);
            }
        }
    }
}
