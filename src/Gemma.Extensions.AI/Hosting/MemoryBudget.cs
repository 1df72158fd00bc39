namespace Gemma.Extensions.AI.Hosting;

/// <summary>
/// The memory that the models of a service provider share. A model that needs more than is left has others unloaded, the one first that was not used for the longest time; while all
/// are in use, it waits for one to be free.
/// </summary>
internal sealed class MemoryBudget
{
    private readonly object _lock = new();
    private readonly Dictionary<ModelReference, long> _held = [];

    /// <summary>Has waiting loads look again.</summary>
    public void Pulse()
    {
        lock (_lock)
        {
            Monitor.PulseAll(_lock);
        }
    }

    /// <summary>Makes room for a model, which holds it until it is not loaded any more.</summary>
    /// <param name="wanted">The model that is about to be loaded.</param>
    /// <param name="bytes">What it needs.</param>
    /// <param name="budget">What all may take together.</param>
    /// <param name="models">The models that share the budget.</param>
    /// <param name="cancellation">Gives up.</param>
    /// <exception cref="GemmaMemoryException">It does not fit, whatever is unloaded.</exception>
    /// <exception cref="OperationCanceledException">Given up, or nobody waits for the model any more.</exception>
    public void Reserve(ModelReference wanted, long bytes, long budget, IEnumerable<ModelReference> models, CancellationToken cancellation)
    {
        using CancellationTokenRegistration wake = cancellation.Register(Pulse);
        while (true)
        {
            ModelReference? oldest;
            lock (_lock)
            {
                cancellation.ThrowIfCancellationRequested();
                if (TryReserve(wanted, bytes, budget))
                {
                    return;
                }

                if (!wanted.IsInUse && !wanted.IsKept)
                {
                    throw new OperationCanceledException("Nobody waits for the model any more.");
                }

                oldest = models.Where(other => _held.ContainsKey(other) && !other.IsInUse && !other.IsKept && other.Loaded is not null).MinBy(static other => other.LastUsed);
                if (oldest is null)
                {
                    Monitor.Wait(_lock, TimeSpan.FromSeconds(1));
                    continue;
                }
            }

            oldest.TryUnload()?.GetAwaiter().GetResult(); // not within the lock: models that were freed take it
        }
    }

    private bool TryReserve(ModelReference wanted, long bytes, long budget)
    {
        foreach (ModelReference gone in _held.Keys.Where(other => other == wanted || !other.IsLoadedOrLoading).ToArray())
        {
            _held.Remove(gone);
        }

        if (bytes <= budget - _held.Values.Sum())
        {
            _held[wanted] = bytes;
            return true;
        }

        long kept = _held.Where(static other => other.Key.IsKept).Sum(static other => other.Value);
        return bytes <= budget - kept ? false : throw new GemmaMemoryException(
            $"'{wanted.Path}' needs {bytes:N0} bytes, but {nameof(GemmaOptions)}.{nameof(GemmaOptions.MemoryBudget)} is {budget:N0}{(kept > 0 ? $", of which {kept:N0} are taken by models that the application keeps" : "")}. "
            + "Raise it, or take a smaller type of the model or a shorter context.", bytes, budget - kept);
    }
}
