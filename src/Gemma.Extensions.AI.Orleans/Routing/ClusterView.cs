using System.Collections.Concurrent;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>The nodes that this silo has heard of. A summary counts for <see cref="GemmaNodeOptions.SummaryLifetime"/>, then the node counts as gone.</summary>
internal sealed class ClusterView(IOptions<GemmaNodeOptions> options, TimeProvider? time = null)
{
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly ConcurrentDictionary<string, (NodeSummary Summary, long At)> _nodes = new(StringComparer.Ordinal);

    /// <summary>The nodes heard of lately.</summary>
    public NodeSummary[] Nodes => [.. _nodes.Values.Where(node => _time.GetElapsedTime(node.At) < options.Value.SummaryLifetime).Select(node => node.Summary)];

    public void Hear(NodeSummary summary)
    {
        _nodes[summary.Silo] = (summary, _time.GetTimestamp());
        if (_nodes.Count > 2 * Nodes.Length + 16)
        {
            foreach ((string silo, (NodeSummary _, long at)) in _nodes)
            {
                if (_time.GetElapsedTime(at) > 10 * options.Value.SummaryLifetime)
                {
                    _nodes.TryRemove(silo, out _); // silos that were replaced long ago
                }
            }
        }
    }

    /// <summary>Nodes that serve a model, running and waiting requests and how many of both there may be.</summary>
    public (int Nodes, int Running, int Waiting, int MaxRunning, int MaxWaiting) LoadOf(string model)
    {
        ModelSummary[] all = [.. Nodes.Select(node => node.Find(model)).OfType<ModelSummary>()];
        return (all.Length, all.Sum(m => m.Running), all.Sum(m => m.Waiting), all.Sum(m => m.MaxRunning), all.Sum(m => m.MaxWaiting));
    }
}
