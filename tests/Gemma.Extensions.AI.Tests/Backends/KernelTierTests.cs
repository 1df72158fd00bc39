using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

public sealed class KernelTierTests
{
    public static TheoryData<string> AllTiers => new([.. KernelTier.All.Select(tier => tier.Name), Tiers.Interpreted]);

    [Theory, MemberData(nameof(AllTiers))]
    public void EachTierCanBeForcedByName(string tier)
    {
        using CpuBackend backend = Tiers.CreateCpu(tier, threads: 1);
        Assert.Equal($"cpu/{tier}", backend.Name);
        Assert.Equal(1, backend.Threads);
    }

    [Fact]
    public void TheDefaultIsTheLastThatRunsHere() => Assert.Equal(KernelTier.All.Last(tier => tier.Unsupported() is null), KernelTier.Select(null));

    [Fact]
    public void AnUnknownNameIsRefusedWithTheKnownOnes()
    {
        ArgumentException exception = Assert.Throws<ArgumentException>(() => KernelTier.Select("fastest"));
        Assert.Contains("'fastest'", exception.Message, StringComparison.Ordinal);
        Assert.All(KernelTier.All, tier => Assert.Contains(tier.Name, exception.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void ThreadsMustBePositive() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => CpuBackend.Create(new CpuBackendOptions { Threads = 0 }));

    [Fact]
    public void WherePagesCannotBeMadeExecutableTheKernelsOfTheTierBelowTakeOver()
    {
        Assert.SkipUnless(Avx512BW.IsSupported, "no AVX-512");
        using WorkerPool workers = new(2);
        using MatMulKernels fallback = JitMatMulKernels.Create((ReadOnlySpan<byte> _, out string? reason) =>
        {
            reason = "the system does not allow pages to be made executable";
            return null;
        });
        using VectorKernels refused = new(workers, fallback);
        Assert.Equal("avx512 kernels: the system does not allow pages to be made executable", refused.FallbackReason);
        using CpuBackend avx512 = Tiers.CreateCpu("avx512", threads: 2);
        using RandomTensors random = new(6);
        CpuWeights weights = (CpuWeights)avx512.LoadWeights(random.Create(TensorType.Q4_K, 96, 512));
        CpuWeights own = refused.LoadWeights(weights.Parts, weights.Rows, weights.Columns);
        foreach (int rows in (int[])[1, 9])
        {
            using CpuMatrix x = (CpuMatrix)avx512.CreateMatrix(rows, 512);
            using CpuMatrix expected = (CpuMatrix)avx512.CreateMatrix(rows, 96);
            using CpuMatrix actual = (CpuMatrix)avx512.CreateMatrix(rows, 96);
            for (int r = 0; r < rows; r++)
            {
                random.Fill(x, r);
            }

            avx512.MatMul(x, weights, expected, rows);
            refused.MatMul(x, own, actual, rows);
            for (int r = 0; r < rows; r++)
            {
                Assert.True(expected.Row(r).SequenceEqual(actual.Row(r)));
            }
        }
    }

    [Fact]
    public void WhereNoMorePagesCanBeMadeExecutableTilesTakeOver()
    {
        Assert.SkipUnless(JitMatMulKernels.Unsupported() is null, JitMatMulKernels.Unsupported() ?? "");
        bool allowed = true;
        using MatMulKernels kernels = JitMatMulKernels.Create((ReadOnlySpan<byte> code, out string? reason) =>
        {
            reason = "no memory for machine code";
            return allowed ? ExecutableMemory.TryCreate(code, out reason) : null;
        });
        using WorkerPool workers = new(1);
        using VectorKernels tiled = new(workers, kernels);
        using CpuBackend backend = Tiers.CreateCpu("avx512-vnni", threads: 1);
        using RandomTensors random = new(7);
        using CpuMatrix x = new(3, 512), expected = new(3, 96), actual = new(3, 96);
        CpuWeights weights = (CpuWeights)backend.LoadWeights(random.Create(TensorType.Q4_K, 96, 512));
        CpuWeights own = tiled.LoadWeights(weights.Parts, weights.Rows, weights.Columns);
        for (int r = 0; r < 3; r++)
        {
            random.Fill(x, r);
        }

        allowed = false;
        foreach (int rows in (int[])[1, 3])
        {
            Assert.False(kernels.CanGemv(kernels.WeightFormat(TensorType.Q4_K)!, rows));
            backend.MatMul(x, weights, expected, rows);
            tiled.MatMul(x, own, actual, rows);
            for (int r = 0; r < rows; r++)
            {
                Assert.True(expected.Row(r).SequenceEqual(actual.Row(r)));
            }
        }
    }

    /// <summary>A format that lost its kernel would only be slower.</summary>
    [Theory]
    [InlineData(1, "Q4_0 Q8_0 Q4_K Q5_K Q6_K BF16 IQ4_NL IQ4_XS IQ3_S IQ3_XXS IQ2_S IQ2_XS IQ2_XXS IQ1_S IQ1_M")]
    [InlineData(4, "Q4_0 Q8_0 Q4_K Q5_K Q6_K BF16 IQ4_NL IQ4_XS IQ3_S IQ3_XXS IQ2_S IQ2_XS IQ2_XXS IQ1_S IQ1_M")]
    [InlineData(8, "Q4_0 Q8_0 Q4_K Q5_K Q6_K BF16 IQ4_NL IQ4_XS IQ3_S IQ3_XXS IQ2_XXS IQ1_S")]
    [InlineData(16, "Q4_0 Q8_0 Q4_K Q5_K Q6_K BF16 IQ4_NL IQ4_XS")]
    public void FormatsWithAssembledGemv(int rows, string expected)
    {
        TileFormats formats = TileFormats.Create(KernelSet.Of<PortableIsa>());
        Assert.Equal(
            expected.Split(' ').Order(),
            BlockFormat.All.Where(format => GemvAssembler.Assemble(formats.Get(format.Type), rows, windows: false) is not null).Select(format => format.Name).Order());
    }

    /// <summary>Elsewhere the fourth argument lies where Windows has the first, so that its variant can be called here, too.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(6)]
    [InlineData(8)]
    [InlineData(13)]
    public unsafe void KernelsForWindowsAndOtherProcessorsGiveTheSameSums(int rows)
    {
        Assert.SkipUnless(JitMatMulKernels.Unsupported() is null, JitMatMulKernels.Unsupported() ?? "");
        Assert.SkipWhen(OperatingSystem.IsWindows(), "There is nothing to compare with.");
        const int Columns = 512;
        using RandomTensors random = new(8);
        TileFormat format = TileFormats.Create(KernelSet.Of<PortableIsa>()).Get(TensorType.Q6_K);
        AI.Files.TensorView weights = random.Create(TensorType.Q6_K, GemvArgs.WeightRows, Columns);
        using NativeBuffer scratch = new(), activations = new(), scales = new(), terms = new();
        scratch.Reserve(GemvArgs.ScratchBytes);
        activations.Reserve(rows * Columns);
        scales.Reserve(4 * rows * Columns / 32);
        terms.Reserve(4 * rows * Columns / 16);
        new Random(1).NextBytes(new Span<byte>(activations.Data, rows * Columns));
        new Span<float>(scales.Data, rows * Columns / 32).Fill(0.01f);
        new Span<int>(terms.Data, rows * Columns / 16).Fill(-77);
        float[] plain = Run(windows: false, new GemvTuning(NoGaloisField: true, OneProductACycle: true));
        Assert.DoesNotContain(0f, plain);
        Assert.Equal(plain, Run(windows: true, new GemvTuning(NoGaloisField: true, OneProductACycle: true)));
        Assert.Equal(plain, Run(windows: false, new GemvTuning(NoGaloisField: true, OneProductACycle: false)));
        if (!GemvTuning.Machine.NoGaloisField)
        {
            Assert.Equal(plain, Run(windows: false, default));
        }

        float[] Run(bool windows, GemvTuning tuning)
        {
            float[] sums = new float[rows * GemvArgs.WeightRows];
            using ExecutableMemory? code = ExecutableMemory.TryCreate(GemvAssembler.Assemble(format, rows, windows, tuning), out string? reason);
            Assert.SkipWhen(code is null, reason ?? "");
            fixed (float* output = sums)
            {
                GemvArgs args = new()
                {
                    Activations = activations.Data,
                    ActivationScales = (float*)scales.Data,
                    ZeroPointTerms = terms.Data,
                    Output = output,
                    Ahead = weights.Data,
                    Weights = weights.Data,
                    WeightStride = BlockFormat.Get(TensorType.Q6_K).ByteLength(Columns),
                    Blocks = Columns / format.GemvColumns,
                    Scratch = scratch.Data,
                };
                if (windows)
                {
                    ((delegate* unmanaged<nint, nint, nint, GemvArgs*, void>)code!.Address)(0, 0, 0, &args);
                }
                else
                {
                    ((delegate* unmanaged<GemvArgs*, void>)code!.Address)(&args);
                }
            }

            return sums;
        }
    }
}
