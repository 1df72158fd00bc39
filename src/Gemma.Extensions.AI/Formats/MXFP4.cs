namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// 32 numbers of four bits (sign, two of exponent, one of mantissa) with a power of two, of OCP's microscaling formats: <c>e: u8, q: u8[16]</c>;
/// x = 2^(e - 128)·Values[q], Values being twice what they stand for. Nibbles as in Q4_0.
/// </summary>
internal sealed unsafe class MXFP4Format : GroupedFormat
{
    public override TensorType Type => TensorType.MXFP4;
    public override int BlockElements => 32;
    public override int BlockBytes => 17;
    public override int GroupElements => 32;
    public override ReadOnlySpan<int> ScaleOffsets => [];

    /// <summary>The numbers of the format, doubled.</summary>
    public static ReadOnlySpan<sbyte> Values => [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];

    /// <summary>An exponent of 255 is the specification's NaN; of 253 and 254 the largest numbers are beyond float32.</summary>
    public override long FindNonFiniteScale(byte* source, long blocks)
    {
        for (long i = 0; i < blocks; i++)
        {
            if (source[i * BlockBytes] > 252)
            {
                return i;
            }
        }

        return -1;
    }

    /// <summary>2^(e - 128); the two smallest are subnormal float32 numbers.</summary>
    private static float Scale(byte e) => BitConverter.UInt32BitsToSingle(e < 2 ? 0x0020_0000u << e : (uint)(e - 1) << 23);

    public override void Unpack(byte* block, sbyte* values, float* scales)
    {
        *scales = Scale(*block);
        for (int j = 0; j < 16; j++)
        {
            values[j] = Values[block[1 + j] & 0xF];
            values[j + 16] = Values[block[1 + j] >> 4];
        }
    }
}
