using Gemma.Extensions.AI.Orleans.Routing;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans;
using Orleans.Runtime;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>Starts the node with its silo, tells the other nodes of it, and drains it before the silo stops.</summary>
internal sealed partial class NodeService(
    GemmaNode node, NodeModels models, NodeJobs jobs, ClusterView view, SiloName silo, IGrainFactory grains, ISiloStatusOracle silos, IOptions<GemmaNodeOptions> options, ILogger<NodeService> logger)
    : ILifecycleParticipant<ISiloLifecycle>
{
    private readonly CancellationTokenSource _stop = new();
    private Task _telling = Task.CompletedTask;

    public void Participate(ISiloLifecycle observer) => observer.Subscribe(nameof(GemmaNode), ServiceLifecycleStage.Active, StartAsync, StopAsync);

    private async Task StartAsync(CancellationToken cancellationToken)
    {
        foreach ((string name, GemmaOptions model) in options.Value.Models)
        {
            await node.AddModelAsync(name, model, cancellationToken).ConfigureAwait(false);
        }

        jobs.Start();
        node.Changed = TellAll;
        TellAll();
        _telling = Task.Run(TellAsync, CancellationToken.None);
    }

    private async Task StopAsync(CancellationToken cancellationToken)
    {
        await node.DrainAsync(cancellationToken).ConfigureAwait(false);
        await _stop.CancelAsync().ConfigureAwait(false);
        await _telling.ConfigureAwait(false);
        jobs.Dispose();
        models.Dispose();
    }

    private async Task TellAsync()
    {
        using PeriodicTimer timer = new(options.Value.SummaryInterval);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token).ConfigureAwait(false))
            {
                int nodes = silos.GetApproximateSiloStatuses(onlyActive: true).Count;
                await Task.WhenAny(Task.WhenAll(models.All.Select(model => model.RefreshAsync(nodes))), Task.Delay(options.Value.SummaryInterval / 4, _stop.Token)).ConfigureAwait(false);
                TellAll();
            }
        }
        catch (OperationCanceledException)
        {
            // The silo stops.
        }
    }

    private void TellAll()
    {
        try
        {
            NodeSummary summary = new() { Silo = silo.Text, IsDraining = jobs.IsDraining, Models = [.. models.All.Where(model => !model.Model.Engine.Status.Failed).Select(model => model.Summarize())] };
            view.Hear(summary);
            foreach (SiloAddress other in silos.GetApproximateSiloStatuses(onlyActive: true).Keys)
            {
                if (other.ToParsableString() is { } name && name != silo.Text)
                {
                    _ = TellOneAsync(name, summary);
                }
            }
        }
        catch (Exception e)
        {
            LogUntold(logger, "all", e.Message); // a model that is being unloaded; the next summary is a moment away
        }
    }

    private async Task TellOneAsync(string other, NodeSummary summary)
    {
        try
        {
            await grains.GetGrain<INodeGrain>(NodePlacement.KeyOf(other)).HearAsync(summary).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            LogUntold(logger, other, e.Message); // dead, leaving, or without a node of ours
        }
    }

    [LoggerMessage(1, LogLevel.Debug, "The summary of this node was not told to {Silo}: {Reason}")]
    private static partial void LogUntold(ILogger logger, string silo, string reason);
}
