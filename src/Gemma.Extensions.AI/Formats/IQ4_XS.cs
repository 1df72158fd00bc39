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
    protected override ReadOnlySpan<int> ScaleOffsets => [0];

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
}
