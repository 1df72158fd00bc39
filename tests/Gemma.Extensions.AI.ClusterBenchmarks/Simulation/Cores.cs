namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>Processor cores that threads share evenly, each thread one core at most: what takes a second of a core takes longer while there are more threads than cores.</summary>
/// <param name="events">The clock.</param>
/// <param name="count">Cores.</param>
/// <param name="beside">How many times as long everything takes while more than one core computes: they share caches, memory, and on some machines more than that.</param>
internal sealed class Cores(EventQueue events, double count, double beside = 1)
{
    private readonly PriorityQueue<Action, (double Finish, long Number)> _jobs = new();
    private double _done; // work that each thread has been given since the beginning
    private double _at;
    private long _number;
    private long _version;

    private double Rate => _jobs.Count == 0 ? 0 : Math.Min(1, count / _jobs.Count) / (count > 1 && _jobs.Count > 1 ? beside : 1);

    /// <summary>Threads of a pool of a process that has these cores.</summary>
    public int Threads => (int)Math.Clamp(count, 1, 64);

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

/// <summary>Threads of a process that take jobs in turn, as a thread pool has them.</summary>
/// <param name="cores">Where they compute.</param>
/// <param name="threads">Jobs at a time; the others wait.</param>
/// <param name="wake">Seconds of a core that a job takes besides where all threads sleep and one has to be woken for it.</param>
internal sealed class Pool(Cores cores, int threads, double wake = 0)
{
    private readonly Queue<(double Work, Action Then)> _waiting = new();
    private int _busy;

    /// <summary>Seconds of a core that all its jobs took.</summary>
    public double Worked { get; private set; }

    /// <summary>Has the next free thread compute.</summary>
    /// <param name="work">Seconds on a core of its own.</param>
    /// <param name="then">What happens after it.</param>
    public void Run(double work, Action then)
    {
        if (work <= 0)
        {
            then();
            return;
        }

        _waiting.Enqueue((_busy == 0 ? work + wake : work, then));
        Take();
    }

    private void Take()
    {
        if (_busy == threads || !_waiting.TryDequeue(out (double Work, Action Then) job))
        {
            return;
        }

        _busy++;
        Worked += job.Work;
        cores.Run(job.Work, () =>
        {
            _busy--;
            job.Then();
            Take();
        });
    }
}
