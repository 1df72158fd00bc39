using Gemma.Extensions.AI.Benchmarks.Server;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>The soak of the server in small: 10,000 requests are a benchmark.</summary>
public class ServerSoakTests
{
    [Fact]
    public async Task NoRequestOfAnyApiIsLostAndNothingIsLeftBehind()
    {
        await using ServerSoak soak = await ServerSoak.StartAsync("nano");
        ServerSoakReport report = await soak.RunAsync(200, 8);
        Assert.Equal((0, 0, 0), (report.Wrong, report.Lost, report.Leftovers));
        Assert.Equal(200, report.Right + report.Left);
        Assert.InRange(report.Left, 1, 100);
    }
}
