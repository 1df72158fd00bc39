using System.Collections.Concurrent;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Orleans.Routing;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>The models of this silo's node, by their names in the cluster.</summary>
internal sealed class NodeModels : IDisposable
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, HostedModel> _models = new(StringComparer.OrdinalIgnoreCase);

    public HostedModel[] All
    {
        get
        {
            lock (_lock)
            {
                return [.. _models.Values];
            }
        }
    }

    /// <summary>The model of a name, kept until the use is disposed; null: there is none.</summary>
    public ModelUse? TryUse(string name)
    {
        lock (_lock)
        {
            if (!_models.TryGetValue(name, out HostedModel? hosted))
            {
                return null;
            }

            hosted.Uses++;
            return new ModelUse(hosted, this);
        }
    }

    /// <summary>Puts a model in the place of a name, or takes the name away. Returns what was there, which goes on with what it has begun.</summary>
    public HostedModel? Swap(string name, HostedModel? model)
    {
        lock (_lock)
        {
            _models.Remove(name, out HostedModel? before);
            if (model is not null)
            {
                _models[name] = model;
            }

            return before;
        }
    }

    /// <summary>Ends a use.</summary>
    public void Release(HostedModel model)
    {
        lock (_lock)
        {
            model.Uses--;
        }
    }

    /// <summary>Ends when nobody uses a model that was taken away any more, and disposes it.</summary>
    public async Task DisposeUnusedAsync(HostedModel model)
    {
        while (Volatile.Read(ref model.Uses) > 0)
        {
            await Task.Delay(20).ConfigureAwait(false);
        }

        model.Model.Dispose();
    }

    public void Dispose()
    {
        foreach (HostedModel model in All)
        {
            Swap(model.Name, null)?.Model.Dispose();
        }
    }
}

/// <summary>A loaded model under its name in the cluster.</summary>
internal sealed class HostedModel(string name, GemmaModel model, string identity, IEnumerable<KeyValuePair<string, string>> adapterHashes)
{
    private readonly ConcurrentDictionary<string, HostedAdapter> _adapters =
        new(adapterHashes.Select(adapter => KeyValuePair.Create(adapter.Key, new HostedAdapter(adapter.Value, model.FindAdapter(adapter.Key)!))), StringComparer.OrdinalIgnoreCase);

    private readonly LoadAverage _load = new(TimeProvider.System);
    private Task<ulong[]> _warm = Task.FromResult<ulong[]>([]);
    private ulong[] _lastWarm = [];

    /// <summary>Calls that use it.</summary>
    public int Uses;

    public string Name => name;

    public GemmaModel Model => model;

    public string Identity => identity;

    /// <summary>Tells the others of an adapter that was loaded.</summary>
    /// <param name="adapter">Its name.</param>
    /// <param name="hash">Hash of its file.</param>
    public void AddAdapter(string adapter, string hash) => _adapters[adapter] = new HostedAdapter(hash, model.FindAdapter(adapter)!);

    /// <summary>Tells the others no longer of an adapter that is about to be unloaded.</summary>
    public void RemoveAdapter(string adapter) => _adapters.TryRemove(adapter, out _);

    /// <summary>The identity of answers with an adapter of a name; null where there is none.</summary>
    public string? IdentityWith(string? adapter) => string.IsNullOrEmpty(adapter) ? identity : _adapters.TryGetValue(adapter, out HostedAdapter? found) ? $"{identity} adapter {found.Hash}" : null;

    /// <summary>The identity of an answer that computes with these weights, or without; null where they have been taken away, or are not announced yet: another adapter may have their name.</summary>
    public string? IdentityOf(LoraWeights? weights) => weights is null ? identity : _adapters.Values.FirstOrDefault(adapter => adapter.Weights == weights) is { } found ? $"{identity} adapter {found.Hash}" : null;

    /// <summary>Keeps the average load, again and again.</summary>
    public void Observe() => _load.Observe(model.Engine.Status.Running);

    /// <summary>
    /// Blocks that a summary tells of: 4,096 at most, about 20 kB. Each node tells each other, so from a hundred nodes on they are fewer, and what a node sends and receives stays at about 4 MB/s: those used last, which
    /// running conversations will ask for.
    /// </summary>
    /// <param name="nodes">Silos of the cluster.</param>
    public static int MostWarmBlocks(int nodes) => Math.Clamp(409_600 / Math.Max(1, nodes), 256, 4096);

    /// <summary>Asks the engine which blocks are warm, for a cluster of so many silos. Ends when it has said so, which may be a long step later, or at once where it is asked already.</summary>
    public Task RefreshAsync(int nodes)
    {
        Task<ulong[]> warm = _warm;
        if (warm.IsCompleted)
        {
            try
            {
                warm = model.Engine.KeepsPrefixes && !model.Engine.Status.Stopping ? model.Engine.WarmBlocksAsync(MostWarmBlocks(nodes)) : Task.FromResult<ulong[]>([]);
            }
            catch (Exception e) when (e is ObjectDisposedException or GemmaException)
            {
                warm = Task.FromResult<ulong[]>([]); // it is being unloaded, or has failed
            }

            _warm = warm;
        }

        return warm;
    }

    /// <summary>A word to the other nodes. Warm blocks are those of some time ago while the engine is within a long step: nobody waits for it.</summary>
    public ModelSummary Summarize()
    {
        EngineStatus status = model.Engine.Status;
        Task<ulong[]> warm = _warm; // another thread may begin the next question meanwhile
        _lastWarm = warm.IsCompletedSuccessfully ? warm.Result : _lastWarm;
        return Summarize(name, identity, [.. _adapters.Select(adapter => new AdapterSummary { Name = adapter.Key, Hash = adapter.Value.Hash, Number = adapter.Value.Weights.Id })], status, model.Engine.BlockTokens, _lastWarm, _load.Observe(status.Running));
    }

    /// <summary>The summary of an engine's state. Requests that came during a step and find a place in the next count as running: for half a second, nodes would be thought busy that are not.</summary>
    public static ModelSummary Summarize(string name, string identity, AdapterSummary[] adapters, EngineStatus status, int blockTokens, ulong[] warm, double load)
    {
        int arriving = Math.Clamp(status.MaxRunning - status.Running, 0, Math.Min(status.Arriving, status.Waiting));
        return new ModelSummary
        {
            Name = name,
            Identity = identity,
            Adapters = adapters,
            Running = status.Running + arriving,
            Waiting = status.Waiting - arriving,
            MaxRunning = status.MaxRunning,
            MaxWaiting = status.MaxWaiting,
            AvailableBlocks = status.FreeBlocks + status.CachedBlocks,
            Fill = 1 - (status.FreeBlocks / (float)Math.Max(1, status.Blocks)),
            BlockTokens = blockTokens,
            Warm = [.. warm.Select(hash => (uint)hash).Order()],
            Load = (float)load,
        };
    }

    private sealed record HostedAdapter(string Hash, LoraWeights Weights);
}

/// <summary>A call's use of a model.</summary>
internal sealed class ModelUse(HostedModel hosted, NodeModels models) : IDisposable
{
    public HostedModel Hosted => hosted;

    public GemmaModel Model => hosted.Model;

    public void Dispose() => models.Release(hosted);
}
