namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers -1, 0 or 1 of IQ1_S's codebook in 16 groups of 16: <c>low: u8[32], high: u8[16], scales: u16[4]</c>; x = d·(2·scale + 1)·(number ± 1/8).
/// An entry takes a nibble of high: 3 bits of its index, and one that says that the eighth is taken off. Each word of scales holds four of 3 bits, and
/// in its upper 4 bits a quarter of the float16 d.
/// </summary>
internal sealed unsafe class IQ1_MFormat : GroupedFormat
{
    public override TensorType Type => TensorType.IQ1_M;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 56;
    public override int GroupElements => 16;
    public override ReadOnlySpan<int> ScaleOffsets => [];

    public override long FindNonFiniteScale(byte* source, long blocks)
    {
        for (long i = 0; i < blocks; i++)
        {
            if ((Scale((ushort*)(source + i * BlockBytes + 48)) & 0x7C00) == 0x7C00)
            {
                return i;
            }
        }

        return -1;
    }

    private static ushort Scale(ushort* words) => (ushort)(words[0] >> 12 | words[1] >> 12 << 4 | words[2] >> 12 << 8 | words[3] >> 12 << 12);

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        ushort* words = (ushort*)(block + 48);
        float d = HalfBits.ToSingle(Scale(words)) / 8;
        for (int group = 0; group < 16; group++)
        {
            scales[group] = d * (2 * (words[group / 4] >> (group % 4 * 3) & 7) + 1);
            for (int i = 2 * group; i < 2 * group + 2; i++)
            {
                int high = block[32 + i / 2] >> (i % 2 * 4);
                IQ1_SFormat.StoreShifted(values + i * 8, block[i] | (high & 7) << 8, (high & 8) != 0);
            }
        }
    }
}
