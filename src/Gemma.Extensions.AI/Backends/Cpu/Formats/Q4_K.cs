using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.GemvSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Nibbles; six-bit scales and minima of 32 columns.</summary>
internal static unsafe class Q4_KTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q4_K,
        Group = 32,
        MaxByte = 15,
        HasMinimum = true,
        Unpack = &Unpack<TIsa>,
        Gemv = &Gemv<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 256, rows += 144, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            SixBitScales<TIsa>(rows, stride, scales);
            for (int part = 0; part < 4; part++)
            {
                for (int h = 0; h < 2; h++)
                {
                    TIsa.Transpose(rows + 16 + 32 * part + 16 * h, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                    PutNibbles(tile + (16 * part + 4 * h) * ByteStep, 0, 8, d0, d1, d2, d3);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gemv<TIsa>(byte* rows, long stride, int columns, GemvArgs* args)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> mask = Vector512.Create(Nibbles);
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        float* sums = (float*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 256, rows += 144)
        {
            Read<TIsa>(rows, stride, ref ahead, stream, out Vector512<uint> both, out Vector512<uint> s, out Vector512<uint> m, out Vector512<uint> high);
            Vector512<float> d = LowHalf(both), dmin = HighHalf(both);
            SixBits(ref s, ref m, high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima);
            for (int part = 0; part < 4; part++, x += 16, sums += 2, xScales += 2)
            {
                Vector512<int> p = Vector512<int>.Zero, q = p;
                for (int h = 0; h < 2; h++)
                {
                    Read<TIsa>(rows + 16 + 32 * part + 16 * h, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                    p = Dot<TIsa, FourPairs>(p, x + 4 * h, d0 & mask, d1 & mask, d2 & mask, d3 & mask);
                    q = Dot<TIsa, FourPairs>(q, x + 8 + 4 * h, (d0 >> 4) & mask, (d1 >> 4) & mask, (d2 >> 4) & mask, (d3 >> 4) & mask);
                }

                sum = Add(sum, p, d * Byte(s), xScales[0], dmin * Byte(m), sums[0]);
                sum = Add(sum, q, d * Byte(s >> 8), xScales[1], dmin * Byte(m >> 8), sums[1]);
                s = part == 1 ? laterScales : s >> 16;
                m = part == 1 ? laterMinima : m >> 16;
            }
        }

        sum.Store(args->Output);
    }
}
