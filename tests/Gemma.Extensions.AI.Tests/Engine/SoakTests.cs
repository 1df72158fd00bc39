using Gemma.Extensions.AI.Benchmarks.Engine;
using Gemma.Extensions.AI.Tests.Backends;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>A short run of the soak benchmark, whose 20,000 requests are among its committed results.</summary>
public sealed class SoakTests
{
    [Theory]
    [InlineData(null, 50, 400)]
    [InlineData(Tiers.AmxEmulated, 24, 100)]
    public async Task ManyRequestsAtOnceGiveTheirSoloTextsAndLeaveNothing(string? tier, int kinds, int requests)
    {
        using Soak soak = new(TestData.Local("tiny"), kinds, concurrent: 32, kvBytes: 1 << 20, tier is null ? null : _ => Tiers.Create(tier));
        SoakReport report = await soak.RunAsync(requests);
        Assert.Equal((0, 0, 0, 0), (report.Wrong, report.Failed, report.UsedBlocks, report.Alive));
        Assert.True(report.Preemptions > 0, "The run is meant to run out of memory while generating.");
        Assert.True(report.ToolCalls > 0 && report.Cancelled > 0 && report.Broken > 0 && report.Cached > 0);
    }
}
