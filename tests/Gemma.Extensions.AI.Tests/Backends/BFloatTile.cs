using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>
/// <c>tdpbf16ps</c> in software, after Intel's manual. For each element of the result two sums begin at zero, one of the first numbers of each pair and one of the
/// second ones, to which products are added in the order of k by fused multiply-adds: a product is not rounded, each sum is, to nearest even. Their sum is rounded, and
/// the sum of that and what stands in the result. Subnormal inputs count as zero and subnormal results become zero, whatever MXCSR says.
/// </summary>
internal static unsafe class BFloatTile
{
    private const float SmallestNormal = 1.17549435e-38f;

    /// <summary>One element: the sum, a row of a and a column of b, as pairs with the first number in the lower half.</summary>
    public static float Add(float sum, ReadOnlySpan<uint> a, ReadOnlySpan<uint> b)
    {
        float first = 0, second = 0;
        for (int k = 0; k < a.Length; k++)
        {
            first = MultiplyAdd(a[k] << 16, b[k] << 16, first);
            second = MultiplyAdd(a[k] & 0xFFFF0000, b[k] & 0xFFFF0000, second);
        }

        return Flush(Flush(sum) + Flush(first + second));
    }

    /// <summary>16 elements side by side: the products of a row's pairs, and of those of 16 columns, as <see cref="Expand(uint*, int, float*)"/> leaves them.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Vector512<float> Add(Vector512<float> sum, float* a, float* b, int pairs)
    {
        Vector512<float> first = default, second = default;
        for (int k = 0; k < 2 * pairs; k += 2)
        {
            first = MultiplyAdd(Vector512.Load(b + 16 * k), Vector512.Create(a[k]), first);
            second = MultiplyAdd(Vector512.Load(b + 16 * k + 16), Vector512.Create(a[k + 1]), second);
        }

        return Flush(Flush(sum) + Flush(first + second));
    }

    /// <summary>Pairs of 16 columns b[pair][16] as floats [pair][2][16], or with one column a row's pairs [pair][2].</summary>
    public static void Expand(uint* pairs, int columns, float* target)
    {
        for (int n = 0; n < columns; n++)
        {
            target[n] = Flush(BitConverter.UInt32BitsToSingle(pairs[n] << 16));
            target[columns + n] = Flush(BitConverter.UInt32BitsToSingle(pairs[n] & 0xFFFF0000));
        }
    }

    private static float MultiplyAdd(uint x, uint y, float sum) => MultiplyAdd(Flush(BitConverter.UInt32BitsToSingle(x)), Flush(BitConverter.UInt32BitsToSingle(y)), sum);

    private static float MultiplyAdd(float a, float b, float sum)
    {
        float result = MathF.FusedMultiplyAdd(a, b, sum);

        // What rounds up to the smallest normal number only because subnormal ones are coarse was too small.
        return MathF.Abs(result) == SmallestNormal && Math.Abs(Math.FusedMultiplyAdd(a, b, sum)) < SmallestNormal - Math.ScaleB(1, -151)
            ? MathF.CopySign(0, result)
            : Flush(result);
    }

    /// <summary>Sums that are zero or well above the smallest normal number are right as they are; with another among them each is worked out alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> MultiplyAdd(Vector512<float> a, Vector512<float> b, Vector512<float> sum)
    {
        Vector512<float> result = Vector512.FusedMultiplyAdd(a, b, sum);
        Vector512<uint> magnitude = result.AsUInt32() & Vector512.Create(0x7FFFFFFFu);
        return Vector512.LessThanAny(magnitude - Vector512<uint>.One, Vector512.Create(0x00800000u)) ? EachAlone(a, b, sum) : result;
    }

    private static Vector512<float> EachAlone(Vector512<float> a, Vector512<float> b, Vector512<float> sum)
    {
        Vector512<float> result = sum;
        for (int i = 0; i < 16; i++)
        {
            result = result.WithElement(i, MultiplyAdd(a[i], b[i], sum[i]));
        }

        return result;
    }

    private static float Flush(float value) => MathF.Abs(value) < SmallestNormal ? MathF.CopySign(0, value) : value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> Flush(Vector512<float> value)
    {
        Vector512<uint> bits = value.AsUInt32(), sign = bits & Vector512.Create(0x80000000);
        return Vector512.ConditionalSelect(Vector512.Equals(bits & Vector512.Create(0x7F800000u), Vector512<uint>.Zero), sign, bits).AsSingle();
    }
}
