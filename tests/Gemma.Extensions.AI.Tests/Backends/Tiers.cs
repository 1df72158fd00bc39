using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Formats;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>All kernel tiers by name; those that this machine lacks show as skipped.</summary>
internal static class Tiers
{
    public static TheoryData<string> All => new(KernelTier.All.Select(tier => tier.Name));

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

            return data;
        }
    }

    public static CpuBackend Create(string tier, int threads = 3)
    {
        string? reason = KernelTier.All.Single(candidate => candidate.Name == tier).Unsupported();
        Assert.SkipWhen(reason is not null, $"{tier}: {reason}");
        return CpuBackend.Create(new CpuBackendOptions { Kernel = tier, Threads = threads });
    }
}
