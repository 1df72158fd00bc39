using System.Collections.Concurrent;
using Gemma.Extensions.AI.Engine;
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
    /// <summary>Most blocks that a summary tells of: about 20 kB.</summary>
    private const int MostWarmBlocks = 4096;

    private readonly ConcurrentDictionary<string, string> _adapters = new(adapterHashes, StringComparer.OrdinalIgnoreCase);
    private Task<ulong[]> _warm = Task.FromResult<ulong[]>([]);
    private uint[] _lastWarm = [];

    /// <summary>Calls that use it.</summary>
    public int Uses;

    public string Name => name;

    public GemmaModel Model => model;

    public string Identity => identity;

    /// <summary>Hashes of the adapters' files, by name.</summary>
    public ConcurrentDictionary<string, string> Adapters => _adapters;

    public string? IdentityWith(string? adapter) => string.IsNullOrEmpty(adapter) ? identity : _adapters.TryGetValue(adapter, out string? hash) ? $"{identity} adapter {hash}" : null;

    /// <summary>A word to the other nodes. Warm blocks are those of some time ago while the engine is within a long step: nobody waits for it.</summary>
    public ModelSummary Summarize()
    {
        EngineStatus status = model.Engine.Status;
        Task<ulong[]> warm = _warm; // another thread may begin the next question meanwhile
        if (warm.IsCompleted)
        {
            _lastWarm = warm.IsCompletedSuccessfully ? [.. warm.Result.Select(hash => (uint)hash)] : [];
            _warm = model.Engine.KeepsPrefixes && !status.Stopping ? model.Engine.WarmBlocksAsync(MostWarmBlocks) : Task.FromResult<ulong[]>([]);
        }

        return new ModelSummary
        {
            Name = name,
            Identity = identity,
            Adapters = [.. _adapters.Select(adapter => new AdapterSummary { Name = adapter.Key, Hash = adapter.Value, Number = model.FindAdapter(adapter.Key)!.Id })],
            Running = status.Running,
            Waiting = status.Waiting,
            MaxRunning = status.MaxRunning,
            MaxWaiting = status.MaxWaiting,
            AvailableBlocks = status.FreeBlocks + status.CachedBlocks,
            BlockTokens = model.Engine.BlockTokens,
            Warm = _lastWarm,
        };
    }
}

/// <summary>A call's use of a model.</summary>
internal sealed class ModelUse(HostedModel hosted, NodeModels models) : IDisposable
{
    public HostedModel Hosted => hosted;

    public GemmaModel Model => hosted.Model;

    public void Dispose() => models.Release(hosted);
}
