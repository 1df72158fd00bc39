namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 five-bit numbers in 8 groups of 32: <c>d: f16, dmin: f16, scales: u8[12], high: u8[32], q: u8[128]</c>; x = d·scale·q - dmin·minimum.
/// Scales and nibbles as in Q4_K; bit g of high[j] is the fifth bit of element j of group g.
/// </summary>
internal sealed unsafe class Q5_KFormat : BlockFormat
{
    public override TensorType Type => TensorType.Q5_K;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 176;
    public override ReadOnlySpan<int> ScaleOffsets => [0, 2];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += SuperBlock, source += 176, destination += SuperBlock)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            float dmin = HalfBits.ToSingle(*(ushort*)(source + 2));
            byte* high = source + 16;
            for (int group = 0; group < 8; group++)
            {
                (int s, int m) = Q4_KFormat.ScaleAndMinimum(source + 4, group);
                float scale = d * s;
                float minimum = dmin * m;
                byte* bytes = source + 48 + group / 2 * 32;
                int shift = group % 2 * 4;
                for (int j = 0; j < 32; j++)
                {
                    int value = ((bytes[j] >> shift) & 0xF) | ((high[j] >> group) & 1) << 4;
                    destination[group * 32 + j] = scale * value - minimum;
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
        for (long i = 0; i < elements; i += SuperBlock, source += SuperBlock, destination += 176)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, SuperBlock, w);
            new Span<byte>(destination, 176).Clear();
            (ushort d, ushort dmin) = SuperBlockScaleSearch.Asymmetric(source, w, group: 32, levels: 31, scaleMax: 63, scales, minima, q);
            *(ushort*)destination = d;
            *(ushort*)(destination + 2) = dmin;
            Q4_KFormat.StoreScalesAndMinima(destination + 4, scales, minima);
            for (int group = 0; group < 8; group++)
            {
                byte* bytes = destination + 48 + group / 2 * 32;
                for (int j = 0; j < 32; j++)
                {
                    int value = q[group * 32 + j];
                    bytes[j] |= (byte)((value & 0xF) << (group % 2 * 4));
                    destination[16 + j] |= (byte)(value >> 4 << group);
                }
            }
        }
    }
}
