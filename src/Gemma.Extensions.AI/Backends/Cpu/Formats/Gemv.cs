using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>
/// Generation: one activation row, or with <see cref="GemvAssembler"/> those of a few conversations. Weights are unpacked as for tiles but multiplied in the registers, without the way through a tile: what a core takes from
/// its second-level cache rose from 12 to more than 20 GB/s, and so reading memory is all that is left. Sums are taken in the order of <see cref="MatMulKernels"/>.
/// </summary>
internal static unsafe class GemvKernels
{
    /// <summary>The kernels for one instruction set by tensor type; null where tiles are used.</summary>
    public static delegate*<byte*, long, int, GemvArgs*, void>[] Table<TIsa>()
        where TIsa : struct, IDotIsa
    {
        var table = new delegate*<byte*, long, int, GemvArgs*, void>[BlockFormat.All.Max(format => (int)format.Type) + 1];
        table[(int)TensorType.Q4_0] = &GemvKernels<TIsa>.Q4_0;
        table[(int)TensorType.Q8_0] = &GemvKernels<TIsa>.Q8_0;
        table[(int)TensorType.Q4_K] = &GemvKernels<TIsa>.Q4_K;
        table[(int)TensorType.Q5_K] = &GemvKernels<TIsa>.Q5_K;
        table[(int)TensorType.Q6_K] = &GemvKernels<TIsa>.Q6_K;
        table[(int)TensorType.BF16] = &GemvKernels<TIsa>.BF16;
        return table;
    }
}

