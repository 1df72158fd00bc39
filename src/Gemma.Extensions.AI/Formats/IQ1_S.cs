namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers -1, 0 or 1 of a codebook of 2,048 entries in 8 groups of 32: <c>d: f16, low: u8[32], high: u16[8]</c>; x = d·(2·scale + 1)·(number ± 1/8).
/// Of a group's word each entry takes 3 bits for the upper part of its index, the scale the next 3, and the last says that the eighth is taken off.
/// </summary>
internal sealed unsafe class IQ1_SFormat : GroupedFormat
{
    public override TensorType Type => TensorType.IQ1_S;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 50;
    public override int GroupElements => 32;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    /// <summary>Writes the eight numbers of an entry in eighths, an eighth added or taken off.</summary>
    internal static void StoreShifted(sbyte* destination, int index, bool minus)
    {
        sbyte* numbers = (sbyte*)(Codebooks.Iq1 + index);
        int shift = minus ? -1 : 1;
        for (int i = 0; i < 8; i++)
        {
            destination[i] = (sbyte)(numbers[i] + shift);
        }
    }

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        float d = HalfBits.ToSingle(*(ushort*)block) / 8;
        byte* low = block + 2;
        ushort* high = (ushort*)(block + 34);
        for (int group = 0; group < 8; group++)
        {
            int word = high[group];
            scales[group] = d * (2 * (word >> 12 & 7) + 1);
            for (int i = 0; i < 4; i++)
            {
                StoreShifted(values + group * 32 + i * 8, low[group * 4 + i] | (word >> (3 * i) & 7) << 8, (word & 0x8000) != 0);
            }
        }
    }
}
