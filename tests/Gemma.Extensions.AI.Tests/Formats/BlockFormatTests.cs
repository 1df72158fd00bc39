using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Formats;

public sealed unsafe class BlockFormatTests
{
    /// <summary>Root mean square error of a format's weights against the bf16 ones, relative to their root mean square: what llama.cpp's quantiser leaves, with a margin of about a fifth.</summary>
    private static readonly Dictionary<TensorType, double> s_relativeError = new()
    {
        [TensorType.F32] = 1e-6, [TensorType.F16] = 1e-3, [TensorType.BF16] = 0, [TensorType.Q8_0] = 0.008,
        [TensorType.Q6_K] = 0.023, [TensorType.Q5_K] = 0.045, [TensorType.Q5_1] = 0.05, [TensorType.Q5_0] = 0.06,
        [TensorType.Q4_K] = 0.09, [TensorType.Q4_1] = 0.1, [TensorType.Q4_0] = 0.12, [TensorType.IQ4_NL] = 0.1, [TensorType.IQ4_XS] = 0.1,
        [TensorType.Q3_K] = 0.2, [TensorType.Q2_K] = 0.4,
    };

    public static TheoryData<string> Files =>
        new("BF16", "F16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q6_K", "IQ4_NL", "IQ4_XS");

    [Theory, MemberData(nameof(Files))]
    public void DecodedWeightsAreThoseOfTheCheckpointWithinTheFormatsError(string file)
    {
        using ModelFile quantised = ModelFile.Open(GgufGoldens.File(file));
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        Assert.Equal(original.Tensors.Keys.Order(), quantised.Tensors.Keys.Order());
        foreach (TensorView tensor in quantised.Tensors.Values)
        {
            double squares = 0, errors = 0;
            TensorView expected = original.Tensors[tensor.Name];
            float[] a = new float[tensor.Columns], b = new float[tensor.Columns];
            float offset = tensor.Name.EndsWith("norm.weight", StringComparison.Ordinal) ? 1 : 0;
            for (long row = 0; row < tensor.Rows; row++)
            {
                tensor.DecodeRow(row, a);
                expected.DecodeRow(row, b);
                for (int i = 0; i < a.Length; i++)
                {
                    double value = b[i] + offset;
                    squares += value * value;
                    errors += (a[i] - value) * (a[i] - value);
                }
            }

            double relative = Math.Sqrt(errors / squares);
            Assert.True(relative <= s_relativeError[tensor.Format.Type], $"{tensor.Name} ({tensor.Format}): relative error {relative:F5}");
        }
    }

    [Fact]
    public void TableHasEveryTypeOnce()
    {
        Assert.Equal(Enum.GetValues<TensorType>().Order(), BlockFormat.All.Select(f => f.Type).Order());
        foreach (BlockFormat format in BlockFormat.All)
        {
            Assert.Same(format, BlockFormat.Get(format.Type));
            Assert.True(BlockFormat.TryGet(format.Name.ToLowerInvariant(), out BlockFormat? byName));
            Assert.Same(format, byName);
        }

        Assert.False(BlockFormat.TryGet(4, out _));
        Assert.False(BlockFormat.TryGet(uint.MaxValue, out _));
    }

