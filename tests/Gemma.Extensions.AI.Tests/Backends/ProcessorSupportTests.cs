using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>What is said where a processor lacks instructions, and where a program was compiled ahead of time without them.</summary>
public sealed class ProcessorSupportTests
{
    [Fact]
    public void WhereCodeIsCompiledAtRunTimeDotNetsWordIsTheLast()
    {
        ProcessorSupport support = Processor(ahead: false, avx2: true, avx512: true);
        Assert.Equal("the processor has no AVX2 with FMA", support.Lacks(false, static processor => processor.HasAvx2, "AVX2 with FMA", "x86-64-v3"));
        Assert.Equal("the processor has no AVX-512 BW", support.LacksAvx512(compiled: false));
        Assert.Null(support.Reduced(avx2: false, avx512: false, dotProduct: false));
    }

    /// <summary>Asking the system for its registers takes machine code.</summary>
    [Theory]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void TheProcessorIsAskedOnlyWhereTheAnswerCounts(bool ahead, bool compiled)
    {
        ProcessorSupport support = new(ahead, (_, _) => throw new InvalidOperationException("asked"), (CodeAllocator _, out string? _) => throw new InvalidOperationException("asked"), HasDotProduct: false);
        Assert.Equal(compiled, support.Lacks(compiled, static processor => processor.HasAvx512, "AVX-512 BW", "x86-64-v4") is null);
        Assert.Equal(compiled, support.LacksAvx512(compiled) is null);
    }

    [Fact]
    public void CompiledAheadTheProcessorIsAskedAndTheCureIsNamed()
    {
        ProcessorSupport support = Processor(ahead: true, avx2: true, avx512: false);
        string reason = support.Lacks(false, static processor => processor.HasAvx2, "AVX2 with FMA", "x86-64-v3")!;
        Assert.StartsWith("this program was compiled ahead of time without AVX2 with FMA, which the processor has; ", reason, StringComparison.Ordinal);
        Assert.Contains("<IlcInstructionSet>x86-64-v3</IlcInstructionSet>", reason, StringComparison.Ordinal);
        string reduced = support.Reduced(avx2: false, avx512: false, dotProduct: false)!;
        Assert.StartsWith("this program was compiled ahead of time without AVX2 and FMA, which the processor has; ", reduced, StringComparison.Ordinal);
        Assert.Contains("<IlcInstructionSet>x86-64-v3</IlcInstructionSet>", reduced, StringComparison.Ordinal);
        Assert.Null(support.Reduced(avx2: true, avx512: false, dotProduct: false));
        Assert.Equal("the processor has no AVX-512 BW", support.LacksAvx512(compiled: false));
    }

    [Fact]
    public void KernelsThatAreAssembledNeedTheProcessorAlone()
    {
        ProcessorSupport support = Processor(ahead: true, avx2: true, avx512: true);
        Assert.Null(support.LacksAvx512(compiled: false));
        Assert.Contains("without AVX2 and FMA, which", support.Reduced(avx2: false, avx512: false, dotProduct: false), StringComparison.Ordinal);
        Assert.Null(support.Reduced(avx2: true, avx512: false, dotProduct: false));
    }

    /// <summary>The tier for AVX-512 without VNNI is C#, and has to be compiled for it.</summary>
    [Fact]
    public void KernelsInCSharpNeedTheirInstructionsCompiledIn()
    {
        ProcessorSupport support = Processor(ahead: true, avx2: true, avx512: true, vnni: false);
        string neither = support.Reduced(avx2: false, avx512: false, dotProduct: false)!, half = support.Reduced(avx2: true, avx512: false, dotProduct: false)!;
        Assert.StartsWith("this program was compiled ahead of time without AVX2 and AVX-512, which the processor has; <IlcInstructionSet>x86-64-v4<", neither, StringComparison.Ordinal);
        Assert.StartsWith("this program was compiled ahead of time without AVX-512, which the processor has; <IlcInstructionSet>x86-64-v4<", half, StringComparison.Ordinal);
        Assert.Null(support.Reduced(avx2: true, avx512: true, dotProduct: false));
    }

    [Fact]
    public void OnArmTheDotProductIsWhatMatters()
    {
        ProcessorSupport support = Processor(ahead: true, avx2: false, avx512: false, dotProduct: true);
        const string Reason = "this program was compiled ahead of time without Arm NEON with dot product, which the processor has; <IlcInstructionSet>dotprod</IlcInstructionSet>";
        Assert.StartsWith(Reason, support.Reduced(avx2: false, avx512: false, dotProduct: false), StringComparison.Ordinal);
        Assert.StartsWith(Reason, support.Lacks(false, static processor => processor.HasDotProduct, "Arm NEON with dot product", "dotprod"), StringComparison.Ordinal);
        Assert.Null(support.Reduced(avx2: false, avx512: false, dotProduct: true));
        Assert.Null(Processor(ahead: false, avx2: false, avx512: false, dotProduct: true).Reduced(avx2: false, avx512: false, dotProduct: false));
    }

