using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Packages;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Gemma.Extensions.AI.Tests.Aspire;

/// <summary>The client integration for Aspire: connection strings, what it adds, and a service that an app host of Aspire refers to it.</summary>
public partial class AspireClientTests
{
    private static string Gguf => TestData.Local("gguf/tiny-Q8_0.gguf");

    [Fact]
    public async Task AServiceOfAnAppHostAnswersByTheNameOfTheConnection()
    {
        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name, name = "Gemma.Extensions.AI.AspireApp";
        (int exit, string said) = await DotnetTool.RunAsync(Path.Combine(TestData.Repository, "tests", name, "bin", configuration, "net10.0", name + ".dll"));
        Assert.True(exit == 0, said);
        Assert.Contains("handed over: Model=nano;ContextLength=256", said, StringComparison.Ordinal);
        Assert.Contains("answer: I am gemma2-nano", said, StringComparison.Ordinal);
        Assert.Contains("context: 256", said, StringComparison.Ordinal);
        Assert.Matches(@"embedding: [1-9]\d+", said);
        Assert.Contains("health: Gemma_chat Healthy", said, StringComparison.Ordinal); // once for both clients
        Assert.Matches(Spans(), said);
        Assert.Matches(Metrics(), said);
    }

    [Theory]
    [InlineData("{0}", null)]
    [InlineData("Model={0}", null)]
    [InlineData("modelpath={0};contextlength=100;", 100)]
    [InlineData("Model=\"{0}\"; ContextLength = 100 ; PrefixCache=false; IdleUnload=00:05:00", 100)]
    public async Task AConnectionStringIsAPathOrOptions(string text, int? context)
    {
        HostApplicationBuilder builder = Builder(("ConnectionStrings:chat", string.Format(null, text, Gguf)), ("Gemma:ContextLength", "60"));
        builder.AddGemmaChatClient("chat");
        using IHost host = builder.Build();
        IChatClient client = host.Services.GetRequiredService<IChatClient>();
        Assert.NotEmpty((await client.GetResponseAsync("Hello", TinyModel.Greedy())).Text);
        Assert.Equal(context ?? 60, client.GetRequiredService<GemmaModel>().ContextLength); // the connection goes before the section
    }

    [Theory]
    [InlineData("Model=nano;Endpoint=http://localhost", "'endpoint', which is no option")]
    [InlineData("Model=nano;ModelPath=other", "says both 'Model' and 'ModelPath'")]
    [InlineData("Model=\"nano", "neither a path nor a list")]
    [InlineData("=;=", "neither a path nor a list")]
    public void WhatAConnectionStringMayNotSayIsRefused(string text, string expected)
    {
        HostApplicationBuilder builder = Builder(("ConnectionStrings:chat", text));
        ArgumentException exception = Assert.Throws<ArgumentException>(() => builder.AddGemmaChatClient("chat"));
        Assert.Contains(expected, exception.Message, StringComparison.Ordinal);
        Assert.Contains("'chat'", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task EachConnectionHasItsOwnModelUnderItsName()
    {
        HostApplicationBuilder builder = Builder(
            ("ConnectionStrings:a", Gguf), ("ConnectionStrings:b", $"Model={TinyModel.Path};ContextLength=100"), ("Aspire:Gemma:ContextLength", "90"), ("Aspire:Gemma:a:ContextLength", "80"));
        builder.AddKeyedGemmaChatClient("a");
        builder.AddKeyedGemmaChatClient("b", configureOptions: options => options.MaxQueuedRequests = 3);
        using IHost host = builder.Build();
        Assert.Equal(80, host.Services.GetRequiredKeyedService<IChatClient>("a").GetRequiredService<GemmaModel>().ContextLength);
        Assert.Equal(100, host.Services.GetRequiredKeyedService<IChatClient>("b").GetRequiredService<GemmaModel>().ContextLength);
        Assert.Single((await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries);
    }

    [Fact]
    public void WhatSettingsTurnOffIsNotAdded()
    {
        HostApplicationBuilder builder = Builder(("ConnectionStrings:chat", Gguf), ("Aspire:Gemma:DisableTracing", "true"), ("Aspire:Gemma:chat:DisableMetrics", "true"));
        builder.AddGemmaChatClient("chat", settings => settings.DisableHealthChecks = true);
        using IHost host = builder.Build();
        Assert.Null(host.Services.GetService<HealthCheckService>());
        Assert.Null(host.Services.GetService<TracerProvider>());
        Assert.Null(host.Services.GetService<MeterProvider>());
        Assert.Null(host.Services.GetRequiredService<IChatClient>().GetService<OpenTelemetryChatClient>());
    }

    [Fact]
    public async Task WithoutAConnectionTheSectionOfTheModelCounts()
    {
        HostApplicationBuilder builder = Builder(("Gemma:ModelPath", Gguf));
        builder.AddGemmaChatClient("chat");
        using (IHost host = builder.Build())
        {
            Assert.Equal("tiny-Q8_0", host.Services.GetRequiredService<IChatClient>().GetRequiredService<GemmaModel>().ModelId);
        }

        builder = Builder();
        builder.AddGemmaChatClient("chat");
        using IHost none = builder.Build();
        await Assert.ThrowsAsync<Microsoft.Extensions.Options.OptionsValidationException>(() => none.StartAsync());
    }

    private static HostApplicationBuilder Builder(params (string Key, string Value)[] settings)
    {
        HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value)));
        return builder;
    }

    [GeneratedRegex("spans: .*chat gemma2-nano")]
    private static partial Regex Spans();

    [GeneratedRegex("metrics: .*gen_ai")]
    private static partial Regex Metrics();
}
