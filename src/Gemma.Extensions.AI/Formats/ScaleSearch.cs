using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// Fits the scales of quantised groups by least squares: for a row of trial scales the elements are rounded, the scale (and minimum) that fits the
/// rounded numbers best follows in closed form, and the trial with the smallest weighted squared error wins.
/// </summary>
internal static unsafe class ScaleSearch
{
    /// <summary>Elements of the largest group.</summary>
    public const int MaxGroup = 32;

    private static readonly byte[] s_nearest = BuildNearest();

    /// <summary>Fits x ≈ scale·q - minimum, q in 0…levels, minimum ≥ 0.</summary>
    /// <param name="x">Elements.</param>
    /// <param name="w">Weight of each element's squared error.</param>
    /// <param name="n">Elements of the group, a multiple of 8.</param>
    /// <param name="levels">Largest q.</param>
    /// <param name="minimum">What is subtracted.</param>
    /// <returns>The scale, not negative.</returns>
    public static float Asymmetric(float* x, float* w, int n, int levels, out float minimum)
    {
        (float low, float high) = Range(x, n);
        low = Math.Min(low, 0);
        minimum = -low;
        if (high - low <= float.Epsilon)
        {
            return 0;
        }

        (float sumW, float sumX, float sumXX) = Moments(x, w, n);
        float best = float.MaxValue, scale = 0;
        Vector256<float> offset = Vector256.Create(low), top = Vector256.Create((float)levels);
        for (int trial = -14; trial <= 10; trial++)
        {
            float inverse = (levels + 0.1f * trial) / (high - low);
            Vector256<float> factor = Vector256.Create(inverse), q1 = default, q2 = default, qx = default;
            for (int i = 0; i < n; i += 8)
            {
                Vector256<float> value = Vector256.Load(x + i);
                Vector256<float> q = Vector256.Min(Vector256.Floor((value - offset) * factor + Vector256.Create(0.5f)), top);
                Vector256<float> wq = Vector256.Load(w + i) * q;
                q1 += wq;
                q2 += wq * q;
                qx += wq * value;
            }

            (float a, float b, float error) = Line(Vector256.Sum(q1), Vector256.Sum(q2), Vector256.Sum(qx), sumW, sumX, sumXX);
            if (a > 0 && error < best)
            {
                (best, scale, minimum) = (error, a, -b);
            }
        }

        return scale;
    }

    /// <summary>Fits x ≈ scale·q, q in -half…half-1. The scale may be negative, which lets either sign use the longer end of the range.</summary>
    public static float Symmetric(float* x, float* w, int n, int half)
    {
        (float low, float high) = Range(x, n);
        float extreme = -low > high ? low : high;
        if (Math.Abs(extreme) <= float.Epsilon)
        {
            return 0;
        }

        float best = 0, scale = 0;
        Vector256<float> bottom = Vector256.Create((float)-half), top = Vector256.Create(half - 1f);
        for (int trial = -20; trial <= 20; trial++)
        {
            // The even trials put the extreme at -half, the odd ones at +half - 1.
            float end = (trial & 1) == 0 ? -half : half - 1;
            float inverse = (end + Math.Sign(end) * 0.05f * trial) / extreme;
            Vector256<float> factor = Vector256.Create(inverse), q2 = default, qx = default;
            for (int i = 0; i < n; i += 8)
            {
                Vector256<float> value = Vector256.Load(x + i);
                Vector256<float> q = Vector256.Max(Vector256.Min(Vector256.Floor(value * factor + Vector256.Create(0.5f)), top), bottom);
                Vector256<float> wq = Vector256.Load(w + i) * q;
                q2 += wq * q;
                qx += wq * value;
            }

            Choose(Vector256.Sum(q2), Vector256.Sum(qx), ref best, ref scale);
        }

        return scale;
    }

    /// <summary>Fits x ≈ scale·value with value out of the table of IQ4_NL.</summary>
    public static float Table(float* x, float* w, int n)
    {
        (float low, float high) = Range(x, n);
        float extreme = -low > high ? low : high;
        if (Math.Abs(extreme) <= float.Epsilon)
        {
            return 0;
        }

        float best = 0, scale = 0;
        for (int trial = -10; trial <= 10; trial++)
        {
            for (int end = -127; end <= 113; end += 240)
            {
                float inverse = (end + Math.Sign(end) * 1.5f * trial) / extreme, q2 = 0, qx = 0;
                for (int i = 0; i < n; i++)
                {
                    float value = NearestValue(x[i] * inverse);
                    float wq = w[i] * value;
                    q2 += wq * value;
                    qx += wq * x[i];
                }

                Choose(q2, qx, ref best, ref scale);
            }
        }

        return scale;
    }

    /// <summary>Index of the nearest value of IQ4_NL.</summary>
    public static int NearestIndex(float x) => s_nearest[(int)((Math.Clamp(x, -127f, 127f) + 127) * 2)];

