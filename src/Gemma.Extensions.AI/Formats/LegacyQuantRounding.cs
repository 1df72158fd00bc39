namespace Gemma.Extensions.AI.Formats;

/// <summary>Rounding shared by the encoders of the formats of 32 elements. It is that of ggml's reference quantisers, byte for byte,
/// as compilers build them: x·inverse + half is one fused operation, which decides ties.</summary>
internal static unsafe class LegacyQuantRounding
{
    public const int Block = 32;

    /// <summary>The element of largest magnitude, with its sign; the first of several.</summary>
    public static float Extreme(float* x)
    {
        float magnitude = 0, extreme = 0;
        for (int i = 0; i < Block; i++)
        {
            if (Math.Abs(x[i]) > magnitude)
            {
                magnitude = Math.Abs(x[i]);
                extreme = x[i];
            }
        }

        return extreme;
    }

    public static (float Low, float High) Range(float* x)
    {
        float low = float.MaxValue, high = -float.MaxValue;
        for (int i = 0; i < Block; i++)
        {
            low = Math.Min(low, x[i]);
            high = Math.Max(high, x[i]);
        }

        return (low, high);
    }

    public static float Inverse(float d) => d != 0 ? 1 / d : 0;
}