    /// <summary>Random blocks and what gguf-py, the reference of the GGUF project, makes of them.</summary>
    [Fact]
    public void BlocksAreDecodedAsTheReferenceDecodesThem()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local("formats/blocks.safetensors"));
        string[] names = [.. file.Tensors.Keys.Where(name => name.EndsWith(".blocks", StringComparison.Ordinal)).Select(name => name[..^7])];
        Assert.Equal(10, names.Length);
        foreach (string name in names)
        {
            Assert.True(BlockFormat.TryGet(name, out BlockFormat? format), name);
            byte[] blocks = [.. file.ReadInt32s($"{name}.blocks").Select(value => (byte)value)];
            float[] expected = file.ReadSingles($"{name}.values"), actual = new float[expected.Length];
            fixed (byte* source = blocks)
            fixed (float* destination = actual)
            {
                Assert.Equal(-1, format.FindNonFiniteScale(source, blocks.Length / format.BlockBytes));
                format.Decode(source, destination, actual.Length);
            }

            Assert.Equal(expected, actual);
        }
    }

    [Fact]
    public void ScalesThatAreNotWholeFloat16NumbersAreCheckedToo()
    {
        byte[] quarters = new byte[3 * 56], exponents = new byte[3 * 17];
        fixed (byte* p = quarters)
        fixed (byte* e = exponents)
        {
            for (int bits = 0; bits <= ushort.MaxValue; bits++)
            {
                for (int i = 0; i < 4; i++)
                {
                    ((ushort*)(p + 56 + 48))[i] = (ushort)((bits >> (4 * i) & 0xF) << 12 | 0x0FFF);
                }

                Assert.Equal((bits & 0x7C00) == 0x7C00 ? 1 : -1, BlockFormat.Get(TensorType.IQ1_M).FindNonFiniteScale(p, 3));
            }

            for (int exponent = 0; exponent < 256; exponent++)
            {
                e[2 * 17] = (byte)exponent;
                Assert.Equal(exponent > 252 ? 2 : -1, BlockFormat.Get(TensorType.MXFP4).FindNonFiniteScale(e, 3));
            }
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(16)]
    [InlineData(34)]
    public void NonFiniteScalesAreFoundInTheirBlock(int block)
    {
        foreach (BlockFormat format in BlockFormat.All.Where(format => format.Type is not (TensorType.IQ1_M or TensorType.MXFP4)))
        {
            byte[] data = new byte[35 * format.BlockBytes];
            fixed (byte* p = data)
            {
                Assert.Equal(-1, format.FindNonFiniteScale(p, 35));
                byte* at = p + block * format.BlockBytes;
                int found = 0;
                for (int offset = 0; offset + 2 <= format.BlockBytes; offset += 2)
                {
                    foreach (ushort bits in (ushort[])[0x7C00, 0xFC00, 0x7E01, 0x7F80, 0x7FC1])
                    {
                        *(ushort*)(at + offset) = bits;
                        long index = format.FindNonFiniteScale(p, 35);
                        Assert.True(index == -1 || index == block, $"{format}: {index}");
                        found += index == block ? 1 : 0;
                        *(ushort*)(at + offset) = 0;
                    }
                }

                // float16 scales find all five patterns, bfloat16 and float32 elements two.
                int expected = format.Type switch
                {
                    TensorType.F32 or TensorType.BF16 => 2,
                    TensorType.Q4_1 or TensorType.Q5_1 or TensorType.Q2_K or TensorType.Q4_K or TensorType.Q5_K => 10,
                    _ => 5,
                };
                Assert.Equal(expected, found);
            }
        }
    }

    [Fact]
    public void HalfConversionsAreExactForEveryValue()
    {
        for (int i = 0; i <= ushort.MaxValue; i++)
        {
            float expected = (float)BitConverter.UInt16BitsToHalf((ushort)i);
            float actual = HalfBits.ToSingle((ushort)i);
            Assert.True(expected.Equals(actual) && float.IsNegative(expected) == float.IsNegative(actual), $"{i:X4}: {actual}, expected {expected}");
            if (!float.IsNaN(expected))
            {
                Assert.Equal((ushort)i, HalfBits.FromSingle(actual));
                float wide = HalfBits.BFloat16ToSingle((ushort)i);
                Assert.Equal(float.IsNaN(wide), float.IsNaN(HalfBits.BFloat16ToSingle(HalfBits.BFloat16FromSingle(wide))));
            }

            if (!float.IsNaN(HalfBits.BFloat16ToSingle((ushort)i)))
            {
                Assert.Equal((ushort)i, HalfBits.BFloat16FromSingle(HalfBits.BFloat16ToSingle((ushort)i)));
            }
        }

        Assert.Equal(0x3F80, HalfBits.BFloat16FromSingle(1.00390625f)); // halfway, to even
        Assert.Equal(0x3F82, HalfBits.BFloat16FromSingle(1.01171875f)); // halfway, to even
    }
}
