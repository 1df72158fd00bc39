namespace Gemma.Extensions.AI.Formats;

/// <summary>32 signed bytes and a scale: <c>d: f16, q: i8[32]</c>; x = d·q.</summary>
internal sealed unsafe class Q8_0Format : BlockFormat
{
    public override TensorType Type => TensorType.Q8_0;
    public override int BlockElements => 32;
    public override int BlockBytes => 34;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += 32, source += 34)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            sbyte* q = (sbyte*)(source + 2);
            for (int j = 0; j < 32; j++)
            {
                destination[i + j] = d * q[j];
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        for (long i = 0; i < elements; i += 32, destination += 34)
        {
            float* x = source + i;
            float d = Math.Abs(LegacyQuantRounding.Extreme(x)) / 127;
            float inverse = LegacyQuantRounding.Inverse(d);
            *(ushort*)destination = HalfBits.FromSingle(d);
            for (int j = 0; j < 32; j++)
            {
                // Ties away from zero, as C's roundf.
                ((sbyte*)destination)[2 + j] = (sbyte)MathF.Round(x[j] * inverse, MidpointRounding.AwayFromZero);
            }
        }
    }
}
