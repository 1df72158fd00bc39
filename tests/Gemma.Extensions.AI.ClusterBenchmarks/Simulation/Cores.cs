namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>Processor cores that threads share evenly, each thread one core at most: what takes a second of a core takes longer while there are more threads than cores.</summary>
internal sealed class Cores(EventQueue events, double count)
{
    private readonly PriorityQueue<Action, (double Finish, long Number)> _jobs = new();
    private double _done; // work that each thread has been given since the beginning
    private double _at;
    private long _number;
    private long _version;

    private double Rate => _jobs.Count == 0 ? 0 : Math.Min(1, count / _jobs.Count);

    /// <summary>Has a thread compute.</summary>
    /// <param name="work">Seconds on a core of its own.</param>
    /// <param name="then">What happens after it.</param>
    public void Run(double work, Action then)
    {
        if (work <= 0)
        {
            then();
            return;
        }

        Advance();
        _jobs.Enqueue(then, (_done + work, _number++));
        Plan();
    }

    private void Advance()
    {
        _done += (events.Now - _at) * Rate;
        _at = events.Now;
    }

    private void Plan()
    {
        if (_jobs.TryPeek(out _, out (double Finish, long Number) next))
        {
            long version = ++_version;
            events.After((next.Finish - _done) / Rate, () => Finish(version));
        }
    }

    private void Finish(long version)
    {
        if (version != _version)
        {
            return; // another thread has come or gone since
        }

        Advance();
        List<Action> finished = [];
        while (_jobs.TryPeek(out Action? then, out (double Finish, long Number) next) && next.Finish <= _done + 1e-9)
        {
            _jobs.Dequeue();
            finished.Add(then);
        }

        Plan();
        finished.ForEach(then => then());
    }
}
