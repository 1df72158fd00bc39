using Gemma.Extensions.AI.Benchmarks.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>A short run of the soak benchmark, whose 20,000 requests are among its committed results.</summary>
public sealed class SoakTests
{
    [Fact]
    public async Task ManyRequestsAtOnceGiveTheirSoloTextsAndLeaveNothing()
    {
        using var soak = new Soak(TestData.Local("tiny"), kinds: 50, concurrent: 32, kvBytes: 1 << 20);
        var report = await soak.RunAsync(400);
        Assert.Equal((0, 0, 0, 0), (report.Wrong, report.Failed, report.UsedBlocks, report.Alive));
        Assert.True(report.Preemptions > 0, "The run is meant to run out of memory while generating.");
        Assert.True(report.ToolCalls > 0 && report.Cancelled > 0 && report.Broken > 0 && report.Cached > 0);
    }
}
