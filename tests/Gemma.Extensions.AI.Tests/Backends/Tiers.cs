using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>All kernel tiers by name; those that this machine lacks show as skipped. The last one can also be interpreted, on any machine.</summary>
internal static class Tiers
{
    /// <summary>avx512-bf16 with its machine code interpreted.</summary>
    public const string Interpreted = "avx512-bf16 (interpreted)";

    public static TheoryData<string> All => new(KernelTier.All.Select(tier => tier.Name).Append(Interpreted));

    public static TheoryData<string> Native => new(KernelTier.All.Select(tier => tier.Name));

    public static TheoryData<string, string> WithFormats
    {
        get
        {
            var data = new TheoryData<string, string>();
            foreach (KernelTier tier in KernelTier.All)
            {
                foreach (BlockFormat format in BlockFormat.All)
                {
                    data.Add(tier.Name, format.Name);
                }
            }

            data.Add(Interpreted, nameof(TensorType.BF16));
            return data;
        }
    }

    public static Backend Create(string tier, int threads = 3) => CreateCpu(tier, threads);

    public static CpuBackend CreateCpu(string tier, int threads = 3)
    {
        if (tier == Interpreted)
        {
            return new CpuBackend(new KernelTier(Interpreted, "", () => null, workers => new VectorKernels(workers, new InterpretedKernels(bfloat16: true))), threads: 1);
        }

        string? reason = KernelTier.All.Single(candidate => candidate.Name == tier).Unsupported();
        Assert.SkipWhen(reason is not null, $"{tier}: {reason}");
        return CpuBackend.Create(new CpuBackendOptions { Kernel = tier, Threads = threads });
    }
}
