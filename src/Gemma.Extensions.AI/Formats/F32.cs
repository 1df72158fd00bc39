namespace Gemma.Extensions.AI.Formats;

/// <summary>32-bit IEEE floating point.</summary>
internal sealed unsafe class F32Format : BlockFormat
{
    public override TensorType Type => TensorType.F32;
    public override int BlockElements => 1;
    public override int BlockBytes => 4;
    public override ReadOnlySpan<int> ScaleOffsets => [];

    public override void Decode(byte* source, float* destination, long elements) =>
        Buffer.MemoryCopy(source, destination, elements * sizeof(float), elements * sizeof(float));

    public override long FindNonFiniteScale(byte* source, long blocks)
    {
        for (long i = 0; i < blocks; i++)
        {
            if ((((uint*)source)[i] & 0x7F800000) == 0x7F800000)
            {
                return i;
            }
        }

        return -1;
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance) =>
        Buffer.MemoryCopy(source, destination, elements * sizeof(float), elements * sizeof(float));
}
