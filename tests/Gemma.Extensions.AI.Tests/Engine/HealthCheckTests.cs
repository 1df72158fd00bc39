using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class HealthCheckTests
{
    [Fact]
    public async Task ReadyThenShuttingDown()
    {
        var builder = Host.CreateApplicationBuilder();
        builder.Services.AddGemmaChatClient(TestData.Local("tiny"));
        builder.Services.AddHealthChecks().AddGemma();
        using var host = builder.Build();
        await host.StartAsync();
        var health = host.Services.GetRequiredService<HealthCheckService>();
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync()).Status);
        await host.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello", new ChatOptions { MaxOutputTokens = 3 });
        var report = await health.CheckHealthAsync();
        Assert.Equal(HealthStatus.Healthy, report.Status);
        Assert.Contains("tiny is ready", report.Entries["gemma"].Description);
        await host.StopAsync();
        Assert.Equal(HealthStatus.Unhealthy, (await health.CheckHealthAsync()).Status);
    }

    [Fact]
    public async Task FailedLoadIsUnhealthy()
    {
        using var directory = new TempDirectory();
        string path = directory.File("broken.gguf");
        File.WriteAllBytes(path, new byte[100]);
        var services = new ServiceCollection().AddLogging();
        services.AddGemmaChatClient(path);
        services.AddHealthChecks().AddGemma();
        await using var provider = services.BuildServiceProvider();
        await Assert.ThrowsAnyAsync<GemmaException>(() => provider.GetRequiredService<IChatClient>().GetResponseAsync("Hello"));
        var report = await provider.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        Assert.Equal(HealthStatus.Unhealthy, report.Status);
        Assert.Contains("could not be loaded", report.Entries["gemma"].Description);
    }
}
