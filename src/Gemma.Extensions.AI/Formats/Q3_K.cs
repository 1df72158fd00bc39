namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 three-bit numbers in 16 groups of 16: <c>high: u8[32], q: u8[64], scales: u8[12], d: f16</c>; x = d·(scale - 32)·(q - 4).
/// The lower two bits lie as in Q2_K; bit k of high[b] is the third bit of element 32·k + b. Scales have 6 bits, see <see cref="Scale"/>.
/// </summary>
internal sealed unsafe class Q3_KFormat : BlockFormat
{
    public override TensorType Type => TensorType.Q3_K;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 110;
    public override ReadOnlySpan<int> ScaleOffsets => [108];

    /// <summary>Scale of a group, -32…31. Lower four bits: nibbles of bytes 0…7; upper two: bit pairs of bytes 8…11.</summary>
    public static int Scale(byte* scales, int group)
    {
        int low = group < 8 ? scales[group] & 0xF : scales[group - 8] >> 4;
        int high = (scales[8 + group % 4] >> (group / 4 * 2)) & 3;
        return (low | high << 4) - 32;
    }

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += SuperBlock, source += 110, destination += SuperBlock)
        {
            byte* q = source + 32;
            float d = HalfBits.ToSingle(*(ushort*)(source + 108));
            for (int group = 0; group < 16; group++)
            {
                float scale = d * Scale(source + 96, group);
                byte* bytes = q + group / 8 * 32 + group % 2 * 16;
                byte* high = source + group % 2 * 16;
                int shift = group % 8 / 2 * 2;
                for (int j = 0; j < 16; j++)
                {
                    int value = ((bytes[j] >> shift) & 3) | ((high[j] >> (group / 2)) & 1) << 2;
                    destination[group * 16 + j] = scale * (value - 4);
                }
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        float* w = stackalloc float[SuperBlock];
        sbyte* q = stackalloc sbyte[SuperBlock];
        sbyte* scales = stackalloc sbyte[16];
        for (long i = 0; i < elements; i += SuperBlock, source += SuperBlock, destination += 110)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, SuperBlock, w);
            new Span<byte>(destination, 110).Clear();
            *(ushort*)(destination + 108) = SuperBlockScaleSearch.Symmetric(source, w, group: 16, half: 4, scaleHalf: 32, scales, q);
            for (int group = 0; group < 16; group++)
            {
                StoreScale(destination + 96, group, scales[group]);
                byte* bytes = destination + 32 + group / 8 * 32 + group % 2 * 16;
                byte* high = destination + group % 2 * 16;
                for (int j = 0; j < 16; j++)
                {
                    int value = q[group * 16 + j] + 4;
                    bytes[j] |= (byte)((value & 3) << (group % 8 / 2 * 2));
                    high[j] |= (byte)(value >> 2 << (group / 2));
                }
            }
        }
    }

    /// <summary>The reverse of <see cref="Scale"/>, into zeroed bytes.</summary>
    private static void StoreScale(byte* scales, int group, int scale)
    {
        int value = scale + 32;
        scales[group % 8] |= (byte)((value & 0xF) << (group / 8 * 4));
        scales[8 + group % 4] |= (byte)(value >> 4 << (group / 4 * 2));
    }
}
