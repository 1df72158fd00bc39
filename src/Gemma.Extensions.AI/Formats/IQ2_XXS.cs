namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers of a codebook of 256 entries in 8 groups of 32: <c>d: f16</c>, then for each group <c>index: u8[4], signs: u32</c>;
/// x = d·(2·scale + 1)/8·±number. Of the last word each entry takes 7 bits for its signs, and the scale the upper 4.
/// </summary>
internal sealed unsafe class IQ2_XXSFormat : GroupedFormat
{
    public override TensorType Type => TensorType.IQ2_XXS;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 66;
    public override int GroupElements => 32;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        float d = HalfBits.ToSingle(*(ushort*)block) / 8;
        for (int group = 0; group < 8; group++)
        {
            byte* at = block + 2 + group * 8;
            uint word = *(uint*)(at + 4);
            scales[group] = d * (2 * (word >> 28) + 1);
            for (int i = 0; i < 4; i++)
            {
                Store(values + group * 32 + i * 8, Codebooks.Iq2Xxs[at[i]], Codebooks.EvenSigns(word >> (7 * i) & 0x7F));
            }
        }
    }
}
