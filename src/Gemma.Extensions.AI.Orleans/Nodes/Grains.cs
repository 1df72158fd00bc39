using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Orleans;
using Orleans.Concurrency;
using Orleans.GrainDirectory;
using Orleans.Runtime;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>Takes a call to the node that placement chooses. One activation a try, for one call.</summary>
[Alias("gemma.IEntryGrain")]
internal interface IEntryGrain : IGrainWithStringKey
{
    /// <summary>Begins to answer. Returns what there is within a heartbeat's time.</summary>
    [Alias("Begin"), ResponseTimeout("00:00:15")]
    Task<WireBatch> BeginAsync(WireRequest request);

    /// <summary>Tells what the nodes serve, as far as the one that is asked has heard.</summary>
    [Alias("Describe"), ResponseTimeout("00:00:05")]
    Task<WireCluster> DescribeAsync();
}

/// <summary>The node of one silo; the key names the silo and the way to it (<see cref="NodePlacement.KeyOf"/>).</summary>
[Alias("gemma.INodeGrain")]
internal interface INodeGrain : IGrainWithStringKey
{
    /// <summary>The next batch. Returns within a heartbeat's time, with parts or without; asked for again, a batch is the same.</summary>
    [Alias("Read"), ResponseTimeout("00:00:15")]
    Task<WireBatch> ReadAsync(Guid attempt, int sequence);

    /// <summary>Nobody wants the answer any more.</summary>
    [Alias("Cancel"), OneWay]
    Task CancelAsync(Guid attempt);

    /// <summary>Takes another node's summary.</summary>
    [Alias("Hear"), OneWay]
    Task HearAsync(NodeSummary summary);
}

[NodePlacement, GrainDirectory(NoDirectory.Name)]
internal sealed class EntryGrain(NodeJobs jobs, ClusterView view) : Grain, IEntryGrain
{
    public Task<WireBatch> BeginAsync(WireRequest request)
    {
        RouteHints hints = RequestContext.Get(RouteHints.Key) as RouteHints ?? new RouteHints { Model = request.Model };
        DeactivateOnIdle();
        return jobs.BeginAsync(request, hints);
    }

    public Task<WireCluster> DescribeAsync()
    {
        DeactivateOnIdle();
        return Task.FromResult(ClusterDescription.Of(view.Nodes));
    }
}

[NodePlacement, GrainDirectory(NoDirectory.Name), Reentrant]
internal sealed class NodeGrain(NodeJobs jobs, ClusterView view) : Grain, INodeGrain
{
    public Task<WireBatch> ReadAsync(Guid attempt, int sequence) => jobs.ReadAsync(attempt, sequence);

    public Task CancelAsync(Guid attempt)
    {
        jobs.Cancel(attempt);
        return Task.CompletedTask;
    }

    public Task HearAsync(NodeSummary summary)
    {
        view.Hear(summary);
        return Task.CompletedTask;
    }
}
