namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// Quantises a block of 256 elements whose groups share one float16 scale (and one float16 minimum) and have small integer scales of their own.
/// Groups are fitted alone, their scales rounded to the integers, each integer scale tried one step up and down against the rounded elements, and the
/// shared numbers fitted once more by least squares to everything that was rounded.
/// </summary>
internal static unsafe class SuperBlockScaleSearch
{
    private const int Size = BlockFormat.SuperBlock;
    private const int MaxGroups = 16;

    /// <summary>Rounds of refining groups and fitting what they share. Two more take another 0.3% off the squared error of Q4_K.</summary>
    private const int Rounds = 2;

    /// <summary>x ≈ d·scale·q - dmin·minimum; scale and minimum in 0…scaleMax, q in 0…levels.</summary>
    public static (ushort D, ushort Dmin) Asymmetric(float* x, float* w, int group, int levels, int scaleMax, byte* scales, byte* minima, sbyte* quants)
    {
        int groups = Size / group;
        float* scale = stackalloc float[MaxGroups];
        float* minimum = stackalloc float[MaxGroups];
        float largestScale = 0, largestMinimum = 0;
        for (int g = 0; g < groups; g++)
        {
            scale[g] = ScaleSearch.Asymmetric(x + g * group, w + g * group, group, levels, out minimum[g]);
            largestScale = Math.Max(largestScale, scale[g]);
            largestMinimum = Math.Max(largestMinimum, minimum[g]);
        }

        ushort d = Storable(largestScale / scaleMax), dmin = Storable(largestMinimum / scaleMax), bestD = 0, bestDmin = 0;
        byte* s = stackalloc byte[MaxGroups];
        byte* m = stackalloc byte[MaxGroups];
        sbyte* q = stackalloc sbyte[Size];
        for (int g = 0; g < groups; g++)
        {
            s[g] = Integer(scale[g], HalfBits.ToSingle(d), scaleMax);
            m[g] = Integer(minimum[g], HalfBits.ToSingle(dmin), scaleMax);
        }

        float best = float.PositiveInfinity;
        for (int round = 0; round < Rounds; round++)
        {
            float error = 0;
            for (int g = 0; g < groups; g++)
            {
                error += RefineGroup(x + g * group, w + g * group, group, levels, scaleMax, HalfBits.ToSingle(d), HalfBits.ToSingle(dmin), ref s[g], ref m[g], q + g * group);
            }

            if (!(error < best))
            {
                break;
            }

            (best, bestD, bestDmin) = (error, d, dmin);
            Buffer.MemoryCopy(s, scales, groups, groups);
            Buffer.MemoryCopy(m, minima, groups, groups);
            Buffer.MemoryCopy(q, quants, Size, Size);
            (d, dmin) = FitShared(x, w, group, s, m, q);
        }

        return (bestD, bestDmin);
    }

    /// <summary>x ≈ d·scale·q; scale in -scaleHalf…scaleHalf-1, q in -half…half-1, or an index into the table of IQ4_NL where half is 0.</summary>
    public static ushort Symmetric(float* x, float* w, int group, int half, int scaleHalf, sbyte* scales, sbyte* quants)
    {
        int groups = Size / group;
        float* scale = stackalloc float[MaxGroups];
        float extreme = 0;
        for (int g = 0; g < groups; g++)
        {
            scale[g] = half == 0 ? ScaleSearch.Table(x + g * group, w + g * group, group) : ScaleSearch.Symmetric(x + g * group, w + g * group, group, half);
            extreme = Math.Abs(scale[g]) > Math.Abs(extreme) ? scale[g] : extreme;
        }

        ushort d = Storable(extreme / -scaleHalf), bestD = 0;
        sbyte* s = stackalloc sbyte[MaxGroups];
        sbyte* q = stackalloc sbyte[Size];
        float unit = HalfBits.ToSingle(d), best = float.PositiveInfinity;
        for (int g = 0; g < groups; g++)
        {
            s[g] = unit != 0 ? (sbyte)Math.Clamp(MathF.Round(scale[g] / unit), -scaleHalf, scaleHalf - 1) : (sbyte)0;
        }

        for (int round = 0; round < Rounds; round++)
        {
            float error = 0;
            for (int g = 0; g < groups; g++)
            {
                error += RefineGroup(x + g * group, w + g * group, group, half, scaleHalf, HalfBits.ToSingle(d), ref s[g], q + g * group);
            }

            if (!(error < best))
            {
                break;
            }

            (best, bestD) = (error, d);
            Buffer.MemoryCopy(s, scales, groups, groups);
            Buffer.MemoryCopy(q, quants, Size, Size);
            d = FitShared(x, w, group, half, s, q);
        }

        return bestD;
    }

