namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers of a codebook of 256 entries of four in 8 groups of 32: <c>d: f16, index: u8[64], signs: u32[8]</c>; x = d·(2·scale + 1)/4·±number.
/// Of a group's word each eight numbers take 7 bits for their signs, and the scale the upper 4.
/// </summary>
internal sealed unsafe class IQ3_XXSFormat : GroupedFormat
{
    private static readonly Lazy<CodebookSearch> s_search = new(() => new(TensorType.IQ3_XXS, Codebooks.Levels3Xxs, dimension: 4, group: 32, evenSigns: true, unit: 0.25f));

    public override TensorType Type => TensorType.IQ3_XXS;

    public override int BlockElements => SuperBlock;

    public override int BlockBytes => 98;

    public override int GroupElements => 32;

    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override bool CanEncode => true;

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        float d = HalfBits.ToSingle(*(ushort*)block) / 4;
        for (int group = 0; group < 8; group++)
        {
            byte* index = block + 2 + group * 8;
            uint word = *(uint*)(block + 66 + group * 4);
            scales[group] = d * (2 * (word >> 28) + 1);
            for (int i = 0; i < 4; i++)
            {
                ulong numbers = Codebooks.Iq3Xxs[index[2 * i]] | (ulong)Codebooks.Iq3Xxs[index[2 * i + 1]] << 32;
                Store(values + group * 32 + i * 8, numbers, Codebooks.EvenSigns(word >> (7 * i) & 0x7F));
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance) =>
        s_search.Value.Encode(this, source, destination, elements, importance, &Store);

    private static void Store(byte* block, ushort* entries, byte* signs, byte* scales)
    {
        for (int entry = 0; entry < 64; entry++)
        {
            block[2 + entry] = (byte)entries[entry];
        }

        for (int group = 0; group < 8; group++)
        {
            uint word = (uint)scales[group] << 28;
            for (int octet = 0; octet < 4; octet++)
            {
                word |= (uint)(signs[group * 4 + octet] & 0x7F) << (7 * octet);
            }

            *(uint*)(block + 66 + group * 4) = word;
        }
    }
}
