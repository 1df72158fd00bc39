namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers of a codebook of 1,024 entries in 16 groups of 16: <c>d: f16, low: u8[32], signs: u8[32], high: u8[8], scales: u8[8]</c>;
/// x = d·(2·scale + 1)/8·±number. An index has 8 bits of low and 2 of high; scales are nibbles.
/// </summary>
internal sealed unsafe class IQ2_SFormat : GroupedFormat
{
    private static readonly Lazy<CodebookSearch> s_search = new(() => new(TensorType.IQ2_S, Codebooks.Levels2, dimension: 8, group: 16, evenSigns: false, unit: 0.125f));

    public override TensorType Type => TensorType.IQ2_S;

    public override int BlockElements => SuperBlock;

    public override int BlockBytes => 82;

    public override int GroupElements => 16;

    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override bool CanEncode => true;

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        float d = HalfBits.ToSingle(*(ushort*)block) / 8;
        byte* low = block + 2, signs = block + 34, high = block + 66, scale = block + 74;
        for (int group = 0; group < 16; group++)
        {
            scales[group] = d * (2 * (scale[group / 2] >> (group % 2 * 4) & 0xF) + 1);
            for (int i = 2 * group; i < 2 * group + 2; i++)
            {
                Store(values + i * 8, Codebooks.Iq2S[low[i] | (high[i / 4] >> (i % 4 * 2) & 3) << 8], signs[i]);
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance) =>
        s_search.Value.Encode(this, source, destination, elements, importance, &Store);

    private static void Store(byte* block, ushort* entries, byte* signs, byte* scales)
    {
        for (int entry = 0; entry < 32; entry++)
        {
            block[2 + entry] = (byte)entries[entry];
            block[66 + entry / 4] |= (byte)(entries[entry] >> 8 << (entry % 4 * 2));
        }

        Buffer.MemoryCopy(signs, block + 34, 32, 32);
        for (int group = 0; group < 16; group++)
        {
            block[74 + group / 2] |= (byte)(scales[group] << (group % 2 * 4));
        }
    }
}
