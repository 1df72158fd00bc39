using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
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
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> low = Vector512.Create(255u);
        Vector512<byte> offset = Vector512.Create((byte)64);
        for (int k = 0; k < columns; k += 256, rows += 98, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            Vector512<float> d = LowHalf(First<TIsa>(rows, stride)) * 0.25f;
            for (int part = 0; part < 4; part++)
            {
                // 64 columns: 16 indices, two words of signs and a scale each.
                TIsa.Transpose(rows + 2 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                TIsa.Transpose(rows + 66 + 8 * (part == 3 ? 2 : part), stride, out Vector512<uint> w0, out Vector512<uint> w1, out Vector512<uint> w2, out Vector512<uint> w3);
                (w0, w1) = part == 3 ? (w2, w3) : (w0, w1); // the block ends there
                byte* target = tile + 16 * part * ByteStep;
                Entries<TIsa>(target, d0, EvenSigns(w0), EvenSigns(w0 >> 7), low, offset);
                Entries<TIsa>(target + 4 * ByteStep, d1, EvenSigns(w0 >> 14), EvenSigns(w0 >> 21), low, offset);
                Entries<TIsa>(target + 8 * ByteStep, d2, EvenSigns(w1), EvenSigns(w1 >> 7), low, offset);
                Entries<TIsa>(target + 12 * ByteStep, d3, EvenSigns(w1 >> 14), EvenSigns(w1 >> 21), low, offset);
                PutOddScale(scales + 2 * part * TileFormat.Rows, d, w0 >> 28);
                PutOddScale(scales + (2 * part + 1) * TileFormat.Rows, d, w1 >> 28);
            }
        }
    }

    /// <summary>16 columns: four indices, signs of the first and of the last eight.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Entries<TIsa>(byte* tile, Vector512<uint> indices, Vector512<uint> first, Vector512<uint> last, Vector512<uint> low, Vector512<byte> offset)
        where TIsa : struct, IVectorIsa
    {
        PutSigned(tile, 0, TIsa.Gather(Codebooks.Iq3Xxs, indices & low), first, offset);
        PutSigned(tile, 1, TIsa.Gather(Codebooks.Iq3Xxs, (indices >> 8) & low), first >> 4, offset);
        PutSigned(tile, 2, TIsa.Gather(Codebooks.Iq3Xxs, (indices >> 16) & low), last, offset);
        PutSigned(tile, 3, TIsa.Gather(Codebooks.Iq3Xxs, indices >> 24), last >> 4, offset);
    }
}
