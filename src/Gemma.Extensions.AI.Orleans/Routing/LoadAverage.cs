namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>
/// Requests that run at a node, averaged over the last second or so. Answers may be shorter than the time between two summaries: told as it is at a moment, the load of nodes that are equally busy would seem to
/// differ by whole batches, and conversations would be sent to and fro.
/// </summary>
internal sealed class LoadAverage(TimeProvider time)
{
    private const double Seconds = 1;

    private readonly Lock _lock = new();
    private double _average;
    private int _running;
    private long _at = time.GetTimestamp();

    /// <summary>Says how many run from now on. Returns the average until now.</summary>
    public double Observe(int running)
    {
        lock (_lock)
        {
            long now = time.GetTimestamp();
            _average += (_running - _average) * (1 - Math.Exp(-time.GetElapsedTime(_at, now).TotalSeconds / Seconds));
            (_running, _at) = (running, now);
            return _average;
        }
    }
}
