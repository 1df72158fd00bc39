namespace Gemma.Extensions.AI.Formats;

/// <summary>32 nibbles, a scale and a minimum: <c>d: f16, m: f16, q: u8[16]</c>; x = d·q + m. Nibbles as in Q4_0.</summary>
internal sealed unsafe class Q4_1Format : BlockFormat
{
    public override TensorType Type => TensorType.Q4_1;
    public override int BlockElements => 32;
    public override int BlockBytes => 20;
    public override ReadOnlySpan<int> ScaleOffsets => [0, 2];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += 32, source += 20)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            float m = HalfBits.ToSingle(*(ushort*)(source + 2));
            byte* q = source + 4;
            for (int j = 0; j < 16; j++)
            {
                destination[i + j] = d * (q[j] & 0xF) + m;
                destination[i + j + 16] = d * (q[j] >> 4) + m;
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        for (long i = 0; i < elements; i += 32, destination += 20)
        {
            float* x = source + i;
            (float min, float max) = LegacyQuantRounding.Range(x);
            float d = (max - min) / 15;
            float inverse = LegacyQuantRounding.Inverse(d);
            *(ushort*)destination = HalfBits.FromSingle(d);
            *(ushort*)(destination + 2) = HalfBits.FromSingle(min);
            for (int j = 0; j < 16; j++)
            {
                int low = Math.Min(15, (int)MathF.FusedMultiplyAdd(x[j] - min, inverse, 0.5f));
                int high = Math.Min(15, (int)MathF.FusedMultiplyAdd(x[j + 16] - min, inverse, 0.5f));
                destination[4 + j] = (byte)(low | high << 4);
            }
        }
    }
}
