// An app host with a connection and a service that refers to it, and that service, in one program: what Aspire hands to the service is what the integration reads.
using System.Diagnostics;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Gemma.Extensions.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

IDistributedApplicationBuilder app = DistributedApplication.CreateBuilder(new DistributedApplicationOptions { DisableDashboard = true });
app.Configuration["ConnectionStrings:chat"] = "Model=nano;ContextLength=256";
IResourceBuilder<IResourceWithConnectionString> chat = app.AddConnectionString("chat");
IResourceBuilder<ExecutableResource> service = app.AddExecutable("service", "service", ".").WithReference(chat);
IExecutionConfigurationResult configured = await ExecutionConfigurationBuilder.Create(service.Resource).WithEnvironmentVariablesConfig().BuildAsync(app.ExecutionContext, NullLogger.Instance);
Dictionary<string, string> environment = configured.EnvironmentVariables.ToDictionary(variable => variable.Key, variable => variable.Value);
Console.WriteLine($"handed over: {environment["ConnectionStrings__chat"]}");

HostApplicationBuilder builder = Host.CreateEmptyApplicationBuilder(null);
builder.Configuration.AddInMemoryCollection(environment.Select(variable => KeyValuePair.Create(variable.Key.Replace("__", ":", StringComparison.Ordinal), (string?)variable.Value)));
builder.AddGemmaChatClient("chat");
builder.AddGemmaEmbeddingGenerator("chat");
SpanNames spans = new();
MetricNames metrics = new();
builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing.AddProcessor(spans)).WithMetrics(all => all.AddReader(new BaseExportingMetricReader(metrics)));
using IHost host = builder.Build();
await host.StartAsync();

IChatClient client = host.Services.GetRequiredService<IChatClient>();
Console.WriteLine($"answer: {await client.GetResponseAsync("Hello, who are you?", new ChatOptions { Temperature = 0, MaxOutputTokens = 24 })}");
Console.WriteLine($"context: {client.GetRequiredService<GemmaModel>().ContextLength}");
GeneratedEmbeddings<Embedding<float>> embeddings = await host.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GenerateAsync(["The pump"]);
Console.WriteLine($"embedding: {embeddings[0].Vector.Length}");
HealthReport health = await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync();
Console.WriteLine($"health: {string.Join(", ", health.Entries.Select(entry => $"{entry.Key} {entry.Value.Status}"))}");
host.Services.GetRequiredService<MeterProvider>().ForceFlush();
Console.WriteLine($"spans: {string.Join(", ", spans.Names.Order())}");
Console.WriteLine($"metrics: {string.Join(", ", metrics.Names.Order())}");

internal sealed class SpanNames : BaseProcessor<Activity>
{
    public List<string> Names { get; } = [];

    public override void OnEnd(Activity data)
    {
        lock (Names)
        {
            Names.Add(data.DisplayName);
        }
    }
}

internal sealed class MetricNames : BaseExporter<Metric>
{
    public HashSet<string> Names { get; } = [];

    public override ExportResult Export(in Batch<Metric> batch)
    {
        foreach (Metric metric in batch)
        {
            Names.Add(metric.Name);
        }

        return ExportResult.Success;
    }
}
