using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Formats;

public sealed unsafe class EncoderTests(ITestOutputHelper output)
{
    /// <summary>Files that llama.cpp's quantiser made of the same weights; where they are not stored, <see cref="GgufGoldens"/> compares hashes first.</summary>
    [Theory]
    [InlineData("Q8_0")]
    [InlineData("Q4_0")]
    [InlineData("Q4_1")]
    [InlineData("Q5_0")]
    [InlineData("Q5_1")]
    public void SimpleFormatsAreByteIdenticalToGgml(string type)
    {
        using ModelFile reference = ModelFile.Open(GgufGoldens.File(type));
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        int compared = 0;
        foreach (TensorView expected in reference.Tensors.Values.Where(t => t.Format.Name == type))
        {
            byte[] actual = Encode(original.Tensors[expected.Name], expected.Format);
            Assert.True(new ReadOnlySpan<byte>(expected.Data, (int)expected.ByteLength).SequenceEqual(actual), expected.Name);
            compared++;
        }

        Assert.Equal(28, compared);
    }

    /// <summary>Mean squared error against the same weights, beside that of llama.cpp's quantiser.</summary>
    [Theory]
    [InlineData("Q2_K")]
    [InlineData("Q3_K_M")]
    [InlineData("Q4_K_M")]
    [InlineData("Q5_K_M")]
    [InlineData("Q6_K")]
    [InlineData("IQ4_NL")]
    [InlineData("IQ4_XS")]
    [InlineData("IQ3_S")]
    public void SearchingFormatsLoseNoMoreThanLlamaCpp(string file)
    {
        using ModelFile reference = ModelFile.Open(GgufGoldens.File(file));
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        foreach (IGrouping<BlockFormat, TensorView> group in reference.Tensors.Values.Where(t => !t.Format.IsFloat).GroupBy(t => t.Format))
        {
            double ours = 0, theirs = 0;
            foreach (TensorView tensor in group)
            {
                TensorView exact = original.Tensors[tensor.Name];
                fixed (byte* encoded = Encode(exact, group.Key))
                {
                    ours += Error(exact, new TensorView(tensor.Name, group.Key, [.. tensor.Shape], encoded, tensor.ByteLength, "memory"));
                }

                theirs += Error(exact, tensor);
            }

            output.WriteLine($"{file}: {group.Key}: {ours / theirs:F4} of llama.cpp's squared error over {group.Count()} tensors");
            Assert.True(ours <= theirs, $"{group.Key}: {ours / theirs:F4}");
        }
    }

    /// <summary>Rows that formats have special cases for: zeros, one outlier, constants, one sign only, denormals, huge values.</summary>
    [Fact]
    public void OddRowsStayFiniteAndNear()
    {
        Random random = new(5);
        Func<int, float>[] rows =
        [
            _ => 0, i => i == 77 ? 3 : 0, _ => 0.5f, _ => -0.5f, i => i, i => -i, _ => 1e-42f, i => i % 2 == 0 ? 60000 : -60000,
            i => i < 128 ? 0 : random.NextSingle(), _ => random.NextSingle() - 0.5f, i => i == 0 ? -1000 : random.NextSingle(),
        ];
        foreach (BlockFormat format in BlockFormat.All.Where(format => format.CanEncode))
        {
            foreach (Func<int, float> row in rows)
            {
                float[] x = [.. Enumerable.Range(0, 256).Select(row)];
                float[] decoded = new float[256];
                byte[] bytes = new byte[format.ByteLength(256)];
                fixed (float* source = x, target = decoded)
                fixed (byte* packed = bytes)
                {
                    format.Encode(source, packed, 256, null);
                    Assert.Equal(-1, format.FindNonFiniteScale(packed, 256 / format.BlockElements));
                    format.Decode(packed, target, 256);
                }

                float largest = x.Max(Math.Abs);
                Assert.All(decoded.Zip(x), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, 0.5f * largest + 1e-7f));
                if (largest == 0)
                {
                    Assert.All(decoded, value => Assert.Equal(0, value));
                }
            }
        }
    }

    [Fact]
    public void ImportanceMovesTheErrorToColumnsThatDoNotMatter()
    {
        Random random = new(6);
        float[] x = [.. Enumerable.Range(0, 256).Select(_ => random.NextSingle() - 0.5f)], importance = [.. Enumerable.Range(0, 256).Select(i => i % 4 == 0 ? 100f : 1f)];
        foreach (BlockFormat format in BlockFormat.All.Where(f => f.Type is TensorType.Q2_K or TensorType.Q3_K or TensorType.Q4_K or TensorType.Q5_K or TensorType.IQ4_NL or TensorType.IQ4_XS or TensorType.IQ3_S or TensorType.IQ3_XXS or TensorType.IQ2_S))
        {
            Assert.True(Weighted(format, x, importance, importance) < 0.95 * Weighted(format, x, importance, null), format.Name);
        }

        static double Weighted(BlockFormat format, float[] x, float[] weights, float[]? importance)
        {
            byte[] bytes = new byte[format.ByteLength(256)];
            float[] decoded = new float[256];
            fixed (float* source = x, w = importance, target = decoded)
            fixed (byte* packed = bytes)
            {
                format.Encode(source, packed, 256, w);
                format.Decode(packed, target, 256);
            }

            return x.Select((value, i) => weights[i] * Math.Pow(value - decoded[i], 2)).Sum();
        }
    }

    private static byte[] Encode(TensorView tensor, BlockFormat format)
    {
        byte[] bytes = new byte[format.ByteLength(tensor.ElementCount)];
        float[] values = new float[tensor.ElementCount];
        fixed (float* x = values)
        fixed (byte* target = bytes)
        {
            tensor.Format.Decode(tensor.Data, x, values.Length);
            format.Encode(x, target, values.Length, null);
        }

        return bytes;
    }

    private static double Error(TensorView exact, TensorView quantised)
    {
        float[] a = new float[exact.Columns], b = new float[exact.Columns];
        double sum = 0;
        for (long row = 0; row < exact.Rows; row++)
        {
            exact.DecodeRow(row, a);
            quantised.DecodeRow(row, b);
            for (int i = 0; i < a.Length; i++)
            {
                sum += (a[i] - b[i]) * (double)(a[i] - b[i]);
            }
        }

        return sum;
    }
}
