namespace Gemma.Extensions.AI.Formats;

/// <summary>16-bit IEEE floating point.</summary>
internal sealed unsafe class F16Format : BlockFormat
{
    public override TensorType Type => TensorType.F16;
    public override int BlockElements => 1;
    public override int BlockBytes => 2;
    public override ReadOnlySpan<int> ScaleOffsets => [];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i++)
        {
            destination[i] = HalfBits.ToSingle(((ushort*)source)[i]);
        }
    }

    public override long FindNonFiniteScale(byte* source, long blocks) => ExponentScan.FindAllOnes((ushort*)source, blocks, 0x7C00);

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        for (long i = 0; i < elements; i++)
        {
            ((ushort*)destination)[i] = HalfBits.FromSingle(source[i]);
        }
    }
}
