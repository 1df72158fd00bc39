using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Hosting;
using Orleans.TestingHost;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>A cluster of silos in this process, each with a node of its own over the reference model. Calls to nodes can be held up, as by a network that fails.</summary>
internal sealed class TinyCluster : IAsyncDisposable
{
    private readonly InProcessTestCluster _cluster;

    private TinyCluster(InProcessTestCluster cluster, NodeFaults faults) => (_cluster, Faults) = (cluster, faults);

    /// <summary>The faults between callers and nodes.</summary>
    public NodeFaults Faults { get; }

    public InProcessTestCluster Cluster => _cluster;

    public IReadOnlyList<InProcessSiloHandle> Silos => _cluster.Silos;

    /// <summary>Starts a cluster and waits until each silo knows the node of each other.</summary>
    /// <param name="silos">How many.</param>
    /// <param name="configure">Says what each serves, by its number; without it, each serves "tiny".</param>
    /// <param name="mostParts">Parts of one batch at most: with one, the number of batches does not depend on time.</param>
    /// <param name="more">Sets what else a test needs.</param>
    public static async Task<TinyCluster> StartAsync(
        short silos, Action<int, GemmaNodeOptions>? configure = null, int mostParts = 1, Action<InProcessTestClusterBuilder>? more = null)
    {
        NodeFaults faults = new();
        int number = -1;
        InProcessTestClusterBuilder builder = new(silos);
        builder.Options.ConfigureFileLogging = false;
        builder.Options.AssumeHomogenousSilosForTesting = false;
        builder.ConfigureSilo((_, silo) =>
        {
            int own = Interlocked.Increment(ref number);
            silo.Services.AddSingleton(NodeTimes.Default with { MostParts = mostParts, LeastPause = mostParts == 1 ? TimeSpan.Zero : NodeTimes.Default.LeastPause });
            silo.AddGemmaNode(options =>
            {
                options.SummaryInterval = TimeSpan.FromMilliseconds(100);
                options.SummaryLifetime = TimeSpan.FromSeconds(5); // the machine that tests run on stalls
                configure ??= (_, node) => node.AddModel("tiny", TinyModel.Path).Threads = 1;
                configure(own, options);
            });
            silo.AddIncomingGrainCallFilter(context => faults.InvokeAsync(context, context.TargetContext.Address.SiloAddress!.ToParsableString()));
        });
        more?.Invoke(builder);
        TinyCluster cluster = new(builder.Build(), faults);
        await cluster._cluster.DeployAsync();
        await cluster.WaitAsync(view => view.Nodes.Length == silos);
        return cluster;
    }

    public GemmaClusterChatClient Client(string model = "tiny", double heartbeat = 10, double failover = 60) => new(
        _cluster.Client, model, new GemmaClusterOptions { HeartbeatTimeout = TimeSpan.FromSeconds(heartbeat), FailoverTimeout = TimeSpan.FromSeconds(failover) });

    public T Service<T>(InProcessSiloHandle silo) where T : notnull => silo.ServiceProvider.GetRequiredService<T>();

    public GemmaModel Model(InProcessSiloHandle silo, string model = "tiny") => Service<NodeModels>(silo).All.Single(hosted => hosted.Name == model).Model;

    /// <summary>Waits until all silos see the cluster in some way.</summary>
    public Task WaitAsync(Func<ClusterView, bool> state, [CallerArgumentExpression(nameof(state))] string what = "") =>
        Eventually.IsTrueAsync(() => Silos.Where(silo => silo.IsActive).All(silo => state(Service<ClusterView>(silo))), what);

    /// <summary>Waits until each silo knows all nodes, and of none that it works.</summary>
    public Task IdleAsync() => WaitAsync(view => view.Nodes.Length == Silos.Count && view.Nodes.All(node => node.Models.All(model => model is { Running: 0, Waiting: 0 })));

    /// <summary>Waits until some silo answers a call, and returns it.</summary>
    public async Task<InProcessSiloHandle> BusyAsync()
    {
        InProcessSiloHandle? busy = null;
        await Eventually.IsTrueAsync(() => (busy = Silos.FirstOrDefault(silo => Service<GemmaNode>(silo).RunningCalls > 0)) is not null);
        return busy!;
    }

    public async ValueTask DisposeAsync()
    {
        Faults.Heal();
        await _cluster.DisposeAsync();
    }
}

/// <summary>One cluster of three silos, which talk as in earnest, for the tests that do it no harm.</summary>
[CollectionDefinition(Name)]
public sealed class ThreeNodesCollection : ICollectionFixture<ThreeNodes>
{
    public const string Name = "three nodes";
}

/// <inheritdoc cref="ThreeNodesCollection"/>
public sealed class ThreeNodes : IAsyncLifetime
{
    internal TinyCluster Cluster { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Cluster = await TinyCluster.StartAsync(3, mostParts: NodeTimes.Default.MostParts);

    public ValueTask DisposeAsync() => Cluster.DisposeAsync();
}

/// <summary>Three silos whose batches have one part each, for faults that are healed.</summary>
public sealed class TalkativeNodes : IAsyncLifetime
{
    internal TinyCluster Cluster { get; private set; } = null!;

    public async ValueTask InitializeAsync() => Cluster = await TinyCluster.StartAsync(3);

    public ValueTask DisposeAsync() => Cluster.DisposeAsync();
}
