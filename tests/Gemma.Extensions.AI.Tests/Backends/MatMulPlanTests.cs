using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>What is decided when weights are loaded.</summary>
public sealed unsafe class MatMulPlanTests
{
    private const int Columns = 512;

    /// <summary>A format that nobody has written tiles for yet: the numbers are those of the reference tier, in a stack with one that has tiles, too.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(40)]
    public void AFormatWithoutTilesGoesRowByRow(int rows)
    {
        using CpuBackend reference = Tiers.CreateCpu("reference", threads: 1);
        using WorkerPool workers = new(2);
        using VectorKernels kernels = new(workers, new WithoutTiles(TensorType.Q5_K));
        using RandomTensors random = new(21);
        TensorView[] tensors = [random.Create(TensorType.Q5_K, 70, Columns), random.Create(TensorType.Q4_0, 64, Columns)];
        CpuWeights weights = (CpuWeights)reference.LoadWeights(tensors);
        CpuWeights own = kernels.LoadWeights(weights.Parts, weights.Rows, Columns);
        Assert.Equal([MatMulPath.RowFallback, MatMulPath.Gemv], own.Plan!.Parts.Select(part => part.Path));
        using CpuMatrix x = new(rows, Columns), expected = new(rows, weights.Rows), actual = new(rows, weights.Rows);
        for (int r = 0; r < rows; r++)
        {
            random.Fill(x, r);
        }

        reference.MatMul(x, weights, expected, rows);
        kernels.MatMul(x, own, actual, rows);
        for (int r = 0; r < rows; r++)
        {
            Assert.True(expected.Row(r)[..70].SequenceEqual(actual.Row(r)[..70]));
            for (int n = 70; n < weights.Rows; n++)
            {
                Assert.Equal(expected.Row(r)[n], actual.Row(r)[n], 1e-3f);
            }
        }
    }

    [Fact]
    public void PartsShareLayoutsAndTermsWhereTheyCan()
    {
        using RandomTensors random = new(22);
        using CpuBackend backend = Tiers.CreateCpu("avx2", threads: 1);
        CpuWeights weights = (CpuWeights)backend.LoadWeights(
            random.Create(TensorType.Q4_K, 32, Columns), random.Create(TensorType.Q5_K, 32, Columns), random.Create(TensorType.Q6_K, 32, Columns),
            random.Create(TensorType.BF16, 32, Columns), random.Create(TensorType.Q4_K, 8, Columns));
        MatMulPlan plan = weights.Plan!;
        Assert.Equal([ActivationLayout.Int8x4, ActivationLayout.Float32], plan.Layouts);
        Assert.Equal([new ZeroPointTerms(32, 0, true), new ZeroPointTerms(16, 32, false)], plan.ZeroPointTerms);
        Assert.Equal([0, 0, 1, -1, -1], plan.Parts.Select(part => part.TermsIndex));
        Assert.Equal(MatMulPath.RowFallback, plan.Parts[4].Path);
    }

    [Fact]
    public void WeightsOfAnotherBackendAreRefused()
    {
        using CpuBackend first = Tiers.CreateCpu("portable", threads: 1), second = Tiers.CreateCpu("portable", threads: 1), reference = Tiers.CreateCpu("reference", threads: 1);
        using RandomTensors random = new(23);
        using CpuMatrix x = new(1, Columns), y = new(1, 32);
        TensorView tensor = random.Create(TensorType.Q4_0, 32, Columns);
        foreach (CpuBackend other in (CpuBackend[])[second, reference])
        {
            ArgumentException exception = Assert.Throws<ArgumentException>(() => first.MatMul(x, other.LoadWeights(tensor), y, 1));
            Assert.Contains("loaded by another backend", exception.Message, StringComparison.Ordinal);
        }
    }

    /// <summary>What a worker takes at once of a single row's product spans several tensors, with and without kernels for a row.</summary>
    [Theory]
    [InlineData("portable", 1)]
    [InlineData("portable", 3)]
    [InlineData("avx2", 1)]
    [InlineData("avx2", 3)]
    public void ManyTensorsMayBeStacked(string tier, int rows)
    {
        using CpuBackend backend = Tiers.CreateCpu(tier, threads: 2);
        using RandomTensors random = new(24);
        TensorView[] tensors = [.. Enumerable.Range(0, 64).Select(i => random.Create(i % 2 == 0 ? TensorType.Q4_0 : TensorType.Q4_1, i % 7 == 6 ? 8 : 32 + i % 3, 64))];
        CpuWeights weights = (CpuWeights)backend.LoadWeights(tensors);
        using CpuMatrix x = new(rows, 64), stacked = new(rows, weights.Rows);
        for (int r = 0; r < rows; r++)
        {
            random.Fill(x, r);
        }

        backend.MatMul(x, weights, stacked, rows);
        int first = 0;
        foreach (TensorView tensor in tensors)
        {
            using CpuMatrix alone = new(rows, (int)tensor.Rows);
            backend.MatMul(x, backend.LoadWeights(tensor), alone, rows);
            Assert.True(alone.Row(rows - 1).SequenceEqual(stacked.Row(rows - 1).Slice(first, alone.Columns)));
            first += alone.Columns;
        }

        Assert.Throws<NotSupportedException>(() => backend.LoadWeights([.. tensors, tensors[0]]));
    }

    private sealed class WithoutTiles(TensorType missing) : FloatMatMulKernels<PortableIsa>
    {
        public override TileFormat? WeightFormat(TensorType type) => type == missing ? null : base.WeightFormat(type);
    }
}
