using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.GemvSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Nibbles with a fifth bit; six-bit scales and minima of 32 columns.</summary>
internal static unsafe class Q5_KTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q5_K,
        Group = 32,
        MaxByte = 31,
        HasMinimum = true,
        Unpack = &Unpack<TIsa>,
        Gemv = &Gemv<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> four = Vector512.Create(Nibbles), one = Vector512.Create(0x01010101u);
        for (int k = 0; k < columns; k += 256, rows += 176, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            SixBitScales<TIsa>(rows, stride, scales);
            for (int h = 0; h < 2; h++)
            {
                TIsa.Transpose(rows + 16 + 16 * h, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                for (int part = 0; part < 4; part++)
                {
                    TIsa.Transpose(rows + 48 + 32 * part + 16 * h, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                    byte* target = tile + (16 * part + 4 * h) * ByteStep;
                    int low = 2 * part, high = 2 * part + 1;
                    Put(target, 0, (d0 & four) | (((h0 >> low) & one) << 4));
                    Put(target, 1, (d1 & four) | (((h1 >> low) & one) << 4));
                    Put(target, 2, (d2 & four) | (((h2 >> low) & one) << 4));
                    Put(target, 3, (d3 & four) | (((h3 >> low) & one) << 4));
                    Put(target, 8, ((d0 >> 4) & four) | (((h0 >> high) & one) << 4));
                    Put(target, 9, ((d1 >> 4) & four) | (((h1 >> high) & one) << 4));
                    Put(target, 10, ((d2 >> 4) & four) | (((h2 >> high) & one) << 4));
                    Put(target, 11, ((d3 >> 4) & four) | (((h3 >> high) & one) << 4));
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gemv<TIsa>(byte* rows, long stride, int columns, GemvArgs* args)
        where TIsa : struct, IVectorIsa
    {
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        float* sums = (float*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        Vector512<uint>* fifth = (Vector512<uint>*)args->Scratch;
        for (int k = 0; k < columns; k += 256, rows += 176)
        {
            Read<TIsa>(rows, stride, ref ahead, stream, out Vector512<uint> both, out Vector512<uint> s, out Vector512<uint> m, out Vector512<uint> high);
            Vector512<float> d = LowHalf(both), dmin = HighHalf(both);
            SixBits(ref s, ref m, high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima);
            for (int h = 0; h < 2; h++)
            {
                Read<TIsa>(rows + 16 + 16 * h, stride, ref ahead, stream, out fifth[4 * h], out fifth[4 * h + 1], out fifth[4 * h + 2], out fifth[4 * h + 3]);
            }

            for (int part = 0; part < 4; part++, x += 16, sums += 2, xScales += 2)
            {
                Vector512<int> p = Vector512<int>.Zero, q = p;
                for (int h = 0; h < 2; h++)
                {
                    Vector512<uint>* f = fifth + 4 * h;
                    Read<TIsa>(rows + 48 + 32 * part + 16 * h, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                    p = Dot<TIsa, FourPairs>(p, x + 4 * h, Five(d0, f[0]), Five(d1, f[1]), Five(d2, f[2]), Five(d3, f[3]));
                    q = Dot<TIsa, FourPairs>(q, x + 8 + 4 * h, Five(d0 >> 4, f[0] >> 1), Five(d1 >> 4, f[1] >> 1), Five(d2 >> 4, f[2] >> 1), Five(d3 >> 4, f[3] >> 1));
                    for (int i = 0; i < 4; i++)
                    {
                        f[i] >>= 2;
                    }
                }

                sum = Add(sum, p, d * Byte(s), xScales[0], dmin * Byte(m), sums[0]);
                sum = Add(sum, q, d * Byte(s >> 8), xScales[1], dmin * Byte(m >> 8), sums[1]);
                s = part == 1 ? laterScales : s >> 16;
                m = part == 1 ? laterMinima : m >> 16;
            }
        }

        sum.Store(args->Output);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Five(Vector512<uint> nibbles, Vector512<uint> fifth) =>
            (nibbles & Vector512.Create(Nibbles)) | ((fifth & Vector512.Create(0x01010101u)) << 4);
    }
}
