namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers -1, 0 or 1 with one scale: <c>q: u8[64], d: f16</c>; x = d·(q - 1). Each half of 128 elements takes 32 bytes; its four runs of 32
/// elements take bits 0-1, 2-3, 4-5, 6-7 of them.
/// </summary>
internal sealed unsafe class TQ2_0Format : GroupedFormat
{
    public override TensorType Type => TensorType.TQ2_0;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 66;
    public override int GroupElements => 32;
    public override ReadOnlySpan<int> ScaleOffsets => [64];

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        new Span<float>(scales, 8).Fill(HalfBits.ToSingle(*(ushort*)(block + 64)));
        for (int i = 0; i < SuperBlock; i++)
        {
            values[i] = (sbyte)((block[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3) - 1);
        }
    }
}
