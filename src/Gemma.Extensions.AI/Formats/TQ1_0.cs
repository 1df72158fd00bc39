namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 256 numbers -1, 0 or 1 with one scale, five to a byte: <c>q: u8[52], d: f16</c>; x = d·(digit - 1). A byte is a fraction of 256 in base three, rounded up: digit n is the whole
/// part of three times what the multiplication by 3^n leaves behind the point. The first 32 bytes hold elements j, j + 32, …, j + 128; the next 16 in
/// the same way 80 elements, and the last 4, of four digits each, 16.
/// </summary>
internal sealed unsafe class TQ1_0Format : GroupedFormat
{
    public override TensorType Type => TensorType.TQ1_0;
    public override int BlockElements => SuperBlock;
    public override int BlockBytes => 54;
    public override int GroupElements => 32;
    public override ReadOnlySpan<int> ScaleOffsets => [52];

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        new Span<float>(scales, 8).Fill(HalfBits.ToSingle(*(ushort*)(block + 52)));
        Run(block, 32, 5, values);
        Run(block + 32, 16, 5, values + 160);
        Run(block + 48, 4, 4, values + 240);

        static void Run(byte* bytes, int count, int digits, sbyte* values)
        {
            for (int digit = 0, power = 1; digit < digits; digit++, power *= 3)
            {
                for (int j = 0; j < count; j++)
                {
                    values[digit * count + j] = (sbyte)(((byte)(bytes[j] * power) * 3 >> 8) - 1);
                }
            }
        }
    }
}
