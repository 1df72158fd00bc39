using System.Net;
using Gemma.Extensions.AI.ClusterBenchmarks;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Clients;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Cli;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans;
using Orleans.Hosting;
using Orleans.TestingHost;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>A client, and a gateway, says how its cluster is.</summary>
public class ClusterHealthTests
{
    [Fact]
    public async Task AClientSaysHowManyNodesServeItsModels()
    {
        await using TinyCluster cluster = await TinyCluster.StartAsync(3, (number, node) =>
        {
            node.AddModel("tiny", TinyModel.Path).Threads = 1;
            if (number == 0)
            {
                node.AddModel("rare", TinyModel.Path).Threads = 1;
            }
        });
        ServiceCollection services = new();
        services.AddLogging().AddSingleton<IGrainFactory>(cluster.Cluster.Client);
        services.AddHealthChecks().AddGemmaCluster(["tiny"], "tiny").AddGemmaCluster(["TINY", "rare"], "both").AddGemmaCluster(["none"], "none").AddGemmaCluster(["none"], "mild", HealthStatus.Degraded);
        await using ServiceProvider provider = services.BuildServiceProvider();
        HealthCheckService health = provider.GetRequiredService<HealthCheckService>();
        IHostedService watch = Assert.Single(provider.GetServices<IHostedService>(), service => service is ClusterWatch);
        Assert.Equal((HealthStatus.Unhealthy, "No node of the cluster has answered yet."), await CheckAsync("tiny"));
        await watch.StartAsync(CancellationToken.None);
        await UntilAsync("tiny", HealthStatus.Healthy, "3 nodes serve tiny.");
        await UntilAsync("both", HealthStatus.Healthy, "3 nodes serve TINY. 1 node serves rare.");
        await UntilAsync("none", HealthStatus.Unhealthy, "No node serves none.");
        await UntilAsync("mild", HealthStatus.Degraded, "No node serves none.");

        // One drains, another is lost: questions may go to it before Orleans knows.
        InProcessSiloHandle rare = cluster.Silos.Single(silo => cluster.Service<GemmaNode>(silo).Models.Contains("rare")), other = cluster.Silos.First(silo => silo != rare);
        await cluster.Service<GemmaNode>(rare).DrainAsync();
        await UntilAsync("both", HealthStatus.Degraded, "2 nodes serve TINY. No node serves rare.");
        await cluster.Cluster.KillSiloAsync(other);
        await UntilAsync("tiny", HealthStatus.Healthy, "1 node serves tiny.");
        await cluster.Service<GemmaNode>(cluster.Silos.Single(silo => silo != rare)).RemoveModelAsync("tiny");
        await UntilAsync("tiny", HealthStatus.Unhealthy, "No node serves tiny.");
        await watch.StopAsync(CancellationToken.None);

        async Task UntilAsync(string check, HealthStatus status, string description) => await Eventually.IsTrueAsync(async () => await CheckAsync(check) == (status, description), $"{check} is {status}: {description}");

        async Task<(HealthStatus, string?)> CheckAsync(string check)
        {
            HealthReportEntry entry = (await health.CheckHealthAsync(registration => registration.Name == check)).Entries[check];
            return (entry.Status, entry.Description);
        }
    }

    /// <summary>No node, one, and one that is gone.</summary>
    [Fact]
    public async Task AGatewayIsAsHealthyAsItsCluster()
    {
        (int silo, int gateway) = (ClusterProcesses.FreePort(), ClusterProcesses.FreePort());
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleans(node => node.UseLocalhostClustering(silo, gateway).AddGemmaNode());
        using IHost host = builder.Build();
        await host.StartAsync();
        await using Served server = await Served.StartAsync(["--cluster", $"localhost:{gateway}", "--model", "small", "--cluster-wait", "2m"]);
        await UntilAsync(HttpStatusCode.ServiceUnavailable, "No node serves small.");
        await host.Services.GetRequiredService<GemmaNode>().AddModelAsync("small", new GemmaOptions { ModelPath = TinyModel.Path, Threads = 1 });
        await UntilAsync(HttpStatusCode.OK, "1 node serves small.");
        Assert.Contains("gemma_cluster_nodes", await server.Http.GetStringAsync("metrics"), StringComparison.Ordinal);
        await host.StopAsync();
        await UntilAsync(HttpStatusCode.ServiceUnavailable, "No node of the cluster has answered for");

        async Task UntilAsync(HttpStatusCode status, string message) => await Eventually.IsTrueAsync(
            async () =>
            {
                using HttpResponseMessage response = await server.Http.GetAsync("health");
                return response.StatusCode == status && (await response.Content.ReadAsStringAsync()).Contains(message, StringComparison.Ordinal);
            },
            $"{status} {message}");
    }

    [Fact]
    public void NodesThatDrainDoNotCountAndNamesAreOneInAnyCase()
    {
        NodeSummary[] nodes =
        [
            new() { Silo = "a", Models = [new() { Name = "m", Running = 2, Waiting = 1, MaxRunning = 2, MaxWaiting = 1, Adapters = [new() { Name = "tax" }] }] },
            new() { Silo = "b", Models = [new() { Name = "M", Running = 1, Waiting = 0, MaxRunning = 1, MaxWaiting = 0, Adapters = [new() { Name = "law" }, new() { Name = "TAX" }] }] },
            new() { Silo = "c", IsDraining = true, Models = [new() { Name = "m", MaxRunning = 9 }, new() { Name = "old" }] },
        ];
        WireCluster cluster = ClusterDescription.Of(nodes);
        WireServedModel model = Assert.Single(cluster.Models);
        Assert.Equal((3, "m", 2, 3, 1, 3, 1, true), (cluster.Nodes, model.Name, model.Nodes, model.Running, model.Waiting, model.MaxRunning, model.MaxWaiting, model.IsFull));
        Assert.Equal(["law", "tax"], model.Adapters);
        Assert.Throws<ArgumentException>(() => new ServiceCollection().AddHealthChecks().AddGemmaCluster([]));
        Assert.Throws<ArgumentException>(() => new ServiceCollection().AddHealthChecks().AddGemmaCluster([" "]));
    }
}