    /// <summary>Weighted squared error of x ≈ scale·q - minimum with the best q in bottom…top; q is stored.</summary>
    public static float Quantise(float* x, float* w, int n, float scale, float minimum, int bottom, int top, sbyte* quants)
    {
        float inverse = scale != 0 ? 1 / scale : 0;
        Vector256<float> error = Vector256<float>.Zero;
        Vector256<float> factor = Vector256.Create(inverse), step = Vector256.Create(scale), offset = Vector256.Create(minimum);
        Vector256<float> low = Vector256.Create((float)bottom), high = Vector256.Create((float)top);
        float* rounded = stackalloc float[8];
        for (int i = 0; i < n; i += 8)
        {
            Vector256<float> value = Vector256.Load(x + i);
            Vector256<float> q = Vector256.Max(Vector256.Min(Vector256.Floor((value + offset) * factor + Vector256.Create(0.5f)), high), low);
            Vector256<float> difference = step * q - offset - value;
            error += Vector256.Load(w + i) * difference * difference;
            if (quants is not null)
            {
                q.Store(rounded);
                for (int j = 0; j < 8; j++)
                {
                    quants[i + j] = (sbyte)rounded[j];
                }
            }
        }

        return Vector256.Sum(error);
    }

    /// <summary>Weighted squared error of x ≈ scale·Values[q] with the best indices, which are stored.</summary>
    public static float QuantiseTable(float* x, float* w, int n, float scale, sbyte* indices)
    {
        float inverse = scale != 0 ? 1 / scale : 0, error = 0;
        for (int i = 0; i < n; i++)
        {
            int index = NearestIndex(x[i] * inverse);
            float difference = scale * IQ4_NLFormat.Values[index] - x[i];
            error += w[i] * difference * difference;
            if (indices is not null)
            {
                indices[i] = (sbyte)index;
            }
        }

        return error;
    }

    /// <summary>
    /// Weights of the squared errors of a row: what the importance matrix says, times a term that protects large weights a little; without a matrix
    /// that term alone. Equal weights leave 1% less squared error; weights that grow like |x| leave up to 2% more (Q4_K: 0.959, 0.964, 0.974 of
    /// llama.cpp's error).
    /// </summary>
    public static void Weights(float* x, float* importance, int n, float* w)
    {
        float squares = 0;
        for (int i = 0; i < n; i++)
        {
            squares += x[i] * x[i];
        }

        float mean = squares / n;
        for (int i = 0; i < n; i++)
        {
            float own = MathF.Sqrt(3 * mean + x[i] * x[i]);
            w[i] = importance is null ? own : importance[i] * own;
        }
    }

    /// <summary>Line through weighted points: x ≈ a·q + b with b ≤ 0, and its squared error.</summary>
    private static (float A, float B, float Error) Line(float q1, float q2, float qx, float w, float x, float xx)
    {
        double determinant = (double)w * q2 - (double)q1 * q1;
        double a = determinant > 0 ? ((double)w * qx - (double)x * q1) / determinant : 0;
        double b = determinant > 0 ? ((double)q2 * x - (double)q1 * qx) / determinant : 0;
        if (b > 0 || determinant <= 0)
        {
            b = 0;
            a = q2 > 0 ? qx / (double)q2 : 0;
        }

        double error = xx - 2 * a * qx - 2 * b * x + a * a * q2 + 2 * a * b * q1 + b * b * w;
        return ((float)a, (float)b, (float)error);
    }

    /// <summary>The best scale for given numbers is Σwqx/Σwq², and it removes (Σwqx)²/Σwq² of the error.</summary>
    private static void Choose(float q2, float qx, ref float best, ref float scale)
    {
        if (q2 > 0 && qx * qx > best * q2)
        {
            best = qx * qx / q2;
            scale = qx / q2;
        }
    }

    private static (float Low, float High) Range(float* x, int n)
    {
        float low = x[0], high = x[0];
        for (int i = 1; i < n; i++)
        {
            low = Math.Min(low, x[i]);
            high = Math.Max(high, x[i]);
        }

        return (low, high);
    }

    private static (float W, float X, float XX) Moments(float* x, float* w, int n)
    {
        Vector256<float> sumW = default, sumX = default, sumXX = default;
        for (int i = 0; i < n; i += 8)
        {
            Vector256<float> value = Vector256.Load(x + i), weight = Vector256.Load(w + i);
            sumW += weight;
            sumX += weight * value;
            sumXX += weight * value * value;
        }

        return (Vector256.Sum(sumW), Vector256.Sum(sumX), Vector256.Sum(sumXX));
    }

    private static float NearestValue(float x) => IQ4_NLFormat.Values[NearestIndex(x)];

    /// <summary>Nearest index by half steps from -127; every boundary between two values is a multiple of a half.</summary>
    private static byte[] BuildNearest()
    {
        byte[] table = new byte[509];
        for (int i = 0; i < table.Length; i++)
        {
            float x = -127 + i / 2f + 0.25f;
            int best = 0;
            for (int j = 1; j < 16; j++)
            {
                if (Math.Abs(IQ4_NLFormat.Values[j] - x) < Math.Abs(IQ4_NLFormat.Values[best] - x))
                {
                    best = j;
                }
            }

            table[i] = (byte)best;
        }

        return table;
    }
}
