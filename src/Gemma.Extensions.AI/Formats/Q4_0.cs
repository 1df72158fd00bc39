namespace Gemma.Extensions.AI.Formats;

/// <summary>32 nibbles and a scale: <c>d: f16, q: u8[16]</c>; x = d·(q - 8). Low nibbles are elements 0…15, high nibbles 16…31.</summary>
internal sealed unsafe class Q4_0Format : BlockFormat
{
    public override TensorType Type => TensorType.Q4_0;
    public override int BlockElements => 32;
    public override int BlockBytes => 18;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += 32, source += 18)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            byte* q = source + 2;
            for (int j = 0; j < 16; j++)
            {
                destination[i + j] = d * ((q[j] & 0xF) - 8);
                destination[i + j + 16] = d * ((q[j] >> 4) - 8);
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        for (long i = 0; i < elements; i += 32, destination += 18)
        {
            float* x = source + i;
            float d = LegacyQuantRounding.Extreme(x) / -8;
            float inverse = LegacyQuantRounding.Inverse(d);
            *(ushort*)destination = HalfBits.FromSingle(d);
            for (int j = 0; j < 16; j++)
            {
                int low = Math.Min(15, (int)MathF.FusedMultiplyAdd(x[j], inverse, 8.5f));
                int high = Math.Min(15, (int)MathF.FusedMultiplyAdd(x[j + 16], inverse, 8.5f));
                destination[2 + j] = (byte)(low | high << 4);
            }
        }
    }
}
