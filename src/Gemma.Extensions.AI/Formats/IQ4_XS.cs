namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 indices into the values of IQ4_NL in 8 groups of 32: <c>d: f16, high: u16, low: u8[4], q: u8[128]</c>;
/// x = d·(scale - 32)·Values[q]. Scales have 6 bits: nibbles of low, bit pairs of high. Each group of 32 lies as in IQ4_NL.
/// </summary>
internal sealed unsafe class IQ4_XSFormat : BlockFormat
{
    public override TensorType Type => TensorType.IQ4_XS;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 136;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override void Decode(byte* source, float* destination, long elements)
    {
        ReadOnlySpan<sbyte> values = IQ4_NLFormat.Values;
        for (long i = 0; i < elements; i += SuperBlock, source += 136, destination += SuperBlock)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            int high = *(ushort*)(source + 2);
            for (int group = 0; group < 8; group++)
            {
                int scale = ((source[4 + group / 2] >> (group % 2 * 4)) & 0xF) | ((high >> (group * 2)) & 3) << 4;
                float dl = d * (scale - 32);
                byte* q = source + 8 + group * 16;
                for (int j = 0; j < 16; j++)
                {
                    destination[group * 32 + j] = dl * values[q[j] & 0xF];
                    destination[group * 32 + j + 16] = dl * values[q[j] >> 4];
                }
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        float* w = stackalloc float[SuperBlock];
        sbyte* q = stackalloc sbyte[SuperBlock];
        sbyte* scales = stackalloc sbyte[8];
        for (long i = 0; i < elements; i += SuperBlock, source += SuperBlock, destination += 136)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, SuperBlock, w);
            new Span<byte>(destination, 136).Clear();
            *(ushort*)destination = SuperBlockScaleSearch.Symmetric(source, w, group: 32, half: 0, scaleHalf: 32, scales, q);
            for (int group = 0; group < 8; group++)
            {
                int scale = scales[group] + 32;
                destination[4 + group / 2] |= (byte)((scale & 0xF) << (group % 2 * 4));
                *(ushort*)(destination + 2) |= (ushort)(scale >> 4 << (group * 2));
                IQ4_NLFormat.Store(q + group * 32, destination + 8 + group * 16);
            }
        }
    }
}
