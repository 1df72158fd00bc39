using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Wire;
using Orleans;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Faults between callers and nodes. A silo that is cut off neither answers calls nor hears of others, as one whose process or network is gone.</summary>
internal sealed class NodeFaults
{
    private TaskCompletionSource _healed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Lock _lock = new();
    private int _left = -1;

    /// <summary>The silo that was cut off by <see cref="CutAfter"/>; null: not yet.</summary>
    public string? Cut { get; private set; }

    /// <summary>Cuts off the silo that is asked for the next batch of an answer after so many that had parts of it: those without depend on time.</summary>
    public void CutAfter(int batches)
    {
        lock (_lock)
        {
            (_left, Cut) = (batches, null);
        }
    }

    /// <summary>Lets through what was held up.</summary>
    public void Heal()
    {
        lock (_lock)
        {
            _healed.TrySetResult();
            (_healed, _left, Cut) = (new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously), -1, null);
        }
    }

    public async Task InvokeAsync(IIncomingGrainCallContext context, string silo)
    {
        if (context.Grain is IEntryGrain or INodeGrain && CutOff(silo, context.MethodName) is { } healed)
        {
            await healed;
        }

        await context.Invoke();
        if (context.Result is WireBatch { Parts.Length: > 0 })
        {
            lock (_lock)
            {
                _left -= _left > 0 ? 1 : 0;
            }
        }
    }

    private Task? CutOff(string silo, string method)
    {
        lock (_lock)
        {
            bool isBatch = method is "ReadAsync" or "BeginAsync" or "Read" or "Begin";
            if (isBatch && Cut is null && _left == 0)
            {
                Cut = silo;
            }

            return Cut == silo ? _healed.Task : null;
        }
    }
}
