using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>Elementary functions on 16 floats at once.</summary>
internal static class VectorMath
{
    // Of the exponential function: its bounds, 1.5·2^23, which rounds to whole numbers, log2(e), ln 2 in two parts, and 1/n! of its series.
    public const float LeastExponent = -87, LargestExponent = 88, RoundingShift = 12582912, Log2E = 1.44269504f, Ln2High = 0.693359375f, Ln2Low = -2.12194440e-4f;
    public const float Seventh = 1.98412698e-4f, Sixth = 1.38888889e-3f, Fifth = 8.33333333e-3f, Fourth = 4.16666667e-2f, Third = 1.66666667e-1f;

    // Of GELU: -2·√(2/π)·(x + 0.044715·x³).
    public const float GeluLinear = -2 * 0.7978845608028654f, GeluCubic = -2 * 0.7978845608028654f * 0.044715f;

    /// <summary>
    /// e^x, relative error below 2e-7 for -87 &lt;= x &lt;= 88; beyond, the value at the bound. x = n·ln 2 + r with |r| &lt;= ln 2 / 2 (ln 2 in two parts,
    /// Cody and Waite), e^r by its Taylor series to r^7 (the next term is below 1e-8), 2^n by the exponent bits.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Exp(Vector512<float> x)
    {
        x = Vector512.Min(Vector512.Max(x, Vector512.Create(LeastExponent)), Vector512.Create(LargestExponent));
        Vector512<float> magic = Vector512.Create(RoundingShift);
        Vector512<float> shifted = Vector512.MultiplyAddEstimate(x, Vector512.Create(Log2E), magic);
        Vector512<float> n = shifted - magic;
        Vector512<float> r = Vector512.MultiplyAddEstimate(n, Vector512.Create(-Ln2High), x);
        r = Vector512.MultiplyAddEstimate(n, Vector512.Create(-Ln2Low), r);
        Vector512<float> p = Vector512.Create(Seventh);
        p = Vector512.MultiplyAddEstimate(p, r, Vector512.Create(Sixth));
        p = Vector512.MultiplyAddEstimate(p, r, Vector512.Create(Fifth));
        p = Vector512.MultiplyAddEstimate(p, r, Vector512.Create(Fourth));
        p = Vector512.MultiplyAddEstimate(p, r, Vector512.Create(Third));
        p = Vector512.MultiplyAddEstimate(p, r, Vector512.Create(0.5f));
        p = Vector512.MultiplyAddEstimate(p, r, Vector512<float>.One);
        p = Vector512.MultiplyAddEstimate(p, r, Vector512<float>.One);
        return (p.AsInt32() + (shifted.AsInt32() << 23)).AsSingle();
    }

    /// <summary>cap·tanh(x/cap) = cap - 2·cap/(e^(2x/cap) + 1): absolute error below cap·2e-7.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Softcap(Vector512<float> x, float cap)
    {
        Vector512<float> e = Exp(x * (2 / cap));
        return Vector512.Create(cap) - Vector512.Create(2 * cap) / (e + Vector512<float>.One);
    }

    /// <summary>The tanh form of GELU, written with 1 + tanh(u) = 2/(1 + e^-2u): x/(1 + e^-2u), u = √(2/π)·(x + 0.044715·x³).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Gelu(Vector512<float> x)
    {
        Vector512<float> u = x * Vector512.MultiplyAddEstimate(x * x, Vector512.Create(GeluCubic), Vector512.Create(GeluLinear));
        return x / (Vector512<float>.One + Exp(u));
    }

    /// <summary>x[0]² + … + x[count - 1]².</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static unsafe float SumOfSquares(float* x, int count)
    {
        Vector512<float> a = default, b = default;
        int i = 0;
        for (; i + 32 <= count; i += 32)
        {
            Vector512<float> low = Vector512.Load(x + i), high = Vector512.Load(x + i + 16);
            a = Vector512.MultiplyAddEstimate(low, low, a);
            b = Vector512.MultiplyAddEstimate(high, high, b);
        }

        float sum = Vector512.Sum(a + b);
        for (; i < count; i++)
        {
            sum += x[i] * x[i];
        }

        return sum;
    }

    /// <summary>output[i] = x[i] · factor; may be the same memory.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static unsafe void Multiply(float* x, float factor, float* output, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            (Vector512.Load(x + i) * factor).Store(output + i);
        }

        for (; i < count; i++)
        {
            output[i] = x[i] * factor;
        }
    }

    /// <summary>output[i] = x[i] / divisor; may be the same memory.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static unsafe void Divide(float* x, float divisor, float* output, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            (Vector512.Load(x + i) / divisor).Store(output + i);
        }

        for (; i < count; i++)
        {
            output[i] = x[i] / divisor;
        }
    }
}
