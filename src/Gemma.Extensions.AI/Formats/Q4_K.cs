namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 nibbles in 8 groups of 32: <c>d: f16, dmin: f16, scales: u8[12], q: u8[128]</c>; x = d·scale·q - dmin·minimum.
/// Groups 2k and 2k+1 are the low and the high nibbles of bytes 32k…32k+31.
/// </summary>
internal sealed unsafe class Q4_KFormat : BlockFormat
{
    public override TensorType Type => TensorType.Q4_K;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 144;
    public override ReadOnlySpan<int> ScaleOffsets => [0, 2];

    /// <summary>Six-bit scale and minimum of a group of Q4_K and Q5_K from their twelve bytes.</summary>
    public static (int Scale, int Minimum) ScaleAndMinimum(byte* scales, int group) => group < 4
        ? (scales[group] & 63, scales[group + 4] & 63)
        : ((scales[group + 4] & 0xF) | scales[group - 4] >> 6 << 4, scales[group + 4] >> 4 | scales[group] >> 6 << 4);

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += SuperBlock, source += 144, destination += SuperBlock)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            float dmin = HalfBits.ToSingle(*(ushort*)(source + 2));
            for (int group = 0; group < 8; group++)
            {
                (int s, int m) = ScaleAndMinimum(source + 4, group);
                float scale = d * s;
                float minimum = dmin * m;
                byte* bytes = source + 16 + group / 2 * 32;
                int shift = group % 2 * 4;
                for (int j = 0; j < 32; j++)
                {
                    destination[group * 32 + j] = scale * ((bytes[j] >> shift) & 0xF) - minimum;
                }
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        float* w = stackalloc float[SuperBlock];
        sbyte* q = stackalloc sbyte[SuperBlock];
        byte* scales = stackalloc byte[8];
        byte* minima = stackalloc byte[8];
        for (long i = 0; i < elements; i += SuperBlock, source += SuperBlock, destination += 144)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, SuperBlock, w);
            new Span<byte>(destination, 144).Clear();
            (ushort d, ushort dmin) = SuperBlockScaleSearch.Asymmetric(source, w, group: 32, levels: 15, scaleMax: 63, scales, minima, q);
            *(ushort*)destination = d;
            *(ushort*)(destination + 2) = dmin;
            StoreScalesAndMinima(destination + 4, scales, minima);
            for (int group = 0; group < 8; group++)
            {
                byte* bytes = destination + 16 + group / 2 * 32;
                for (int j = 0; j < 32; j++)
                {
                    bytes[j] |= (byte)(q[group * 32 + j] << (group % 2 * 4));
                }
            }
        }
    }

    /// <summary>The reverse of <see cref="ScaleAndMinimum"/> for all eight groups, into zeroed bytes.</summary>
    public static void StoreScalesAndMinima(byte* bytes, byte* scales, byte* minima)
    {
        for (int g = 0; g < 4; g++)
        {
            bytes[g] = (byte)(scales[g] | scales[g + 4] >> 4 << 6);
            bytes[g + 4] = (byte)(minima[g] | minima[g + 4] >> 4 << 6);
            bytes[g + 8] = (byte)((scales[g + 4] & 0xF) | (minima[g + 4] & 0xF) << 4);
        }
    }
}