    /// <summary>Tries the neighbours of a group's integer scale; stores the best and its elements.</summary>
    private static float RefineGroup(float* x, float* w, int n, int half, int scaleHalf, float d, ref sbyte scale, sbyte* quants)
    {
        int start = scale;
        float best = float.PositiveInfinity;
        for (int trial = Math.Max(start - 1, -scaleHalf); trial <= Math.Min(start + 1, scaleHalf - 1); trial++)
        {
            float error = Quantise(x, w, n, half, d * trial, null);
            if (error < best)
            {
                (best, scale) = (error, (sbyte)trial);
            }
        }

        return Quantise(x, w, n, half, d * scale, quants);
    }

    private static float Quantise(float* x, float* w, int n, int half, float scale, sbyte* quants) => half == 0
        ? ScaleSearch.QuantiseTable(x, w, n, scale, quants)
        : ScaleSearch.Quantise(x, w, n, scale, 0, -half, half - 1, quants);

    private static byte Integer(float value, float unit, int max) => unit > 0 ? (byte)Math.Clamp(MathF.Round(value / unit), 0, max) : (byte)0;

    /// <summary>Tries the neighbours of a group's integer scale and minimum; stores the best and its elements.</summary>
    private static float RefineGroup(float* x, float* w, int n, int levels, int scaleMax, float d, float dmin, ref byte scale, ref byte minimum, sbyte* quants)
    {
        int startScale = scale, startMinimum = minimum;
        float best = float.PositiveInfinity;
        for (int s = Math.Max(0, startScale - 1); s <= Math.Min(scaleMax, startScale + 1); s++)
        {
            for (int m = Math.Max(0, startMinimum - 1); m <= Math.Min(scaleMax, startMinimum + 1); m++)
            {
                float error = ScaleSearch.Quantise(x, w, n, d * s, dmin * m, 0, levels, null);
                if (error < best)
                {
                    (best, scale, minimum) = (error, (byte)s, (byte)m);
                }
            }
        }

        return ScaleSearch.Quantise(x, w, n, d * scale, dmin * minimum, 0, levels, quants);
    }

    /// <summary>Least squares for d and dmin over the block: x ≈ d·(scale·q) - dmin·minimum.</summary>
    private static (ushort D, ushort Dmin) FitShared(float* x, float* w, int group, byte* scales, byte* minima, sbyte* quants)
    {
        double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
        for (int i = 0; i < Size; i++)
        {
            double a = scales[i / group] * quants[i], b = -minima[i / group];
            aa += w[i] * a * a;
            ab += w[i] * a * b;
            bb += w[i] * b * b;
            ax += w[i] * a * x[i];
            bx += w[i] * b * x[i];
        }

        double determinant = aa * bb - ab * ab;
        double d = determinant > 1e-12 * aa * bb ? (ax * bb - bx * ab) / determinant : aa > 0 ? ax / aa : 0;
        double dmin = determinant > 1e-12 * aa * bb ? (bx * aa - ax * ab) / determinant : 0;
        return (Storable(d), Storable(Math.Max(0, dmin)));
    }

    private static ushort FitShared(float* x, float* w, int group, int half, sbyte* scales, sbyte* quants)
    {
        double aa = 0, ax = 0;
        for (int i = 0; i < Size; i++)
        {
            double a = scales[i / group] * (half == 0 ? IQ4_NLFormat.Values[quants[i]] : quants[i]);
            aa += w[i] * a * a;
            ax += w[i] * a * x[i];
        }

        return Storable(aa > 0 ? ax / aa : 0);
    }

    private static ushort Storable(double value) => HalfBits.FromSingle((float)Math.Clamp(value, -65504, 65504));
}
