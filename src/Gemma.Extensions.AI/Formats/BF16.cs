namespace Gemma.Extensions.AI.Formats;

/// <summary>The upper 16 bits of a 32-bit IEEE floating-point number.</summary>
internal sealed unsafe class BF16Format : BlockFormat
{
    public override TensorType Type => TensorType.BF16;
    public override int BlockElements => 1;
    public override int BlockBytes => 2;
    public override ReadOnlySpan<int> ScaleOffsets => [];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i++)
        {
            destination[i] = HalfBits.BFloat16ToSingle(((ushort*)source)[i]);
        }
    }

    public override long FindNonFiniteScale(byte* source, long blocks) => ExponentScan.FindAllOnes((ushort*)source, blocks, 0x7F80);

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        for (long i = 0; i < elements; i++)
        {
            ((ushort*)destination)[i] = HalfBits.BFloat16FromSingle(source[i]);
        }
    }
}
