namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 two-bit numbers in 16 groups of 16: <c>scales: u8[16], q: u8[64], d: f16, dmin: f16</c>; x = d·(scale &amp; 15)·q - dmin·(scale &gt;&gt; 4).
/// Each half of 128 elements takes 32 bytes of q; its four runs of 32 elements take bits 0-1, 2-3, 4-5, 6-7 of them.
/// </summary>
internal sealed unsafe class Q2_KFormat : BlockFormat
{
    public override TensorType Type => TensorType.Q2_K;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 84;
    public override ReadOnlySpan<int> ScaleOffsets => [80, 82];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += SuperBlock, source += 84, destination += SuperBlock)
        {
            byte* q = source + 16;
            float d = HalfBits.ToSingle(*(ushort*)(source + 80));
            float dmin = HalfBits.ToSingle(*(ushort*)(source + 82));
            for (int group = 0; group < 16; group++)
            {
                float scale = d * (source[group] & 0xF);
                float minimum = dmin * (source[group] >> 4);
                byte* bytes = q + group / 8 * 32 + group % 2 * 16;
                int shift = group % 8 / 2 * 2;
                for (int j = 0; j < 16; j++)
                {
                    destination[group * 16 + j] = scale * ((bytes[j] >> shift) & 3) - minimum;
                }
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        float* w = stackalloc float[SuperBlock];
        sbyte* q = stackalloc sbyte[SuperBlock];
        byte* scales = stackalloc byte[16];
        byte* minima = stackalloc byte[16];
        for (long i = 0; i < elements; i += SuperBlock, source += SuperBlock, destination += 84)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, SuperBlock, w);
            new Span<byte>(destination, 84).Clear();
            (ushort d, ushort dmin) = SuperBlockScaleSearch.Asymmetric(source, w, group: 16, levels: 3, scaleMax: 15, scales, minima, q);
            *(ushort*)(destination + 80) = d;
            *(ushort*)(destination + 82) = dmin;
            for (int group = 0; group < 16; group++)
            {
                destination[group] = (byte)(scales[group] | minima[group] << 4);
                byte* bytes = destination + 16 + group / 8 * 32 + group % 2 * 16;
                for (int j = 0; j < 16; j++)
                {
                    bytes[j] |= (byte)(q[group * 16 + j] << (group % 8 / 2 * 2));
                }
            }
        }
    }
}
