namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 six-bit numbers in 16 groups of 16: <c>low: u8[128], high: u8[64], scales: i8[16], d: f16</c>; x = d·scale·(q - 32).
/// In each half of 128 elements, runs 0 and 1 of 32 elements are the low nibbles of 64 bytes, runs 2 and 3 the high ones;
/// run r takes bits 2r and 2r+1 of the half's 32 bytes of high.
/// </summary>
internal sealed unsafe class Q6_KFormat : BlockFormat
{
    public override TensorType Type => TensorType.Q6_K;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 210;
    public override ReadOnlySpan<int> ScaleOffsets => [208];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += SuperBlock, source += 210, destination += SuperBlock)
        {
            sbyte* scales = (sbyte*)(source + 192);
            float d = HalfBits.ToSingle(*(ushort*)(source + 208));
            for (int run = 0; run < 8; run++)
            {
                byte* low = source + run / 4 * 64 + run % 2 * 32;
                byte* high = source + 128 + run / 4 * 32;
                int lowShift = run % 4 / 2 * 4;
                int highShift = run % 4 * 2;
                for (int j = 0; j < 32; j++)
                {
                    int value = ((low[j] >> lowShift) & 0xF) | ((high[j] >> highShift) & 3) << 4;
                    destination[run * 32 + j] = d * scales[run * 2 + j / 16] * (value - 32);
                }
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        float* w = stackalloc float[SuperBlock];
        sbyte* q = stackalloc sbyte[SuperBlock];
        sbyte* scales = stackalloc sbyte[16];
        for (long i = 0; i < elements; i += SuperBlock, source += SuperBlock, destination += 210)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, SuperBlock, w);
            new Span<byte>(destination, 210).Clear();
            *(ushort*)(destination + 208) = SuperBlockScaleSearch.Symmetric(source, w, group: 16, half: 32, scaleHalf: 128, scales, q);
            Buffer.MemoryCopy(scales, destination + 192, 16, 16);
            for (int run = 0; run < 8; run++)
            {
                byte* low = destination + run / 4 * 64 + run % 2 * 32;
                byte* high = destination + 128 + run / 4 * 32;
                for (int j = 0; j < 32; j++)
                {
                    int value = q[run * 32 + j] + 32;
                    low[j] |= (byte)((value & 0xF) << (run % 4 / 2 * 4));
                    high[j] |= (byte)(value >> 4 << (run % 4 * 2));
                }
            }
        }
    }
}
