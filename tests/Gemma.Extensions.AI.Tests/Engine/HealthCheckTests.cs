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
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Services.AddGemmaChatClient(TestData.Local("tiny"));
        builder.Services.AddHealthChecks().AddGemma();
        using IHost host = builder.Build();
        await host.StartAsync();
        HealthCheckService health = host.Services.GetRequiredService<HealthCheckService>();
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync()).Status);
        await host.Services.GetRequiredService<IChatClient>().GetResponseAsync("Hello", new ChatOptions { MaxOutputTokens = 3 });
        HealthReport report = await health.CheckHealthAsync();
        Assert.Equal(HealthStatus.Healthy, report.Status);
        Assert.Contains("tiny is ready", report.Entries["gemma"].Description);
        await host.StopAsync();
        Assert.Equal(HealthStatus.Unhealthy, (await health.CheckHealthAsync()).Status);
    }

    [Fact]
    public async Task AFullQueueIsDegraded()
    {
        IServiceCollection services = new ServiceCollection().AddLogging();
        services.AddGemmaChatClient(options =>
        {
            options.ModelPath = TestData.Local("tiny");
            options.MaxConcurrentRequests = 1;
            options.MaxQueuedRequests = 2;
        });
        services.AddHealthChecks().AddGemma();
        await using ServiceProvider provider = services.BuildServiceProvider();
        AI.Engine.GemmaEngine engine = provider.GetRequiredService<IChatClient>().GetService<GemmaModel>()!.Engine;
        using Gate gate = new();
        Generation[] generations = [.. Enumerable.Range(0, 3).Select(i => new Generation(_ => gate.Pass()))];
        foreach (Generation generation in generations)
        {
            engine.Submit(new Gemma.Extensions.AI.Engine.GenerationRequest { Prompt = [2, 300, 301], Sink = generation, MaxOutputTokens = 2 });
        }

        HealthCheckService health = provider.GetRequiredService<HealthCheckService>();
        gate.WaitUntilReached();
        HealthReport report = await health.CheckHealthAsync();
        gate.Open();
        Assert.Equal(HealthStatus.Degraded, report.Status);
        Assert.Contains("overloaded: 2 of at most 2 requests wait", report.Entries["gemma"].Description);
        Assert.All(generations, generation => Assert.Null(generation.Result.Error));
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync()).Status);
    }

    [Fact]
    public async Task WithoutAQueueAllPlacesTakenIsDegraded()
    {
        IServiceCollection services = new ServiceCollection().AddLogging();
        services.AddGemmaChatClient(options =>
        {
            options.ModelPath = TestData.Local("tiny");
            options.MaxConcurrentRequests = 1;
            options.MaxQueuedRequests = 0;
        });
        services.AddHealthChecks().AddGemma();
        await using ServiceProvider provider = services.BuildServiceProvider();
        AI.Engine.GemmaEngine engine = provider.GetRequiredService<IChatClient>().GetService<GemmaModel>()!.Engine;
        using Gate gate = new();
        Generation generation = new(_ => gate.Pass());
        engine.Submit(new Gemma.Extensions.AI.Engine.GenerationRequest { Prompt = [2, 300, 301], Sink = generation, MaxOutputTokens = 2 });
        gate.WaitUntilReached();
        Assert.Throws<GemmaOverloadedException>(() => engine.Submit(new Gemma.Extensions.AI.Engine.GenerationRequest { Prompt = [2, 300, 301], Sink = new Generation() }));
        HealthCheckService health = provider.GetRequiredService<HealthCheckService>();
        HealthReport report = await health.CheckHealthAsync();
        gate.Open();
        Assert.Equal(HealthStatus.Degraded, report.Status);
        Assert.Null(generation.Result.Error);
        Assert.Equal(HealthStatus.Healthy, (await health.CheckHealthAsync()).Status);
    }

    [Fact]
    public async Task FailedLoadIsUnhealthy()
    {
        using TempDirectory directory = new();
        string path = directory.File("broken.gguf");
        File.WriteAllBytes(path, new byte[100]);
        IServiceCollection services = new ServiceCollection().AddLogging();
        services.AddGemmaChatClient(path);
        services.AddHealthChecks().AddGemma();
        await using ServiceProvider provider = services.BuildServiceProvider();
        await Assert.ThrowsAnyAsync<GemmaException>(() => provider.GetRequiredService<IChatClient>().GetResponseAsync("Hello"));
        HealthReport report = await provider.GetRequiredService<HealthCheckService>().CheckHealthAsync();
        Assert.Equal(HealthStatus.Unhealthy, report.Status);
        Assert.Contains("could not be loaded", report.Entries["gemma"].Description);
    }
}
