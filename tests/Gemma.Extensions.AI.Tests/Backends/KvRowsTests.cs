using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu.Attention;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Keys and values in float16 are rounded as the processor would round them.</summary>
public sealed unsafe class KvRowsTests
{
    [Fact]
    public void Float16RoundsToNearestEvenEverywhere()
    {
        // Around every float16 and around every midpoint between two of them, both signs, overflow and subnormals included.
        List<float> values = new();
        for (int i = 0; i <= 0x7C00; i++)
        {
            float here = (float)BitConverter.UInt16BitsToHalf((ushort)i);
            float next = i == 0x7C00 ? 65536 : i == 0x7BFF ? 65536 : (float)BitConverter.UInt16BitsToHalf((ushort)(i + 1));
            float middle = float.IsInfinity(here) ? 1e20f : here + (next - here) / 2;
            foreach (float value in (ReadOnlySpan<float>)[here, MathF.BitIncrement(here), MathF.BitDecrement(here), middle, MathF.BitIncrement(middle), MathF.BitDecrement(middle)])
            {
                values.Add(value);
                values.Add(-value);
            }
        }

        float[] source = [.. values];
        ushort[] actual = new ushort[source.Length];
        fixed (float* from = source)
        fixed (ushort* to = actual)
        {
            KvRows.SingleToHalf(from, to, source.Length);
        }

        for (int i = 0; i < source.Length; i++)
        {
            Assert.True(BitConverter.HalfToUInt16Bits((Half)source[i]) == actual[i], $"{source[i]:R}: {actual[i]:X4} instead of {BitConverter.HalfToUInt16Bits((Half)source[i]):X4}");
        }
    }

    [Fact]
    public void NotANumberStaysOne()
    {
        float* source = stackalloc float[17];
        ushort* target = stackalloc ushort[17];
        new Span<float>(source, 17).Fill(float.NaN);
        KvRows.SingleToHalf(source, target, 17);
        for (int i = 0; i < 17; i++)
        {
            Assert.True(Half.IsNaN(BitConverter.UInt16BitsToHalf(target[i])));
        }
    }

    /// <summary>Ties to even; a NaN whose payload would be rounded away stays one (0x7FFFFFFF used to become -0); what is too large becomes infinite.</summary>
    [Theory]
    [InlineData(0x3F800000u, 0x3F80)]
    [InlineData(0x3F808000u, 0x3F80)]
    [InlineData(0x3F808001u, 0x3F81)]
    [InlineData(0x3F818000u, 0x3F82)]
    [InlineData(0xBF818000u, 0xBF82)]
    [InlineData(0x7F7FFFFFu, 0x7F80)]
    [InlineData(0xFF800000u, 0xFF80)]
    [InlineData(0x00000001u, 0x0000)]
    [InlineData(0x7FFFFFFFu, 0x7FFF)]
    [InlineData(0xFFFFFFFFu, 0xFFFF)]
    [InlineData(0x7F800001u, 0x7FC0)]
    [InlineData(0xFF80FFFFu, 0xFFC0)]
    public void BFloat16RoundsToNearestEvenAndKeepsNaN(uint bits, int expected)
    {
        float value = BitConverter.UInt32BitsToSingle(bits);
        ushort stored;
        KvRows.Store(&value, (byte*)&stored, 1, GemmaKvCacheType.BF16);
        Assert.Equal(expected, stored);
        float loaded;
        KvRows.Load((byte*)&stored, &loaded, 1, GemmaKvCacheType.BF16);
        Assert.Equal(float.IsNaN(value), float.IsNaN(loaded));
    }
}
