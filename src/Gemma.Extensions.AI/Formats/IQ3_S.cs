namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers of a codebook of 512 entries of four in 8 groups of 32: <c>d: f16, low: u8[64], high: u8[8], signs: u8[32], scales: u8[4]</c>;
/// x = d·(2·scale + 1)·±number. An index has 8 bits of low and one of high; scales are nibbles.
/// </summary>
internal sealed unsafe class IQ3_SFormat : GroupedFormat
{
    private static readonly Lazy<CodebookSearch> s_search = new(() => new(TensorType.IQ3_S, Codebooks.Levels3S, dimension: 4, group: 32, evenSigns: false, unit: 1));

    public override TensorType Type => TensorType.IQ3_S;

    public override int BlockElements => SuperBlock;

    public override int BlockBytes => 110;

    public override int GroupElements => 32;

    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override bool CanEncode => true;

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        float d = HalfBits.ToSingle(*(ushort*)block);
        byte* low = block + 2, high = block + 66, signs = block + 74;
        for (int group = 0; group < 8; group++)
        {
            scales[group] = d * (2 * (block[106 + group / 2] >> (group % 2 * 4) & 0xF) + 1);
            for (int i = 8 * group; i < 8 * group + 8; i += 2)
            {
                ulong numbers = Codebooks.Iq3S[low[i] | (high[group] >> (i & 7) & 1) << 8] | (ulong)Codebooks.Iq3S[low[i + 1] | (high[group] >> (i + 1 & 7) & 1) << 8] << 32;
                Store(values + i * 4, numbers, signs[i / 2]);
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
            block[66 + entry / 8] |= (byte)(entries[entry] >> 8 << (entry & 7));
        }

        Buffer.MemoryCopy(signs, block + 74, 32, 32);
        for (int group = 0; group < 8; group++)
        {
            block[106 + group / 2] |= (byte)(scales[group] << (group % 2 * 4));
        }
    }
}
