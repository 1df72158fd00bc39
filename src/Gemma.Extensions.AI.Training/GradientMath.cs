using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using static Gemma.Extensions.AI.Backends.Cpu.VectorMath;

namespace Gemma.Extensions.AI.Training;

/// <summary>Rows of transcendental functions in one pass: tanh by way of exp, 1 − 2 / (exp(2x) + 1), within 2·10⁻⁷ of the exact value.</summary>
internal static class GradientMath
{
    /// <summary>x = exp(cap·tanh(scale·x / cap) − max), without the cap where it is 0; returns the sum.</summary>
    public static float ExpCapped(Span<float> x, float scale, float cap, float max)
    {
        ref float first = ref MemoryMarshal.GetReference(x);
        Vector512<float> sum = default;
        int i = 0;
        for (; i + 16 <= x.Length; i += 16)
        {
            Vector512<float> p = Exp(Cap(Vector512.LoadUnsafe(ref first, (nuint)i), scale, cap, out _) - Vector512.Create(max));
            p.StoreUnsafe(ref first, (nuint)i);
            sum += p;
        }

        float rest = 0;
        if (i < x.Length)
        {
            Span<float> tail = stackalloc float[16];
            tail.Clear();
            x[i..].CopyTo(tail);
            Vector512<float> p = Exp(Cap(Vector512.Create<float>(tail), scale, cap, out _) - Vector512.Create(max));
            for (int j = 0; i < x.Length; i++, j++)
            {
                x[i] = p[j];
                rest += x[i];
            }
        }

        return Vector512.Sum(sum) + rest;
    }

    /// <summary>
    /// From scores q·k to probabilities, in place, and from gradients of probabilities to gradients of q·k:
    /// p = exp(s − logSumExp), dScore = p·(dProbability − dot)·(1 − tanh²)·scale.
    /// </summary>
    public static void AttentionGradient(Span<float> scores, ReadOnlySpan<float> dProbability, Span<float> dScore, float scale, float cap, float logSumExp, float dot)
    {
        ref float s = ref MemoryMarshal.GetReference(scores);
        ref float dp = ref MemoryMarshal.GetReference(dProbability);
        ref float ds = ref MemoryMarshal.GetReference(dScore);
        int i = 0;
        for (; i + 16 <= scores.Length; i += 16)
        {
            Vector512<float> p = Gradient(Vector512.LoadUnsafe(ref s, (nuint)i), Vector512.LoadUnsafe(ref dp, (nuint)i), scale, cap, logSumExp, dot, out Vector512<float> d);
            p.StoreUnsafe(ref s, (nuint)i);
            d.StoreUnsafe(ref ds, (nuint)i);
        }

        if (i < scores.Length)
        {
            Span<float> tail = stackalloc float[32];
            tail.Clear();
            scores[i..].CopyTo(tail);
            dProbability[i..].CopyTo(tail[16..]);
            Vector512<float> p = Gradient(Vector512.Create<float>(tail), Vector512.Create<float>(tail[16..]), scale, cap, logSumExp, dot, out Vector512<float> d);
            for (int j = 0; i < scores.Length; i++, j++)
            {
                scores[i] = p[j];
                dScore[i] = d[j];
            }
        }
    }

    /// <summary>x = cap·tanh(x / cap).</summary>
    public static void SoftCap(Span<float> x, float cap)
    {
        ref float first = ref MemoryMarshal.GetReference(x);
        int i = 0;
        for (; i + 16 <= x.Length; i += 16)
        {
            Cap(Vector512.LoadUnsafe(ref first, (nuint)i), 1, cap, out _).StoreUnsafe(ref first, (nuint)i);
        }

        for (; i < x.Length; i++)
        {
            x[i] = cap * MathF.Tanh(x[i] / cap);
        }
    }

    /// <summary>p = exp(scale·(z − max)); returns the sum.</summary>
    public static float ExpShifted(ReadOnlySpan<float> z, float scale, float max, Span<float> p)
    {
        ref float source = ref MemoryMarshal.GetReference(z);
        ref float target = ref MemoryMarshal.GetReference(p);
        Vector512<float> low = default, high = default;
        int i = 0;
        for (; i + 32 <= z.Length; i += 32)
        {
            Vector512<float> a = Exp((Vector512.LoadUnsafe(ref source, (nuint)i) - Vector512.Create(max)) * scale);
            Vector512<float> b = Exp((Vector512.LoadUnsafe(ref source, (nuint)i + 16) - Vector512.Create(max)) * scale);
            a.StoreUnsafe(ref target, (nuint)i);
            b.StoreUnsafe(ref target, (nuint)i + 16);
            low += a;
            high += b;
        }

        float rest = 0;
        for (; i < z.Length; i++)
        {
            p[i] = MathF.Exp((z[i] - max) * scale);
            rest += p[i];
        }

        return Vector512.Sum(low + high) + rest;
    }

    /// <summary>g = factor·g·(1 − (z / cap)²): from gradients by capped scores z to those before the cap; without one where cap is 0.</summary>
    public static void CapGradient(Span<float> gradient, ReadOnlySpan<float> z, float factor, float cap)
    {
        ref float g = ref MemoryMarshal.GetReference(gradient);
        ref float capped = ref MemoryMarshal.GetReference(z);
        float inverse = cap == 0 ? 0 : -1f / (cap * cap);
        int i = 0;
        for (; i + 16 <= z.Length; i += 16)
        {
            Vector512<float> x = Vector512.LoadUnsafe(ref capped, (nuint)i);
            (Vector512.LoadUnsafe(ref g, (nuint)i) * (x * x * inverse + Vector512<float>.One) * factor).StoreUnsafe(ref g, (nuint)i);
        }

        for (; i < z.Length; i++)
        {
            gradient[i] *= (1 + inverse * z[i] * z[i]) * factor;
        }
    }

    /// <summary>tanh(√(2/π)·(g + 0.044715·g³)), the inner part of GELU's tanh form.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> GeluTanh(Vector512<float> g) => Tanh(g * (Vector512.Create(Operations.GeluSlope) + g * g * (Operations.GeluSlope * Operations.GeluCubic)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Gradient(
        Vector512<float> score, Vector512<float> dProbability, float scale, float cap, float logSumExp, float dot, out Vector512<float> dScore)
    {
        Vector512<float> p = Exp(Cap(score, scale, cap, out Vector512<float> slope) - Vector512.Create(logSumExp));
        dScore = p * (dProbability - Vector512.Create(dot)) * slope;
        return p;
    }

    /// <summary>Scaled and capped score, and its derivative by the unscaled one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Cap(Vector512<float> x, float scale, float cap, out Vector512<float> slope)
    {
        if (cap == 0)
        {
            slope = Vector512.Create(scale);
            return x * scale;
        }

        Vector512<float> t = Tanh(x * (scale / cap));
        slope = (Vector512<float>.One - t * t) * scale;
        return t * cap;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Tanh(Vector512<float> x) =>
        Vector512<float>.One - Vector512.Create(2f) / (Exp(x + x) + Vector512<float>.One);
}
