namespace Gemma.Extensions.AI.Formats;

/// <summary>32 indices into 16 unevenly spaced values, and a scale: <c>d: f16, q: u8[16]</c>; x = d·Values[q]. Nibbles as in Q4_0.</summary>
internal sealed unsafe class IQ4_NLFormat : BlockFormat
{
    /// <summary>The values of the format, ascending.</summary>
    public static ReadOnlySpan<sbyte> Values => [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

    public override TensorType Type => TensorType.IQ4_NL;
    public override int BlockElements => 32;
    public override int BlockBytes => 18;
    public override ReadOnlySpan<int> ScaleOffsets => [0];

    public override void Decode(byte* source, float* destination, long elements)
    {
        for (long i = 0; i < elements; i += 32, source += 18)
        {
            float d = HalfBits.ToSingle(*(ushort*)source);
            byte* q = source + 2;
            for (int j = 0; j < 16; j++)
            {
                destination[i + j] = d * Values[q[j] & 0xF];
                destination[i + j + 16] = d * Values[q[j] >> 4];
            }
        }
    }

    public override void Encode(float* source, byte* destination, long elements, float* importance)
    {
        float* w = stackalloc float[32];
        sbyte* q = stackalloc sbyte[32];
        for (long i = 0; i < elements; i += 32, source += 32, destination += 18)
        {
            ScaleSearch.Weights(source, importance is null ? null : importance + i, 32, w);
            ushort d = HalfBits.FromSingle(ScaleSearch.Table(source, w, 32));
            ScaleSearch.QuantiseTable(source, w, 32, HalfBits.ToSingle(d), q);
            *(ushort*)destination = d;
            Store(q, destination + 2);
        }
    }

    /// <summary>Packs 32 indices into 16 bytes.</summary>
    public static void Store(sbyte* indices, byte* destination)
    {
        for (int j = 0; j < 16; j++)
        {
            destination[j] = (byte)((byte)indices[j] | (byte)indices[j + 16] << 4);
        }
    }
}
