using Gemma.Extensions.AI.Backends.Cpu;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

public sealed class KernelTierTests
{
    public static TheoryData<string> AllTiers => Tiers.All;

    [Theory, MemberData(nameof(AllTiers))]
    public void EachTierCanBeForcedByName(string tier)
    {
        using CpuBackend backend = Tiers.Create(tier, threads: 1);
        Assert.Equal($"cpu/{tier}", backend.Name);
        Assert.Equal(1, backend.Threads);
    }

    [Fact]
    public void TheDefaultIsTheLastThatRunsHere() => Assert.Equal(KernelTier.All.Last(tier => tier.Unsupported() is null), KernelTier.Select(null));

    [Fact]
    public void AnUnknownNameIsRefusedWithTheKnownOnes()
    {
        var exception = Assert.Throws<ArgumentException>(() => KernelTier.Select("fastest"));
        Assert.Contains("'fastest'", exception.Message, StringComparison.Ordinal);
        Assert.All(KernelTier.All, tier => Assert.Contains(tier.Name, exception.Message, StringComparison.Ordinal));
    }

    [Fact]
    public void ThreadsMustBePositive() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => CpuBackend.Create(new CpuBackendOptions { Threads = 0 }));
}