internal static unsafe class GemvKernels<TIsa>
    where TIsa : struct, IDotIsa
{
    private const uint Nibbles = 0x0F0F0F0F;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BF16(byte* rows, long stride, int columns, GemvArgs* args)
    {
        Vector512<uint> high = Vector512.Create(0xFFFF0000u);
        Vector512<float> sum = Vector512<float>.Zero;
        float* x = (float*)args->Activations;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 8, rows += 16, x += 8)
        {
            Read(rows, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            sum = Vector512.FusedMultiplyAdd((d0 << 16).AsSingle(), Vector512.Create(x[0]), sum);
            sum = Vector512.FusedMultiplyAdd((d0 & high).AsSingle(), Vector512.Create(x[1]), sum);
            sum = Vector512.FusedMultiplyAdd((d1 << 16).AsSingle(), Vector512.Create(x[2]), sum);
            sum = Vector512.FusedMultiplyAdd((d1 & high).AsSingle(), Vector512.Create(x[3]), sum);
            sum = Vector512.FusedMultiplyAdd((d2 << 16).AsSingle(), Vector512.Create(x[4]), sum);
            sum = Vector512.FusedMultiplyAdd((d2 & high).AsSingle(), Vector512.Create(x[5]), sum);
            sum = Vector512.FusedMultiplyAdd((d3 << 16).AsSingle(), Vector512.Create(x[6]), sum);
            sum = Vector512.FusedMultiplyAdd((d3 & high).AsSingle(), Vector512.Create(x[7]), sum);
        }

        sum.Store(args->Output);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_0(byte* rows, long stride, int columns, GemvArgs* args)
    {
        Vector512<uint> mask = Vector512.Create(Nibbles);
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        int* terms = (int*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 32, rows += 18, x += 8, terms++, xScales++)
        {
            Vector512<float> scale = FirstHalf(rows, stride);
            Read(rows + 2, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            Vector512<int> products = Vector512.Create(*terms);
            products = Dot<FourPairs>(products, x, d0 & mask, d1 & mask, d2 & mask, d3 & mask);
            products = Dot<FourPairs>(products, x + 4, (d0 >> 4) & mask, (d1 >> 4) & mask, (d2 >> 4) & mask, (d3 >> 4) & mask);
            sum = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(products), scale * *xScales, sum);
        }

        sum.Store(args->Output);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q8_0(byte* rows, long stride, int columns, GemvArgs* args)
    {
        Vector512<uint> sign = Vector512.Create(0x80808080u);
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        int* terms = (int*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 32, rows += 34, x += 8, terms++, xScales++)
        {
            Vector512<float> scale = FirstHalf(rows, stride);
            Vector512<int> products = Vector512.Create(*terms);
            Read(rows + 2, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            products = Dot<HalfPairs>(products, x, d0 ^ sign, d1 ^ sign, d2 ^ sign, d3 ^ sign);
            Read(rows + 18, stride, ref ahead, stream, out d0, out d1, out d2, out d3);
            products = Dot<HalfPairs>(products, x + 4, d0 ^ sign, d1 ^ sign, d2 ^ sign, d3 ^ sign);
            sum = Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(products), scale * *xScales, sum);
        }

        sum.Store(args->Output);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q4_K(byte* rows, long stride, int columns, GemvArgs* args)
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
            Read(rows, stride, ref ahead, stream, out Vector512<uint> both, out Vector512<uint> s, out Vector512<uint> m, out Vector512<uint> high);
            Vector512<float> d = TileScales.LowHalf(both), dmin = TileScales.HighHalf(both);
            TileScales.SixBits(ref s, ref m, high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima);
            for (int part = 0; part < 4; part++, x += 16, sums += 2, xScales += 2)
            {
                Read(rows + 16 + 32 * part, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                Vector512<int> p = Dot<FourPairs>(Vector512<int>.Zero, x, d0 & mask, d1 & mask, d2 & mask, d3 & mask);
                Vector512<int> q = Dot<FourPairs>(Vector512<int>.Zero, x + 8, (d0 >> 4) & mask, (d1 >> 4) & mask, (d2 >> 4) & mask, (d3 >> 4) & mask);
                Read(rows + 32 + 32 * part, stride, ref ahead, stream, out d0, out d1, out d2, out d3);
                p = Dot<FourPairs>(p, x + 4, d0 & mask, d1 & mask, d2 & mask, d3 & mask);
                q = Dot<FourPairs>(q, x + 12, (d0 >> 4) & mask, (d1 >> 4) & mask, (d2 >> 4) & mask, (d3 >> 4) & mask);
                sum = Add(sum, p, d * Byte(s), xScales[0], dmin * Byte(m), sums[0]);
                sum = Add(sum, q, d * Byte(s >> 8), xScales[1], dmin * Byte(m >> 8), sums[1]);
                s = part == 1 ? laterScales : s >> 16;
                m = part == 1 ? laterMinima : m >> 16;
            }
        }

        sum.Store(args->Output);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q5_K(byte* rows, long stride, int columns, GemvArgs* args)
    {
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        float* sums = (float*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 256, rows += 176)
        {
            Read(rows, stride, ref ahead, stream, out Vector512<uint> both, out Vector512<uint> s, out Vector512<uint> m, out Vector512<uint> high);
            Vector512<float> d = TileScales.LowHalf(both), dmin = TileScales.HighHalf(both);
            TileScales.SixBits(ref s, ref m, high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima);
            Read(rows + 16, stride, ref ahead, stream, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
            Read(rows + 32, stride, ref ahead, stream, out Vector512<uint> g0, out Vector512<uint> g1, out Vector512<uint> g2, out Vector512<uint> g3);
            for (int part = 0; part < 4; part++, x += 16, sums += 2, xScales += 2)
            {
                Read(rows + 48 + 32 * part, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                Vector512<int> p = Dot<FourPairs>(Vector512<int>.Zero, x, Five(d0, h0, 0), Five(d1, h1, 0), Five(d2, h2, 0), Five(d3, h3, 0));
                Vector512<int> q = Dot<FourPairs>(Vector512<int>.Zero, x + 8, Five(d0 >> 4, h0, 1), Five(d1 >> 4, h1, 1), Five(d2 >> 4, h2, 1), Five(d3 >> 4, h3, 1));
                Read(rows + 64 + 32 * part, stride, ref ahead, stream, out d0, out d1, out d2, out d3);
                p = Dot<FourPairs>(p, x + 4, Five(d0, g0, 0), Five(d1, g1, 0), Five(d2, g2, 0), Five(d3, g3, 0));
                q = Dot<FourPairs>(q, x + 12, Five(d0 >> 4, g0, 1), Five(d1 >> 4, g1, 1), Five(d2 >> 4, g2, 1), Five(d3 >> 4, g3, 1));
                sum = Add(sum, p, d * Byte(s), xScales[0], dmin * Byte(m), sums[0]);
                sum = Add(sum, q, d * Byte(s >> 8), xScales[1], dmin * Byte(m >> 8), sums[1]);
                s = part == 1 ? laterScales : s >> 16;
                m = part == 1 ? laterMinima : m >> 16;
                h0 >>= 2;
                h1 >>= 2;
                h2 >>= 2;
                h3 >>= 2;
                g0 >>= 2;
                g1 >>= 2;
                g2 >>= 2;
                g3 >>= 2;
            }
        }

        sum.Store(args->Output);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Five(Vector512<uint> nibbles, Vector512<uint> fifth, int bit) =>
            (nibbles & Vector512.Create(Nibbles)) | (((fifth >> bit) & Vector512.Create(0x01010101u)) << 4);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Q6_K(byte* rows, long stride, int columns, GemvArgs* args)
    {
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        int* terms = (int*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        Vector512<int>* products = stackalloc Vector512<int>[8];
        for (int k = 0; k < columns; k += 256, rows += 210)
        {
            TIsa.Transpose(rows + 194, stride, out _, out _, out _, out Vector512<uint> end);
            Vector512<float> d = TileScales.HighHalf(end);
            Read(rows + 192, stride, ref ahead, stream, out Vector512<uint> s, out Vector512<uint> t, out Vector512<uint> laterS, out Vector512<uint> laterT);
            for (int half = 0; half < 2; half++, x += 32, terms += 8, xScales += 4)
            {
                for (int h = 0; h < 2; h++)
                {
                    byte* low = rows + 64 * half + 16 * h, high = rows + 128 + 32 * half + 16 * h;
                    Read(high, stride, ref ahead, stream, out Vector512<uint> h0, out Vector512<uint> h1, out Vector512<uint> h2, out Vector512<uint> h3);
                    Read(low, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                    int* y = x + 4 * h;
                    products[h] = Dot<TwoPairs>(Vector512.Create(terms[h]), y, Six(d0, h0 << 4), Six(d1, h1 << 4), Six(d2, h2 << 4), Six(d3, h3 << 4));
                    products[4 + h] = Dot<TwoPairs>(Vector512.Create(terms[4 + h]), y + 16, Six(d0 >> 4, h0), Six(d1 >> 4, h1), Six(d2 >> 4, h2), Six(d3 >> 4, h3));
                    Read(low + 32, stride, ref ahead, stream, out d0, out d1, out d2, out d3);
                    products[2 + h] = Dot<TwoPairs>(Vector512.Create(terms[2 + h]), y + 8, Six(d0, h0 << 2), Six(d1, h1 << 2), Six(d2, h2 << 2), Six(d3, h3 << 2));
                    products[6 + h] = Dot<TwoPairs>(
                        Vector512.Create(terms[6 + h]), y + 24, Six(d0 >> 4, h0 >> 2), Six(d1 >> 4, h1 >> 2), Six(d2 >> 4, h2 >> 2), Six(d3 >> 4, h3 >> 2));
                }

                for (int g = 0; g < 4; g++)
                {
                    sum = Add(sum, products[g], d * Signed(s << (24 - 8 * g)), xScales[g >> 1]);
                }

                for (int g = 0; g < 4; g++)
                {
                    sum = Add(sum, products[4 + g], d * Signed(t << (24 - 8 * g)), xScales[2 + (g >> 1)]);
                }

                s = laterS;
                t = laterT;
            }
        }

        sum.Store(args->Output);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Six(Vector512<uint> low, Vector512<uint> high) => (low & Vector512.Create(Nibbles)) | (high & Vector512.Create(0x30303030u));
    }

    /// <summary>16 bytes of each of 16 rows; asks for as many bytes of what comes next.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Read(
        byte* rows, long stride, ref byte* ahead, long stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(ahead);
            Sse.Prefetch0(ahead + stream);
            Sse.Prefetch0(ahead + 2 * stream);
            Sse.Prefetch0(ahead + 3 * stream);
            ahead += 64;
        }

        TIsa.Transpose(rows, stride, out d0, out d1, out d2, out d3);
    }

    /// <summary>float16 at the beginning of each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> FirstHalf(byte* rows, long stride)
    {
        TIsa.Transpose(rows, stride, out Vector512<uint> d0, out _, out _, out _);
        return TileScales.LowHalf(d0);
    }

    /// <summary>Lowest byte of each dword.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Byte(Vector512<uint> x) => Vector512.ConvertToSingle((x & Vector512.Create(255u)).AsInt32());

    /// <summary>Highest byte of each dword, signed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Signed(Vector512<uint> x) => Vector512.ConvertToSingle(x.AsInt32() >> 24);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Add(Vector512<float> sum, Vector512<int> products, Vector512<float> scale, float xScale) =>
        Vector512.FusedMultiplyAdd(Vector512.ConvertToSingle(products), scale * xScale, sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Add(Vector512<float> sum, Vector512<int> products, Vector512<float> scale, float xScale, Vector512<float> minimum, float xSum) =>
        Vector512.FusedMultiplyAdd(minimum, Vector512.Create(-xSum), Add(sum, products, scale, xScale));

    /// <summary>Adds the products of 16 columns: four dwords a row with four dwords of activations.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<int> Dot<TSum>(Vector512<int> sum, int* x, Vector512<uint> d0, Vector512<uint> d1, Vector512<uint> d2, Vector512<uint> d3)
        where TSum : struct, ISumDepth
    {
        if (TIsa.HasDot && typeof(TSum) == typeof(HalfPairs))
        {
            sum = TIsa.WideDot(sum, d0.AsByte(), Vector512.Create(x[0]).AsSByte());
            sum = TIsa.WideDot(sum, d1.AsByte(), Vector512.Create(x[1]).AsSByte());
            sum = TIsa.WideDot(sum, d2.AsByte(), Vector512.Create(x[2]).AsSByte());
            return TIsa.WideDot(sum, d3.AsByte(), Vector512.Create(x[3]).AsSByte());
        }

        if (TIsa.HasDot)
        {
            sum = TIsa.Dot(sum, d0.AsByte(), Vector512.Create(x[0]).AsSByte());
            sum = TIsa.Dot(sum, d1.AsByte(), Vector512.Create(x[1]).AsSByte());
            sum = TIsa.Dot(sum, d2.AsByte(), Vector512.Create(x[2]).AsSByte());
            return TIsa.Dot(sum, d3.AsByte(), Vector512.Create(x[3]).AsSByte());
        }

        if (typeof(TSum) == typeof(HalfPairs))
        {
            return sum + Halves(d0, x[0]) + Halves(d1, x[1]) + Halves(d2, x[2]) + Halves(d3, x[3]);
        }

        Vector512<short> a = Pair(d0, x[0]) + Pair(d1, x[1]), b = Pair(d2, x[2]) + Pair(d3, x[3]);
        return typeof(TSum) == typeof(FourPairs) ? sum + TIsa.PairSums(a + b) : sum + TIsa.PairSums(a) + TIsa.PairSums(b);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<short> Pair(Vector512<uint> weights, int x) => TIsa.PairProducts(weights.AsByte(), Vector512.Create(x).AsSByte());

        // A pair sum of bytes above 63 may exceed 16 bits, one product does not.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<int> Halves(Vector512<uint> weights, int x) =>
            TIsa.PairSums(Pair(weights, x & 0x00FF00FF)) + TIsa.PairSums(Pair(weights, x & unchecked((int)0xFF00FF00)));
    }
}
