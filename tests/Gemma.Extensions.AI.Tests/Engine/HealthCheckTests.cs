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
    public async Task AFullQueueIsDegraded()
    {
        var services = new ServiceCollection().AddLogging();
        services.AddGemmaChatClient(options =>
        {
            options.ModelPath = TestData.Local("tiny");
            options.MaxConcurrentRequests = 1;
            options.MaxQueuedRequests = 2;
        });
        services.AddHealthChecks().AddGemma();
        await using var provider = services.BuildServiceProvider();
        var engine = provider.GetRequiredService<IChatClient>().GetService<GemmaModel>()!.Engine;
        using var gate = new Gate();
        Generation[] generations = [.. Enumerable.Range(0, 3).Select(i => new Generation(_ => gate.Pass()))];
        foreach (var generation in generations)
        {
            engine.Submit(new Gemma.Extensions.AI.Engine.GenerationRequest { Prompt = [2, 300, 301], Sink = generation, MaxOutputTokens = 2 });
        }

        var health = provider.GetRequiredService<HealthCheckService>();
        gate.WaitUntilReached();
        var report = await health.CheckHealthAsync();
        gate.Open();
        Assert.Equal(HealthStatus.Degraded, report.Status);
        Assert.Contains("overloaded: 2 of at most 2 requests wait", report.Entries["gemma"].Description);
        Assert.All(generations, generation => Assert.Null(generation.Result.Error));
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync()).Status);
    }

    [Fact]
    public async Task WithoutAQueueAllPlacesTakenIsDegraded()
    {
        var services = new ServiceCollection().AddLogging();
        services.AddGemmaChatClient(options =>
        {
            options.ModelPath = TestData.Local("tiny");
            options.MaxConcurrentRequests = 1;
            options.MaxQueuedRequests = 0;
        });
        services.AddHealthChecks().AddGemma();
        await using var provider = services.BuildServiceProvider();
        var engine = provider.GetRequiredService<IChatClient>().GetService<GemmaModel>()!.Engine;
        using var gate = new Gate();
        var generation = new Generation(_ => gate.Pass());
        engine.Submit(new Gemma.Extensions.AI.Engine.GenerationRequest { Prompt = [2, 300, 301], Sink = generation, MaxOutputTokens = 2 });
        gate.WaitUntilReached();
        Assert.Throws<GemmaOverloadedException>(() => engine.Submit(new Gemma.Extensions.AI.Engine.GenerationRequest { Prompt = [2, 300, 301], Sink = new Generation() }));
        var health = provider.GetRequiredService<HealthCheckService>();
        var report = await health.CheckHealthAsync();
        gate.Open();
        Assert.Equal(HealthStatus.Degraded, report.Status);
        Assert.Null(generation.Result.Error);
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync()).Status);
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
