using System.Collections.Concurrent;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>The nodes that this silo has heard of. A summary counts for <see cref="GemmaNodeOptions.SummaryLifetime"/>, then the node counts as gone.</summary>
internal sealed class ClusterView(IOptions<GemmaNodeOptions> options, TimeProvider? time = null)
{
    private readonly TimeProvider _time = time ?? TimeProvider.System;
    private readonly ConcurrentDictionary<string, (NodeSummary Summary, long At)> _nodes = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, SentBlocks> _sent = new(StringComparer.Ordinal);
    private long _heard;

    /// <summary>The nodes heard of lately.</summary>
    public NodeSummary[] Nodes => [.. _nodes.Values.Where(node => _time.GetElapsedTime(node.At) < options.Value.SummaryLifetime).Select(node => node.Summary)];

    public void Hear(NodeSummary summary)
    {
        _nodes[summary.Silo] = (summary, _time.GetTimestamp());
        if (Interlocked.Increment(ref _heard) % 1024 == 0)
        {
            foreach ((string silo, (NodeSummary _, long at)) in _nodes)
            {
                if (_time.GetElapsedTime(at) > 10 * options.Value.SummaryLifetime)
                {
                    _nodes.TryRemove(silo, out _); // silos that were replaced long ago
                    _sent.TryRemove(silo, out _);
                }
            }
        }
    }

    /// <summary>
    /// The node that a rendered prompt is sent on to; null: it stays at <paramref name="self"/>. Its blocks count as warm there from now on: the next turn may come before any summary tells of them.
    /// </summary>
    public string? Settle(RouteHints hints, RoutedPrompt prompt, string self, bool mayRedirect)
    {
        NodeSummary[] nodes = Nodes;
        string? better = mayRedirect ? Router.Better(nodes, hints, prompt, self, IsExpected) : null;
        if (Array.Find(nodes, node => node.Silo == (better ?? self))?.Find(hints.Model) is { } model && (string.IsNullOrEmpty(hints.Adapter) ? 0 : model.FindAdapter(hints.Adapter)?.Number) is { } adapter)
        {
            _sent.GetOrAdd(better ?? self, _ => new SentBlocks(_time, options.Value.SummaryLifetime)).Add(prompt.Blocks(model.BlockTokens, adapter));
        }

        return better;
    }

    /// <summary>Nodes that serve a model, running and waiting requests and how many of both there may be.</summary>
    public (int Nodes, int Running, int Waiting, int MaxRunning, int MaxWaiting) LoadOf(string model)
    {
        ModelSummary[] all = [.. Nodes.Select(node => node.Find(model)).OfType<ModelSummary>()];
        return (all.Length, all.Sum(m => m.Running), all.Sum(m => m.Waiting), all.Sum(m => m.MaxRunning), all.Sum(m => m.MaxWaiting));
    }

    private bool IsExpected(string silo, uint block) => _sent.TryGetValue(silo, out SentBlocks? sent) && sent.Contains(block);

    /// <summary>Blocks of prompts that were sent to a node lately.</summary>
    private sealed class SentBlocks(TimeProvider time, TimeSpan lifetime)
    {
        private readonly Dictionary<uint, long> _blocks = [];
        private int _sweepAt = 1024;

        public void Add(ulong[] blocks)
        {
            lock (_blocks)
            {
                long now = time.GetTimestamp();
                foreach (ulong block in blocks)
                {
                    _blocks[(uint)block] = now;
                }

                if (_blocks.Count > _sweepAt)
                {
                    foreach (uint old in _blocks.Where(pair => time.GetElapsedTime(pair.Value) > lifetime).Select(pair => pair.Key).ToArray())
                    {
                        _blocks.Remove(old);
                    }

                    _sweepAt = Math.Max(1024, 2 * _blocks.Count);
                }
            }
        }

        public bool Contains(uint block)
        {
            lock (_blocks)
            {
                return _blocks.TryGetValue(block, out long at) && time.GetElapsedTime(at) <= lifetime;
            }
        }
    }
}
