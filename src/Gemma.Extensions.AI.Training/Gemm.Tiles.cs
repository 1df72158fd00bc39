using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Training;

// The micro-kernels: register blocks of 8 × 48 with 512-bit vectors and of 4 × 16 without.
internal static unsafe partial class Gemm
{
    private static void Tile(float* a, int rowA, int stepA, float* panel, int stride, int kc, float* c, int ldc, int height, bool add, Fetching* ahead)
    {
        if (!Vector512.IsHardwareAccelerated)
        {
            for (int i = 0; i < height; i += 4)
            {
                for (int j = 0; j < stride; j += 16)
                {
                    Tile256(a + (long)i * rowA, rowA, stepA, panel + j, stride, kc, c + (long)i * ldc + j, ldc, Math.Min(4, height - i), add);
                }
            }
        }
        else if (stride == 48)
        {
            Tile512<Three>(a, rowA, stepA, panel, kc, c, ldc, height, add, ahead);
        }
        else if (stride == 32)
        {
            Tile512<Two>(a, rowA, stepA, panel, kc, c, ldc, height, add, ahead);
        }
        else
        {
            Tile512<One>(a, rowA, stepA, panel, kc, c, ldc, height, add, ahead);
        }
    }

    /// <summary>8 rows by 16, 32 or 48 columns in up to twenty-four 512-bit accumulators. Only <paramref name="height"/> rows are read and stored.</summary>
    private static void Tile512<W>(float* a, int rowA, nint stepA, float* panel, int kc, float* c, int ldc, int height, bool add, Fetching* ahead)
        where W : struct, IWidth
    {
        // Two pointers, rows 0-3 and the last four, and three distances leave registers for the loop. Where there are fewer rows, some are computed
        // twice and stored once.
        float* top = a;
        float* bottom = a + (long)Math.Max(0, height - 4) * rowA;
        nint one = Math.Min(1, height - 1) * (nint)rowA, two = Math.Min(2, height - 1) * (nint)rowA, three = Math.Min(3, height - 1) * (nint)rowA;
        Vector512<float> c00 = default, c01 = default, c02 = default, c10 = default, c11 = default, c12 = default;
        Vector512<float> c20 = default, c21 = default, c22 = default, c30 = default, c31 = default, c32 = default;
        Vector512<float> c40 = default, c41 = default, c42 = default, c50 = default, c51 = default, c52 = default;
        Vector512<float> c60 = default, c61 = default, c62 = default, c70 = default, c71 = default, c72 = default;
        int row = 0, rows = Share(TileRows, ahead->Stretches), stretch = Share(kc, ahead->Stretches) * 16 * W.Vectors;
        float* end = panel + (long)kc * 16 * W.Vectors;
        for (float* p = panel; p < end;)
        {
            float* stop = p + Math.Min(stretch, end - p);
            if (Sse.IsSupported)
            {
                // Where C is large its lines are far away; they come while the sums are computed.
                for (int last = Math.Min(row + rows, height); row < last; row++)
                {
                    for (int q = 0; q < W.Vectors; q++)
                    {
                        Sse.Prefetch0(c + (long)row * ldc + 16 * q);
                    }
                }

                ahead->A.Fetch(ahead->LinesA);
                ahead->B.Fetch(ahead->LinesB);
            }

            for (; p < stop; p += 16 * W.Vectors)
            {
                Vector512<float> b0 = Vector512.Load(p);
                Vector512<float> b1 = W.Vectors > 1 ? Vector512.Load(p + 16) : default;
                Vector512<float> b2 = W.Vectors > 2 ? Vector512.Load(p + 32) : default;
                Vector512<float> x = Vector512.Create(top[0]);
                c00 = Vector512.FusedMultiplyAdd(x, b0, c00);
                c01 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c01) : c01;
                c02 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c02) : c02;
                x = Vector512.Create(top[one]);
                c10 = Vector512.FusedMultiplyAdd(x, b0, c10);
                c11 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c11) : c11;
                c12 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c12) : c12;
                x = Vector512.Create(top[two]);
                c20 = Vector512.FusedMultiplyAdd(x, b0, c20);
                c21 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c21) : c21;
                c22 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c22) : c22;
                x = Vector512.Create(top[three]);
                c30 = Vector512.FusedMultiplyAdd(x, b0, c30);
                c31 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c31) : c31;
                c32 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c32) : c32;
                x = Vector512.Create(bottom[0]);
                c40 = Vector512.FusedMultiplyAdd(x, b0, c40);
                c41 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c41) : c41;
                c42 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c42) : c42;
                x = Vector512.Create(bottom[one]);
                c50 = Vector512.FusedMultiplyAdd(x, b0, c50);
                c51 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c51) : c51;
                c52 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c52) : c52;
                x = Vector512.Create(bottom[two]);
                c60 = Vector512.FusedMultiplyAdd(x, b0, c60);
                c61 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c61) : c61;
                c62 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c62) : c62;
                x = Vector512.Create(bottom[three]);
                c70 = Vector512.FusedMultiplyAdd(x, b0, c70);
                c71 = W.Vectors > 1 ? Vector512.FusedMultiplyAdd(x, b1, c71) : c71;
                c72 = W.Vectors > 2 ? Vector512.FusedMultiplyAdd(x, b2, c72) : c72;
                top += stepA;
                bottom += stepA;
            }
        }

        Store<W>(c, c00, c01, c02, add);
        if (height > 1) Store<W>(c + ldc, c10, c11, c12, add);
        if (height > 2) Store<W>(c + 2L * ldc, c20, c21, c22, add);
        if (height > 3) Store<W>(c + 3L * ldc, c30, c31, c32, add);
        c += (height - 4L) * ldc;
        if (height > 7) Store<W>(c, c40, c41, c42, add);
        if (height > 6) Store<W>(c + ldc, c50, c51, c52, add);
        if (height > 5) Store<W>(c + 2L * ldc, c60, c61, c62, add);
        if (height > 4) Store<W>(c + 3L * ldc, c70, c71, c72, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store<W>(float* c, Vector512<float> low, Vector512<float> middle, Vector512<float> high, bool add)
        where W : struct, IWidth
    {
        if (add)
        {
            low += Vector512.Load(c);
            middle = W.Vectors > 1 ? middle + Vector512.Load(c + 16) : middle;
            high = W.Vectors > 2 ? high + Vector512.Load(c + 32) : high;
        }

        low.Store(c);
        if (W.Vectors > 1)
        {
            middle.Store(c + 16);
        }

        if (W.Vectors > 2)
        {
            high.Store(c + 32);
        }
    }

    /// <summary>4 rows by 16 columns in eight 256-bit accumulators, for machines without 512-bit vectors.</summary>
    internal static void Tile256(float* a, int rowA, int stepA, float* panel, int stride, int kc, float* c, int ldc, int height, bool add)
    {
        float* a0 = a;
        float* a1 = a + (long)Math.Min(1, height - 1) * rowA;
        float* a2 = a + (long)Math.Min(2, height - 1) * rowA;
        float* a3 = a + (long)Math.Min(3, height - 1) * rowA;
        Vector256<float> c00 = default, c01 = default, c10 = default, c11 = default, c20 = default, c21 = default, c30 = default, c31 = default;
        nint offset = 0;
        float* end = panel + (long)kc * stride;
        for (float* p = panel; p < end; p += stride)
        {
            Vector256<float> b0 = Vector256.Load(p);
            Vector256<float> b1 = Vector256.Load(p + 8);
            Vector256<float> x = Vector256.Create(a0[offset]);
            c00 = Vector256.FusedMultiplyAdd(x, b0, c00);
            c01 = Vector256.FusedMultiplyAdd(x, b1, c01);
            x = Vector256.Create(a1[offset]);
            c10 = Vector256.FusedMultiplyAdd(x, b0, c10);
            c11 = Vector256.FusedMultiplyAdd(x, b1, c11);
            x = Vector256.Create(a2[offset]);
            c20 = Vector256.FusedMultiplyAdd(x, b0, c20);
            c21 = Vector256.FusedMultiplyAdd(x, b1, c21);
            x = Vector256.Create(a3[offset]);
            c30 = Vector256.FusedMultiplyAdd(x, b0, c30);
            c31 = Vector256.FusedMultiplyAdd(x, b1, c31);
            offset += stepA;
        }

        Store(c, c00, c01, add);
        if (height > 1) Store(c + ldc, c10, c11, add);
        if (height > 2) Store(c + 2L * ldc, c20, c21, add);
        if (height > 3) Store(c + 3L * ldc, c30, c31, add);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Store(float* c, Vector256<float> low, Vector256<float> high, bool add)
    {
        if (add)
        {
            low += Vector256.Load(c);
            high += Vector256.Load(c + 8);
        }

        low.Store(c);
        high.Store(c + 8);
    }

    /// <summary>Columns of a panel in vectors of sixteen: known when a kernel is compiled, so that what it does not need is left out.</summary>
    private interface IWidth
    {
        static abstract int Vectors { get; }
    }

    private readonly struct One : IWidth
    {
        public static int Vectors => 1;
    }

    private readonly struct Two : IWidth
    {
        public static int Vectors => 2;
    }

    private readonly struct Three : IWidth
    {
        public static int Vectors => 3;
    }
}
