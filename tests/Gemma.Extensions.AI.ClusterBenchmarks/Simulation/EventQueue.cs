namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>The clock of a simulation, and what is to happen by it: events at one time happen in the order in which they were planned, so a run repeats exactly.</summary>
internal sealed class EventQueue : TimeProvider
{
    private readonly PriorityQueue<Action, (long At, long Number)> _events = new();
    private long _now;
    private long _number;

    /// <summary>Seconds since the simulation began.</summary>
    public double Now => _now / 1e9;

    public override long TimestampFrequency => 1_000_000_000;

    public override long GetTimestamp() => _now;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch + TimeSpan.FromTicks(_now / 100);

    /// <summary>Plans an event.</summary>
    public void After(double seconds, Action action) => _events.Enqueue(action, (_now + (long)Math.Ceiling(Math.Max(0, seconds) * 1e9), _number++));

    /// <summary>Lets events happen until a time, which it is then.</summary>
    public void RunUntil(double seconds)
    {
        while (_events.TryPeek(out Action? action, out (long At, long Number) next) && next.At <= seconds * 1e9)
        {
            _events.Dequeue();
            _now = next.At;
            action();
        }

        _now = Math.Max(_now, (long)(seconds * 1e9));
    }
}
