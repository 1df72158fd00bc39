namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>
/// <c>vdpbf16ps</c> in software, after Intel's manual: for each lane two fused multiply-adds in float32, the upper halves first, rounded to nearest even;
/// subnormal inputs count as zero and subnormal results become zero, whatever MXCSR says.
/// </summary>
internal static class BFloatDot
{
    private const float SmallestNormal = 1.17549435e-38f;

    /// <summary>A lane: sum + a1·b1 + a0·b0 of two pairs of bfloat16, the first of each in the lower half.</summary>
    public static float Add(float sum, uint a, uint b) => Step(Step(sum, a & 0xFFFF0000, b & 0xFFFF0000), a << 16, b << 16);

    private static float Step(float sum, uint a, uint b) =>
        Flush(MathF.FusedMultiplyAdd(Flush(BitConverter.UInt32BitsToSingle(a)), Flush(BitConverter.UInt32BitsToSingle(b)), Flush(sum)));

    private static float Flush(float value) => MathF.Abs(value) < SmallestNormal ? MathF.CopySign(0, value) : value;
}
