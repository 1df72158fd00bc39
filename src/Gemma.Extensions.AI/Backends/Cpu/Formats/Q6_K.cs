using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.GemvSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Six bits with a zero point of 32; signed byte scales of 16 columns.</summary>
internal static unsafe class Q6_KTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q6_K,
        Group = 16,
        Offset = 32,
        MaxByte = 63,
        Unpack = &Unpack<TIsa>,
        Gemv = &Gemv<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 256, rows += 210, tile += 64 * ByteStep, scales += 16 * TileFormat.Rows)
        {
            TIsa.Transpose(rows + 192, stride, out Vector512<uint> s0, out Vector512<uint> s1, out Vector512<uint> s2, out Vector512<uint> s3);
            PutSignedScales(scales, HighHalf(Last<TIsa>(rows + 194, stride)), s0, s1, s2, s3);
            for (int part = 0; part < 4; part++)
            {
                byte* low = rows + 64 * (part >> 1) + 16 * (part & 1);
                TIsa.Transpose(rows + 128 + 16 * part, stride, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                TIsa.Transpose(low, stride, out Vector512<uint> a0, out Vector512<uint> a1, out Vector512<uint> a2, out Vector512<uint> a3);
                TIsa.Transpose(low + 32, stride, out Vector512<uint> b0, out Vector512<uint> b1, out Vector512<uint> b2, out Vector512<uint> b3);
                byte* target = tile + ((part >> 1) * 32 + (part & 1) * 4) * ByteStep;
                PutSixBits(target, 0, a0, b0, h0);
                PutSixBits(target, 1, a1, b1, h1);
                PutSixBits(target, 2, a2, b2, h2);
                PutSixBits(target, 3, a3, b3, h3);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutSixBits(byte* tile, int step, Vector512<uint> a, Vector512<uint> b, Vector512<uint> h)
    {
        Vector512<uint> four = Vector512.Create(Nibbles), top = Vector512.Create(0x30303030u);
        Put(tile, step, (a & four) | ((h << 4) & top));
        Put(tile, step + 8, (b & four) | ((h << 2) & top));
        Put(tile, step + 16, ((a >> 4) & four) | (h & top));
        Put(tile, step + 24, ((b >> 4) & four) | ((h >> 2) & top));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gemv<TIsa>(byte* rows, long stride, int columns, GemvArgs* args)
        where TIsa : struct, IVectorIsa
    {
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        int* terms = (int*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        Vector512<int>* products = (Vector512<int>*)args->Scratch;
        for (int k = 0; k < columns; k += 256, rows += 210)
        {
            TIsa.Transpose(rows + 194, stride, out _, out _, out _, out Vector512<uint> end);
            Vector512<float> d = HighHalf(end);
            Read<TIsa>(rows + 192, stride, ref ahead, stream, out Vector512<uint> s, out Vector512<uint> t, out Vector512<uint> laterS, out Vector512<uint> laterT);
            for (int half = 0; half < 2; half++, x += 32, terms += 8, xScales += 4)
            {
                for (int h = 0; h < 2; h++)
                {
                    byte* low = rows + 64 * half + 16 * h, high = rows + 128 + 32 * half + 16 * h;
                    Read<TIsa>(high, stride, ref ahead, stream, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                    for (int b = 0; b < 4; b += 2)
                    {
                        Read<TIsa>(low + 16 * b, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                        int* y = x + 4 * (h + b);
                        products[b + h] = Dot<TIsa, TwoPairs>(Vector512.Create(terms[b + h]), y, Six(d0, h0 << 4), Six(d1, h1 << 4), Six(d2, h2 << 4), Six(d3, h3 << 4));
                        products[4 + b + h] = Dot<TIsa, TwoPairs>(Vector512.Create(terms[4 + b + h]), y + 16, Six(d0 >> 4, h0), Six(d1 >> 4, h1), Six(d2 >> 4, h2), Six(d3 >> 4, h3));
                        h0 >>= 2;
                        h1 >>= 2;
                        h2 >>= 2;
                        h3 >>= 2;
                    }
                }

                for (int g = 0; g < 8; g++, s = g == 4 ? t : s >> 8)
                {
                    sum = Add(sum, products[g], d * Signed(s << 24), xScales[g >> 1]);
                }

                s = laterS;
                t = laterT;
            }
        }

        sum.Store(args->Output);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Six(Vector512<uint> low, Vector512<uint> high) => (low & Vector512.Create(Nibbles)) | (high & Vector512.Create(0x30303030u));
    }
}
