namespace Gemma.Extensions.AI.Formats;

/// <summary>32 five-bit numbers and a scale: <c>d: f16, high: u32, q: u8[16]</c>; x = d·(q - 16). Bit j of high is the fifth bit of element j.</summary>
internal sealed unsafe class Q5_0Format : BlockFormat
{
    public override TensorType Type => TensorType.Q5_0;
    public override int BlockElements => 32;
    public override int BlockBytes => 22;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += 32, source += 22)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            uint high = *(uint*)(source + 2);
            byte* q = source + 6;
            for (int j = 0; j < 16; j++)
            {
                int low = (q[j] & 0xF) | (int)((high >> j) & 1) << 4;
                int upper = (q[j] >> 4) | (int)((high >> (j + 16)) & 1) << 4;
                destination[i + j] = d * (low - 16);
                destination[i + j + 16] = d * (upper - 16);
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        for (long i = 0; i < elements; i += 32, destination += 22)
        {
            float* x = source + i;
            float d = LegacyQuantRounding.Extreme(x) / -16;
            float inverse = LegacyQuantRounding.Inverse(d);
            *(ushort*)destination = HalfBits.FromSingle(d);
            uint fifth = 0;
            for (int j = 0; j < 16; j++)
            {
                int low = Math.Min(31, (int)MathF.FusedMultiplyAdd(x[j], inverse, 16.5f));
                int high = Math.Min(31, (int)MathF.FusedMultiplyAdd(x[j + 16], inverse, 16.5f));
                destination[6 + j] = (byte)((low & 0xF) | (high & 0xF) << 4);
                fifth |= (uint)(low >> 4) << j | (uint)(high >> 4) << (j + 16);
            }

            *(uint*)(destination + 2) = fifth;
        }
    }
}
