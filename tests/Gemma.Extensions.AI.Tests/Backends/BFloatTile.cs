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

    /// <summary>16 elements side by side, the same: adds the pairs of a row of a times b[pair][16].</summary>
    public static Vector512<float> Add(Vector512<float> sum, uint* a, uint* b, int pairs, long stride)
    {
        Vector512<float> first = default, second = default;
        for (int k = 0; k < pairs; k++)
        {
            Vector512<uint> column = Vector512.Load((uint*)((byte*)b + k * stride));
            first = MultiplyAdd(column << 16, Vector512.Create(a[k] << 16), first);
            second = MultiplyAdd(column & Vector512.Create(0xFFFF0000), Vector512.Create(a[k] & 0xFFFF0000), second);
        }

        return Flush(Flush(sum) + Flush(first + second));
    }

    private static float MultiplyAdd(uint x, uint y, float sum)
    {
        float a = Flush(BitConverter.UInt32BitsToSingle(x)), b = Flush(BitConverter.UInt32BitsToSingle(y)), result = MathF.FusedMultiplyAdd(a, b, sum);

        // What rounds up to the smallest normal number only because subnormal ones are coarse was too small.
        return MathF.Abs(result) == SmallestNormal && Math.Abs(Math.FusedMultiplyAdd(a, b, sum)) < SmallestNormal - Math.ScaleB(1, -151)
            ? MathF.CopySign(0, result)
            : Flush(result);
    }

    private static Vector512<float> MultiplyAdd(Vector512<uint> x, Vector512<uint> y, Vector512<float> sum)
    {
        Vector512<float> result = Vector512.FusedMultiplyAdd(Flush(x.AsSingle()), Flush(y.AsSingle()), sum);
        return Vector512.EqualsAny(Vector512.Abs(result), Vector512.Create(SmallestNormal))
            ? Vector512.Create([.. Enumerable.Range(0, 16).Select(i => MultiplyAdd(x[i], y[i], sum[i]))])
            : Flush(result);
    }

    private static float Flush(float value) => MathF.Abs(value) < SmallestNormal ? MathF.CopySign(0, value) : value;

    private static Vector512<float> Flush(Vector512<float> value)
    {
        Vector512<uint> bits = value.AsUInt32(), sign = bits & Vector512.Create(0x80000000);
        return Vector512.ConditionalSelect(Vector512.Equals(bits & Vector512.Create(0x7F800000u), Vector512<uint>.Zero), sign, bits).AsSingle();
    }
}
