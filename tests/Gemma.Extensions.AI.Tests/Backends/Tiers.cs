using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Tests.Backends.Ptx;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>All kernel tiers by name; those that this machine lacks show as skipped. The last ones and the GPU's kernels can be interpreted, on any machine.</summary>
internal static class Tiers
{
    /// <summary>avx512-bf16 with its machine code interpreted.</summary>
    public const string Interpreted = "avx512-bf16 (interpreted)";

    /// <summary>amx-bf16 with its machine code interpreted.</summary>
    public const string AmxInterpreted = "amx-bf16 (interpreted)";

    /// <summary>amx-bf16 with its instruction in software, fast enough for whole models. What is generated is multiplied by the byte kernels where the machine has them, else as float32.</summary>
    public const string AmxEmulated = "amx-bf16 (emulated)";

    /// <summary>avx512-bf16 as in a program that was compiled ahead of time for processors without AVX: what is not assembled uses nothing newer.</summary>
    public const string CompiledAhead = "avx512-bf16 (compiled without AVX)";

    /// <summary>The GPU's kernels, interpreted.</summary>
    public const string Cuda = "cuda (interpreted)";

    /// <summary>The GPU of this machine, where it has one.</summary>
    public const string Gpu = "cuda";

    public static TheoryData<string> All => new([.. KernelTier.All.Select(tier => tier.Name), Interpreted, CompiledAhead, AmxEmulated, Cuda, Gpu]);

    public static TheoryData<string> Native => new(KernelTier.All.Select(tier => tier.Name));

    public static TheoryData<string, string> WithFormats
    {
        get
        {
            TheoryData<string, string> data = new();
            foreach (KernelTier tier in KernelTier.All)
            {
                foreach (BlockFormat format in BlockFormat.All)
                {
                    data.Add(tier.Name, format.Name);
                }
            }

            foreach (BlockFormat format in BlockFormat.All)
            {
                data.Add(AmxEmulated, format.Name);
                data.Add(CompiledAhead, format.Name);
            }

            data.Add(Interpreted, nameof(TensorType.BF16));
            foreach (TensorType type in (TensorType[])[TensorType.BF16, TensorType.F32, TensorType.Q4_K, TensorType.Q6_K, TensorType.Q8_0])
            {
                data.Add(AmxInterpreted, type.ToString());
            }

            foreach (TensorType type in (TensorType[])[.. BlockFormat.All.Select(format => format.Type).Where(type => CudaFormat.Of(type).HasKernel), TensorType.Q5_1, TensorType.IQ3_S])
            {
                data.Add(Cuda, type.ToString());
                data.Add(Gpu, type.ToString());
            }

            return data;
        }
    }

    public static Backend Create(string tier, int threads = 3) => tier switch
    {
        Cuda => new InterpretedGpu().CreateBackend(),
        Gpu => CreateGpu(),
        _ => CreateCpu(tier, threads),
    };

    private static CudaBackend CreateGpu()
    {
        try
        {
            CudaLibrary library = CudaLibrary.Load();
            return new CudaBackend(library, CudaDevice.Select(library, null), pieceBytes: 5000);
        }
        catch (GemmaDeviceException exception)
        {
            Assert.Skip(exception.Message);
            throw;
        }
    }

    public static CpuBackend CreateCpu(string tier, int threads = 3)
    {
        if (tier == CompiledAhead)
        {
            Assert.SkipWhen(JitMatMulKernels.UnsupportedBFloat16() is not null, $"{tier}: {JitMatMulKernels.UnsupportedBFloat16()}");
            return new CpuBackend(new KernelTier(tier, "", () => null, workers => new VectorKernels(workers, JitMatMulKernels.Create<PortableIsa>(ExecutableMemory.TryCreate, bfloat16: true))), threads);
        }

        MatMulKernels? interpreted = tier switch
        {
            Interpreted => new InterpretedKernels(bfloat16: true),
            AmxInterpreted => new InterpretedKernels(bfloat16: true, matrix: new InterpretedMatrix()),
            AmxEmulated when JitMatMulKernels.Unsupported() is null => JitMatMulKernels.Create(ExecutableMemory.TryCreate, matrix: new EmulatedMatrix()),
            AmxEmulated => new EmulatedKernels(),
            _ => null,
        };
        if (interpreted is not null)
        {
            return new CpuBackend(new KernelTier(tier, "", () => null, workers => new VectorKernels(workers, interpreted)), threads: 1);
        }

        SkipUnlessSupported(tier);
        return CpuBackend.Create(new CpuBackendOptions { Kernel = tier, Threads = threads });
    }

    public static void SkipUnlessSupported(string tier)
    {
        string? reason = KernelTier.All.Single(candidate => candidate.Name == tier).Unsupported();
        Assert.SkipWhen(reason is not null, $"{tier}: {reason}");
    }
}
