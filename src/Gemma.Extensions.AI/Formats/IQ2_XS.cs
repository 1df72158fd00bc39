namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers of a codebook of 512 entries in 16 groups of 16: <c>d: f16, entries: u16[32], scales: u8[8]</c>; x = d·(2·scale + 1)/8·±number.
/// An entry has 9 bits of index and 7 of signs; scales are nibbles.
/// </summary>
internal sealed unsafe class IQ2_XSFormat : GroupedFormat
{
    public override TensorType Type => TensorType.IQ2_XS;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 74;
    public override int GroupElements => 16;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        float d = HalfBits.ToSingle(*(ushort*)block) / 8;
        ushort* entries = (ushort*)(block + 2);
        for (int group = 0; group < 16; group++)
        {
            scales[group] = d * (2 * (block[66 + group / 2] >> (group % 2 * 4) & 0xF) + 1);
            for (int i = 2 * group; i < 2 * group + 2; i++)
            {
                Store(values + i * 8, Codebooks.Iq2Xs[entries[i] & 511], Codebooks.EvenSigns((uint)entries[i] >> 9));
            }
        }
    }
}
