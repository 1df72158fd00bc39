using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>The loops of the vector kernels: one, two or four activation rows by 32 weight rows. Sums are ordered as <see cref="MatMulKernels"/> states.</summary>
internal static unsafe class VectorTile
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void FloatsOne(TileArgs* args, int row)
    {
        float* output = args->Output + row * (args->OutputStride / sizeof(float));
        Vector512<float> s0 = Vector512<float>.Zero, s1 = Vector512<float>.Zero;
        if (args->Accumulate != 0)
        {
            s0 = Vector512.Load(output);
            s1 = Vector512.Load(output + 16);
        }

        float* w = (float*)args->Weights;
        float* a = (float*)args->Activations + row * args->ActivationStride;
        long step = args->WeightStride, apart = args->ActivationStep;
        for (long k = args->Steps; k > 0; k--, w += step, a += apart)
        {
            Vector512<float> x = Vector512.Create(*a);
            s0 = Vector512.MultiplyAddEstimate(Vector512.Load(w), x, s0);
            s1 = Vector512.MultiplyAddEstimate(Vector512.Load(w + 16), x, s1);
        }

        s0.Store(output);
        s1.Store(output + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void FloatsFour(TileArgs* args, int row)
    {
        long stride = args->OutputStride / sizeof(float);
        float* output = args->Output + row * stride;
        Vector512<float> s0 = Vector512<float>.Zero, s1 = s0, s2 = s0, s3 = s0, t0 = s0, t1 = s0, t2 = s0, t3 = s0;
        if (args->Accumulate != 0)
        {
            s0 = Vector512.Load(output);
            t0 = Vector512.Load(output + 16);
            s1 = Vector512.Load(output + stride);
            t1 = Vector512.Load(output + stride + 16);
            s2 = Vector512.Load(output + 2 * stride);
            t2 = Vector512.Load(output + 2 * stride + 16);
            s3 = Vector512.Load(output + 3 * stride);
            t3 = Vector512.Load(output + 3 * stride + 16);
        }

        float* w = (float*)args->Weights;
        long step = args->WeightStride, apart = args->ActivationStride;
        float* a = (float*)args->Activations + row * apart;
        long next = args->ActivationStep, apart3 = 3 * apart;
        for (long k = args->Steps; k > 0; k--, w += step, a += next)
        {
            Vector512<float> w0 = Vector512.Load(w), w1 = Vector512.Load(w + 16);
            Vector512<float> x = Vector512.Create(a[0]);
            s0 = Vector512.MultiplyAddEstimate(w0, x, s0);
            t0 = Vector512.MultiplyAddEstimate(w1, x, t0);
            x = Vector512.Create(a[apart]);
            s1 = Vector512.MultiplyAddEstimate(w0, x, s1);
            t1 = Vector512.MultiplyAddEstimate(w1, x, t1);
            x = Vector512.Create(a[2 * apart]);
            s2 = Vector512.MultiplyAddEstimate(w0, x, s2);
            t2 = Vector512.MultiplyAddEstimate(w1, x, t2);
            x = Vector512.Create(a[apart3]);
            s3 = Vector512.MultiplyAddEstimate(w0, x, s3);
            t3 = Vector512.MultiplyAddEstimate(w1, x, t3);
        }

        s0.Store(output);
        t0.Store(output + 16);
        s1.Store(output + stride);
        t1.Store(output + stride + 16);
        s2.Store(output + 2 * stride);
        t2.Store(output + 2 * stride + 16);
        s3.Store(output + 3 * stride);
        t3.Store(output + 3 * stride + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BytesOne<TIsa, TSum>(TileArgs* args, int panel, int row, int group, bool minimum)
        where TIsa : struct, IVectorIsa
        where TSum : struct, ISumDepth
    {
        float* output = args->Output + row * (args->OutputStride / sizeof(float));
        Vector512<float> f0 = Vector512<float>.Zero, f1 = f0;
        if (args->Accumulate != 0)
        {
            f0 = Vector512.Load(output);
            f1 = Vector512.Load(output + 16);
        }

        byte* w = args->Weights;
        int* a = (int*)args->Activations + row;
        float* scales = args->Scales;
        int steps = group / 4, groups = 32 / group, scaleStride = minimum ? 2 * TileFormat.Rows : TileFormat.Rows;
        int* terms = (int*)args->ZeroPointTerms + row;
        float* activationScales = args->ActivationScales + row;
        for (long block = args->Steps; block > 0; block--, activationScales += panel)
        {
            Vector512<float> activationScale = Vector512.Create(*activationScales);
            for (int g = 0; g < groups; g++, scales += scaleStride, terms += panel)
            {
                Vector512<int> i0 = minimum ? Vector512<int>.Zero : Vector512.Create(*terms), i1 = i0;
                for (int step = 0; step < steps; step += Unit<TSum>(), w += Unit<TSum>() * 4 * TileFormat.Rows, a += Unit<TSum>() * panel)
                {
                    i0 = Sum<TIsa, TSum>(i0, w, a, panel);
                    i1 = Sum<TIsa, TSum>(i1, w + 64, a, panel);
                }

                f0 = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(i0), Vector512.Load(scales) * activationScale, f0);
                f1 = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(i1), Vector512.Load(scales + 16) * activationScale, f1);
                if (minimum)
                {
                    Vector512<float> sum = Vector512.Create(-*(float*)terms);
                    f0 = Vector512.MultiplyAddEstimate(Vector512.Load(scales + TileFormat.Rows), sum, f0);
                    f1 = Vector512.MultiplyAddEstimate(Vector512.Load(scales + TileFormat.Rows + 16), sum, f1);
                }
            }
        }

        f0.Store(output);
        f1.Store(output + 16);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BytesTwo<TIsa, TSum>(TileArgs* args, int panel, int row, int group, bool minimum)
        where TIsa : struct, IVectorIsa
        where TSum : struct, ISumDepth
    {
        long stride = args->OutputStride / sizeof(float);
        float* output = args->Output + row * stride;
        Vector512<float> f0 = Vector512<float>.Zero, f1 = f0, g0 = f0, g1 = f0;
        if (args->Accumulate != 0)
        {
            f0 = Vector512.Load(output);
            f1 = Vector512.Load(output + 16);
            g0 = Vector512.Load(output + stride);
            g1 = Vector512.Load(output + stride + 16);
        }

        byte* w = args->Weights;
        int* a = (int*)args->Activations + row;
        float* scales = args->Scales;
        int steps = group / 4, groups = 32 / group, scaleStride = minimum ? 2 * TileFormat.Rows : TileFormat.Rows;
        int* terms = (int*)args->ZeroPointTerms + row;
        float* activationScales = args->ActivationScales + row;
        for (long block = args->Steps; block > 0; block--, activationScales += panel)
        {
            for (int g = 0; g < groups; g++, scales += scaleStride, terms += panel)
            {
                Vector512<int> i0 = Vector512<int>.Zero, i1 = i0, j0 = i0, j1 = i0;
                if (!minimum)
                {
                    i0 = i1 = Vector512.Create(terms[0]);
                    j0 = j1 = Vector512.Create(terms[1]);
                }

                for (int step = 0; step < steps; step += Unit<TSum>(), w += Unit<TSum>() * 4 * TileFormat.Rows, a += Unit<TSum>() * panel)
                {
                    i0 = Sum<TIsa, TSum>(i0, w, a, panel);
                    i1 = Sum<TIsa, TSum>(i1, w + 64, a, panel);
                    j0 = Sum<TIsa, TSum>(j0, w, a + 1, panel);
                    j1 = Sum<TIsa, TSum>(j1, w + 64, a + 1, panel);
                }

                Vector512<float> s0 = Vector512.Load(scales), s1 = Vector512.Load(scales + 16);
                Vector512<float> x = Vector512.Create(activationScales[0]), y = Vector512.Create(activationScales[1]);
                f0 = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(i0), s0 * x, f0);
                f1 = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(i1), s1 * x, f1);
                g0 = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(j0), s0 * y, g0);
                g1 = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(j1), s1 * y, g1);
                if (minimum)
                {
                    x = Vector512.Create(-((float*)terms)[0]);
                    y = Vector512.Create(-((float*)terms)[1]);
                    s0 = Vector512.Load(scales + TileFormat.Rows);
                    s1 = Vector512.Load(scales + TileFormat.Rows + 16);
                    f0 = Vector512.MultiplyAddEstimate(s0, x, f0);
                    f1 = Vector512.MultiplyAddEstimate(s1, x, f1);
                    g0 = Vector512.MultiplyAddEstimate(s0, y, g0);
                    g1 = Vector512.MultiplyAddEstimate(s1, y, g1);
                }
            }
        }

        f0.Store(output);
        f1.Store(output + 16);
        g0.Store(output + stride);
        g1.Store(output + stride + 16);
    }

    /// <summary>
    /// Steps of four columns that <see cref="Sum{TIsa, TSum}"/> takes at once. Groups of 16 columns have four. A call within the innermost loop would save all vector
    /// registers on the stack, and how the stack lies to the cache lines would decide the time.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static int Unit<TSum>()
        where TSum : struct, ISumDepth => Math.Max(1, TSum.Pairs);

    /// <summary>Adds the products of <see cref="Unit{TSum}"/> steps of four columns.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Sum<TIsa, TSum>(Vector512<int> sum, byte* w, int* a, int panel)
        where TIsa : struct, IVectorIsa
        where TSum : struct, ISumDepth
    {
        if (TSum.Pairs == -1)
        {
            return TIsa.Dot(sum, Vector512.Load(w), Vector512.Create(*a).AsSByte());
        }

        if (TSum.Pairs == -2)
        {
            return TIsa.WideDot(sum, Vector512.Load(w), Vector512.Create(*a).AsSByte());
        }

        if (TSum.Pairs == 0)
        {
            // A pair sum of bytes above 63 may exceed 16 bits, one product does not.
            Vector512<byte> weights = Vector512.Load(w);
            Vector512<int> x = Vector512.Create(*a);
            Vector512<short> even = TIsa.PairProducts(weights, (x & Vector512.Create(0x00FF00FF)).AsSByte());
            Vector512<short> odd = TIsa.PairProducts(weights, (x & Vector512.Create(unchecked((int)0xFF00FF00))).AsSByte());
            return sum + TIsa.PairSums(even) + TIsa.PairSums(odd);
        }

        Vector512<short> products = Pair<TIsa>(w, a, 0, panel) + Pair<TIsa>(w, a, 1, panel);
        if (TSum.Pairs > 2)
        {
            products += Pair<TIsa>(w, a, 2, panel) + Pair<TIsa>(w, a, 3, panel);
        }

        return sum + TIsa.PairSums(products);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<short> Pair<TIsa>(byte* w, int* a, int step, int panel)
        where TIsa : struct, IVectorIsa =>
        TIsa.PairProducts(Vector512.Load(w + step * 4 * TileFormat.Rows), Vector512.Create(a[step * panel]).AsSByte());
}
