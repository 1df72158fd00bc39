using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Rows that are stored 16 by 16 among each other are the same rows: every reader gets the same bytes, numbers and products.</summary>
public sealed unsafe class InterleavedRowsTests
{
    public static TheoryData<string> Types => new(BlockFormat.All.Select(format => format.Type).Where(InterleavedRows.Has).Select(type => type.ToString()));

    /// <summary>A format that no longer had kernels for it would only be slower.</summary>
    [Fact]
    public void FormatsThatModelsMostlyComeInCanBeInterleaved() => Assert.Equal(["BF16", "Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0"], Types.Select(row => row.Data).Order(StringComparer.Ordinal));

    [Theory, MemberData(nameof(Types))]
    public void EveryReaderOfTheFileGetsTheRowsAsTheyWere(string type)
    {
        using RandomTensors random = new(21);
        TensorView tensor = random.Create(Enum.Parse<TensorType>(type), 48, 512);
        byte[] bytes = new ReadOnlySpan<byte>(tensor.Data, (int)tensor.ByteLength).ToArray();
        float[][] rows = [.. Enumerable.Range(0, 48).Select(row => Decoded(tensor, row))];
        Interleave(tensor);
        Assert.False(new ReadOnlySpan<byte>(tensor.Data, bytes.Length).SequenceEqual(bytes));
        for (int row = 0; row < 48; row++)
        {
            Assert.Equal(rows[row], Decoded(tensor, row));
        }

        foreach ((int start, int length) in ((int, int)[])[(0, bytes.Length), (1, 3), (bytes.Length - 1, 1), ((int)tensor.RowBytes - 5, 2 * (int)tensor.RowBytes + 7), (77, 0)])
        {
            byte[] copy = new byte[length];
            tensor.CopyBytes(start, copy);
            Assert.Equal(bytes[start..(start + length)], copy);
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => tensor.CopyBytes(bytes.Length, new byte[1]));
    }

    /// <summary>By few rows and by tiles, stacked on a tensor that is not interleaved, in all tiers that take them.</summary>
    [Theory]
    [InlineData("avx512-vnni")]
    [InlineData("avx512-bf16")]
    [InlineData("amx-emulated")]
    public void ProductsAndEmbeddingsAreTheSame(string tier)
    {
        Assert.SkipUnless(JitMatMulKernels.Unsupported() is null, JitMatMulKernels.Unsupported() ?? "");
        using CpuBackend backend = Tiers.CreateCpu(tier == "amx-emulated" ? Tiers.AmxEmulated : tier);
        using RandomTensors random = new(22);
        foreach (string type in Types.Select(row => row.Data))
        {
            const int Columns = 768, Outputs = 96 + 33;
            TensorView tensor = random.Create(Enum.Parse<TensorType>(type), 96, Columns), other = random.Create(TensorType.Q6_K, 33, Columns);
            float[] input = new float[40 * Columns];
            random.Fill(input);
            Assert.True(backend.CanInterleave(tensor), $"{tier}, {type}");
            Assert.False(backend.CanInterleave(other), "33 rows");
            List<float[]> expected = [.. Results(backend, tensor, other, input, Columns, Outputs)];
            Interleave(tensor);
            List<float[]> actual = [.. Results(backend, tensor, other, input, Columns, Outputs)];
            Assert.Equal(expected.Count, actual.Count);
            for (int i = 0; i < expected.Count; i++)
            {
                Assert.True(expected[i].AsSpan().SequenceEqual(actual[i]), $"{tier}, {type}, result {i}");
                Assert.DoesNotContain(expected[i], float.IsNaN);
            }
        }
    }

    /// <summary>The machine code of few rows, on any processor, with every byte that it reads watched; for Windows, too.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void InterpretedProductsAreTheSame(bool windows)
    {
        using WorkerPool workers = new(1);
        using VectorKernels kernels = new(workers, new InterpretedKernels(bfloat16: true, windows));
        using RandomTensors random = new(23);
        foreach (string type in Types.Select(row => row.Data))
        {
            const int Columns = 512, Outputs = 32;
            TensorView tensor = random.Create(Enum.Parse<TensorType>(type), Outputs, Columns);
            foreach (int rows in (int[])[1, 5, 8, 13])
            {
                using CpuMatrix x = new(rows, Columns), expected = new(rows, Outputs), actual = new(rows, Outputs);
                random.Fill(x.Read(0, rows));
                kernels.MatMul(x, Loaded(), expected, rows);
                byte[] before = new ReadOnlySpan<byte>(tensor.Data, (int)tensor.ByteLength).ToArray();
                Interleave(tensor);
                kernels.MatMul(x, Loaded(), actual, rows);
                before.CopyTo(new Span<byte>(tensor.Data, before.Length));
                tensor.IsInterleaved = false;
                Assert.True(expected.Read(0, rows).SequenceEqual(actual.Read(0, rows)), $"{type}, {rows} rows");
            }

            CpuWeights Loaded() => kernels.LoadWeights([new WeightPart(tensor.Format, tensor.Data, 0, Outputs, Columns, tensor.IsInterleaved)], Outputs, Columns);
        }
    }

    /// <summary>Tiers in C# read rows as files have them.</summary>
    [Theory]
    [InlineData("reference")]
    [InlineData("portable")]
    [InlineData("avx2")]
    [InlineData("avx512")]
    public void OtherTiersTakeNone(string tier)
    {
        using CpuBackend backend = Tiers.CreateCpu(tier);
        using RandomTensors random = new(24);
        Assert.All(Types, type => Assert.False(backend.CanInterleave(random.Create(Enum.Parse<TensorType>(type.Data), 32, 256))));
    }

    private static IEnumerable<float[]> Results(CpuBackend backend, TensorView tensor, TensorView other, float[] input, int columns, int outputs)
    {
        CpuWeights weights = (CpuWeights)backend.LoadWeights(tensor, other), table = (CpuWeights)backend.LoadWeights(tensor);
        List<float[]> results = [];
        foreach (int rows in (int[])[1, 2, 8, 11, 16, 33, 40])
        {
            using CpuMatrix x = new(40, columns), output = new(40, outputs);
            x.Write(0, input);
            backend.MatMul(x, weights, output, rows, rows > 16 ? rows - 3 : 0);
            results.Add(output.Read(0, rows).ToArray());
        }

        using CpuMatrix embedded = new(3, columns);
        backend.Embed(table, [0, 17, 95], 2, embedded);
        results.Add(embedded.Read(0, 3).ToArray());
        return results;
    }

    private static void Interleave(TensorView tensor)
    {
        fixed (byte* copy = new byte[InterleavedRows.Count * tensor.RowBytes])
        {
            for (int row = 0; row < tensor.Rows; row += InterleavedRows.Count)
            {
                InterleavedRows.Write(tensor.Format, tensor.Data + row * tensor.RowBytes, tensor.RowBytes, copy);
            }
        }

        tensor.IsInterleaved = true;
    }

    private static float[] Decoded(TensorView tensor, int row)
    {
        float[] values = new float[tensor.Columns];
        tensor.DecodeRow(row, values);
        return values;
    }
}
