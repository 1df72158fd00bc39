namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// Formats whose elements are small whole numbers times the scale of their group, exactly: whoever wants the weights as bytes and scales, as matrix products do,
/// gets them from the same code as the reference decoder.
/// </summary>
internal abstract unsafe class GroupedFormat : BlockFormat
{
    /// <summary>Elements that share a scale: 16 or 32.</summary>
    public abstract int GroupElements { get; }

    public override bool CanEncode => false;

    /// <summary>Unpacks one block; x = scale·value without rounding.</summary>
    /// <param name="block"><see cref="BlockFormat.BlockBytes"/> bytes.</param>
    /// <param name="values">[BlockElements] of -127 to 127.</param>
    /// <param name="scales">[BlockElements / GroupElements].</param>
    public abstract void Unpack(byte* block, sbyte* values, float* scales);

    public override void Encode(float* source, byte* destination, long elements, float* importance) =>
        throw new NotSupportedException($"{Name} is only read, not written. Types that are written: {string.Join(", ", All.Where(format => format.CanEncode))}.");

    public sealed override void Decode(byte* source, float* destination, long elements)
    {
        sbyte* values = stackalloc sbyte[SuperBlock];
        float* scales = stackalloc float[SuperBlock / 16];
        for (long start = 0; start < elements; start += BlockElements, source += BlockBytes, destination += BlockElements)
        {
            Unpack(source, values, scales);
            for (int i = 0; i < BlockElements; i++)
            {
                destination[i] = scales[i / GroupElements] * values[i];
            }
        }
    }

    /// <summary>Writes eight numbers, negated where their bit is set.</summary>
    protected static void Store(sbyte* destination, ulong numbers, uint signs)
    {
        for (int i = 0; i < 8; i++, numbers >>= 8)
        {
            int number = (int)(numbers & 0xFF);
            destination[i] = (sbyte)((signs >> i & 1) != 0 ? -number : number);
        }
    }
}
