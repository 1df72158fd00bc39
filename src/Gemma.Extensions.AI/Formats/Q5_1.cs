namespace Gemma.Extensions.AI.Formats;

/// <summary>32 five-bit numbers, a scale and a minimum: <c>d: f16, m: f16, high: u32, q: u8[16]</c>; x = d·q + m. Bits as in Q5_0.</summary>
internal sealed unsafe class Q5_1Format : BlockFormat
{
    public override TensorType Type => TensorType.Q5_1;
    public override int BlockElements => 32;
    public override int BlockBytes => 24;
    public override ReadOnlySpan<int> ScaleOffsets => [0, 2];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += 32, source += 24)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            float m = HalfBits.ToSingle(*(ushort*)(source + 2));
            uint high = *(uint*)(source + 4);
            byte* q = source + 8;
            for (int j = 0; j < 16; j++)
            {
                int low = (q[j] & 0xF) | (int)((high >> j) & 1) << 4;
                int upper = (q[j] >> 4) | (int)((high >> (j + 16)) & 1) << 4;
                destination[i + j] = d * low + m;
                destination[i + j + 16] = d * upper + m;
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        for (long i = 0; i < elements; i += 32, destination += 24)
        {
            float* x = source + i;
            (float min, float max) = LegacyQuantRounding.Range(x);
            float d = (max - min) / 31;
            float inverse = LegacyQuantRounding.Inverse(d);
            *(ushort*)destination = HalfBits.FromSingle(d);
            *(ushort*)(destination + 2) = HalfBits.FromSingle(min);
            uint fifth = 0;
            for (int j = 0; j < 16; j++)
            {
                int low = Math.Min(31, (int)MathF.FusedMultiplyAdd(x[j] - min, inverse, 0.5f));
                int high = Math.Min(31, (int)MathF.FusedMultiplyAdd(x[j + 16] - min, inverse, 0.5f));
                destination[8 + j] = (byte)((low & 0xF) | (high & 0xF) << 4);
                fifth |= (uint)(low >> 4) << j | (uint)(high >> 4) << (j + 16);
            }

            *(uint*)(destination + 4) = fifth;
        }
    }
}