    [Theory]
    [InlineData(1UL << 20, true)]
    [InlineData(~(1UL << 20), false)]
    public void LinuxTellsArmsDotProductInTheAuxiliaryVector(ulong capabilities, bool expected)
    {
        ulong[] entries = [33, ulong.MaxValue, 16, capabilities, 26, 1UL << 20, 0, 0]; // AT_SYSINFO_EHDR, AT_HWCAP, AT_HWCAP2, AT_NULL
        Assert.Equal(expected, ProcessorSupport.ContainsDotProduct(MemoryMarshal.AsBytes<ulong>(entries)));
        Assert.False(ProcessorSupport.ContainsDotProduct(MemoryMarshal.AsBytes<ulong>(entries.AsSpan(0, 2))));
        Assert.False(ProcessorSupport.ContainsDotProduct(MemoryMarshal.AsBytes<ulong>(entries)[..31])); // cut within the entry
    }

    [Theory]
    [InlineData(0b110UL, true, false)] // registers of 256 bits alone: a system that was started without AVX-512
    [InlineData(0b11UL, false, false)]
    [InlineData(0xE7UL, true, true)]
    public void RegistersThatTheSystemDoesNotSaveAreNotUsed(ulong state, bool avx2, bool avx512)
    {
        ProcessorSupport support = Processor(ahead: true, avx2: true, avx512: true, state);
        Assert.Equal(avx2, support.HasAvx2);
        Assert.Equal(avx512, support.HasAvx512);
    }

    [Fact]
    public void AProcessorWithoutTheLeavesHasNothing()
    {
        ProcessorSupport support = new(true, (leaf, _) => leaf == 0 ? (1, 0, 0, 0) : (-1, -1, -1, -1), (CodeAllocator _, out string? reason) =>
        {
            reason = null;
            return ulong.MaxValue;
        }, HasDotProduct: false);
        Assert.False(support.HasAvx2 || support.HasAvx512 || support.HasAvxVnni);
    }

    /// <summary>In one row's products and in panels no bit depends on what the rest of the program was compiled for.</summary>
    [Theory]
    [InlineData(nameof(TensorType.Q4_K))]
    [InlineData(nameof(TensorType.Q8_0))]
    [InlineData(nameof(TensorType.IQ3_S))]
    [InlineData(nameof(TensorType.BF16))]
    public void NoBitDependsOnWhatTheRestWasCompiledFor(string format)
    {
        using CpuBackend whole = Tiers.CreateCpu("avx512-bf16", threads: 1);
        using RandomTensors random = new(11);
        using CpuMatrix x = new(13, 512), expected = new(13, 96), actual = new(13, 96);
        for (int row = 0; row < 13; row++)
        {
            random.Fill(x, row);
        }

        WeightMatrix weights = whole.LoadWeights(random.Create(Enum.Parse<TensorType>(format), 96, 512));
        CpuWeights same = (CpuWeights)weights;
        using WorkerPool workers = new(1);
        using VectorKernels kernels = new(workers, JitMatMulKernels.Create<PortableIsa>(ExecutableMemory.TryCreate, bfloat16: true));
        CpuWeights own = kernels.LoadWeights(same.Parts, same.Rows, same.Columns);
        foreach (int rows in (int[])[1, 3, 8, 13])
        {
            whole.MatMul(x, weights, expected, rows);
            kernels.MatMul(x, own, actual, rows);
            for (int row = 0; row < rows; row++)
            {
                Assert.True(expected.Row(row).SequenceEqual(actual.Row(row)), $"{rows} rows, row {row}");
            }
        }
    }

    private static ProcessorSupport Processor(bool ahead, bool avx2, bool avx512, ulong state = 0xE7, bool vnni = true, bool dotProduct = false)
    {
        int features = (avx2 ? 1 << 5 : 0) | (avx512 ? (1 << 16) | (1 << 17) | (1 << 28) | (1 << 30) | (1 << 31) : 0);
        return new ProcessorSupport(ahead, (leaf, subleaf) => (leaf, subleaf) switch
        {
            (0, _) => (0x1F, 0, 0, 0),
            (1, _) => (0, 0, (1 << 12) | (1 << 27) | (1 << 28), 0),
            (7, 0) => (1, features, avx512 && vnni ? 1 << 11 : 0, 0),
            _ => default,
        }, (CodeAllocator _, out string? reason) =>
        {
            reason = null;
            return state;
        }, dotProduct);
    }
}
