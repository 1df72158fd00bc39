using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;
using Orleans;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Faults between callers and nodes. A silo that is cut off neither answers calls nor hears of others, as one whose process or network is gone.</summary>
internal sealed class NodeFaults
{
    private TaskCompletionSource _healed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private readonly Dictionary<Guid, int> _batches = [];
    private int? _most;

    /// <summary>The silo that was cut off by <see cref="CutAfter"/>; null: not yet.</summary>
    public string? Cut { get; private set; }

    /// <summary>Holds up what takes a way to a node (<see cref="NodePlacement.KeyOf"/>), as a gateway does that is gone; null: nothing.</summary>
    public int? LostWay { get; set; }

    /// <summary>Cuts off the silo that an attempt asks for more after so many batches with parts of the answer: those without depend on time.</summary>
    public void CutAfter(int batches)
    {
        lock (_lock)
        {
            (_most, Cut) = (batches, null);
            _batches.Clear();
        }
    }

    /// <summary>Lets through what was held up.</summary>
    public void Heal()
    {
        lock (_lock)
        {
            _healed.TrySetResult();
            (_healed, _most, Cut, LostWay) = (new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), null, null, null);
        }
    }

    public async Task InvokeAsync(IIncomingGrainCallContext context, string silo)
    {
        Guid? attempt = context.Grain is not (IEntryGrain or INodeGrain) || context.Request.GetArgumentCount() == 0 ? null
            : context.Request.GetArgument(0) switch { WireRequest request => request.Attempt, Guid guid when context.Request.GetArgumentCount() == 2 => guid, _ => null };
        if (context.Grain is IEntryGrain or INodeGrain && CutOff(silo, attempt) is { } healed)
        {
            await healed;
        }

        if (context.Grain is INodeGrain && LostWay is { } way && attempt is not null && context.TargetId.Key.ToString() == NodePlacement.KeyOf(silo, way))
        {
            await Healed();
        }

        await context.Invoke();
        if (attempt is { } read && context.Result is WireBatch { Parts.Length: > 0 })
        {
            lock (_lock)
            {
                _batches[read] = _batches.GetValueOrDefault(read) + 1;
            }
        }
    }

    private Task Healed()
    {
        lock (_lock)
        {
            return _healed.Task;
        }
    }

    private Task? CutOff(string silo, Guid? attempt)
    {
        lock (_lock)
        {
            if (attempt is { } asking && Cut is null && _batches.GetValueOrDefault(asking) == _most)
            {
                Cut = silo;
            }

            return Cut == silo ? _healed.Task : null;
        }
    }
}
