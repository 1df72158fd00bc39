using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Orleans.Routing;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>Sizes of a simulated node.</summary>
/// <param name="Blocks">Blocks of key/value memory.</param>
/// <param name="MaxTokens">Most tokens of a sequence.</param>
/// <param name="Engine">Options of the engine; nothing is guessed ahead.</param>
internal sealed record NodeSize(int Blocks, int MaxTokens, EngineOptions Engine);

/// <summary>
/// A node that computes nothing but does everything else: the engine's own scheduler, key/value bookkeeping and prefix tree decide what each step has, and the step takes as long as one of its rows was
/// measured to take.
/// </summary>
internal sealed class SimulatedNode
{
    private readonly EventQueue _events;
    private readonly Cores _cores;
    private readonly StepTimes _times;
    private readonly NodeSize _size;
    private readonly KvCache _cache;
    private readonly Scheduler _scheduler;
    private readonly ForwardBatch _batch;
    private readonly Queue<Sequence> _inbox = new();
    private readonly LoadAverage _load;
    private int _accepted;
    private int _begun; // requests since the last step
    private bool _isBusy;
    private long _submitted;

    public SimulatedNode(string silo, EventQueue events, Cores cores, StepTimes times, NodeSize size, double wake = 0)
    {
        Talk = new Pool(cores, cores.Threads, wake);
        (Silo, _events, _cores, _times, _size) = (silo, events, cores, times, size);
        _cache = new KvCache(new NoMemory(new KvLayout(1, 1, 32, size.Engine.BlockTokens, GemmaKvCacheType.F16), size.Blocks), times.Window, keepPrefixes: true);
        _load = new LoadAverage(events);
        _scheduler = new Scheduler(_cache, size.Engine);
        _batch = new ForwardBatch(Scheduler.MaxRows(size.Engine), size.Engine.MaxConcurrentRequests);
    }

    public string Silo { get; }

    /// <summary>The threads that talk; the engine has one of its own.</summary>
    public Pool Talk { get; }

    public EngineStatus Status => new(
        false, false, _scheduler.Running.Count, Math.Max(0, _accepted - _scheduler.Running.Count), _size.Engine.MaxConcurrentRequests, _size.Engine.MaxQueuedRequests,
        _cache.Blocks.Count, _cache.Blocks.FreeCount, _cache.Blocks.IdleCount, _scheduler.Preemptions)
    {
        Arriving = _inbox.Count,
    };

    /// <summary>Seconds of a core that all steps took.</summary>
    public double Computed { get; private set; }

    /// <summary>Requests that ran of late.</summary>
    public double Load => _load.Observe(_scheduler.Running.Count);

    /// <summary>Has the node do what it does without calls, on average.</summary>
    /// <param name="share">Part of a core that it takes.</param>
    public void Idle(double share)
    {
        const double Interval = 0.05;
        if (share > 0)
        {
            _cores.Run(share * Interval, () => { });
            _events.After(Interval, () => Idle(share));
        }
    }

    public ulong[] WarmBlocks(int most) => _cache.Tree.Hashes(most);

    /// <summary>Queues a call. False: the queue is full.</summary>
    public bool TrySubmit(SimulatedCall call)
    {
        if (_accepted >= _size.Engine.MaxConcurrentRequests + _size.Engine.MaxQueuedRequests)
        {
            return false;
        }

        _accepted++;
        GenerationRequest request = new() { Prompt = call.Prompt, Sink = call, MaxOutputTokens = call.Answer.Length };
        _inbox.Enqueue(new Sequence(request, _size.MaxTokens, int.MaxValue, _size.Engine.BlockTokens, 0, ++_submitted));
        if (!_isBusy)
        {
            Step();
        }

        return true;
    }

    private void Step()
    {
        while (_inbox.TryDequeue(out Sequence? sequence))
        {
            _scheduler.Add(sequence);
            _begun++;
        }

        _scheduler.Plan(_batch);
        _load.Observe(_scheduler.Running.Count);
        _isBusy = _batch.Rows > 0;
        if (_isBusy)
        {
            double began = _events.Now;
            int drawn = _scheduler.Planned.Count(sequence => sequence.StepRows == sequence.Pending);
            double work = _times.Of(_batch, drawn) + (_times.Request * _begun);
            Computed += work;
            _cores.Run(work, () => Finish(began));
            _begun = 0;
        }
        else if (_scheduler.HasWork)
        {
            throw new InvalidOperationException($"{Silo} has work that it can never do: a sequence needs more than its {_size.Blocks} blocks.");
        }
    }

    private void Finish(double began)
    {
        List<Sequence> ended = [];
        foreach (Sequence sequence in _scheduler.Planned)
        {
            _cache.Commit(sequence.Blocks, sequence.Tokens[..(sequence.Computed + sequence.StepRows)]);
            if (sequence.Pending == 0)
            {
                SimulatedCall call = (SimulatedCall)sequence.Request.Sink;
                int token = call.Answer[sequence.GeneratedCount];
                sequence.Append(token);
                call.OnToken(token);
                if (sequence.Count == sequence.MaxTokens)
                {
                    ended.Add(sequence);
                }
            }
        }

        _scheduler.Observe(_batch.Rows, _events.Now - began);
        _scheduler.Forget(_batch);
        foreach (Sequence sequence in ended)
        {
            _scheduler.Remove(sequence);
            _accepted--;
            sequence.Request.Sink.OnCompleted(new GenerationResult(EngineFinish.Length, sequence.PromptCount, sequence.GeneratedCount, Math.Min(sequence.CachedTokens, sequence.PromptCount)));
        }

        Step();
    }

    private sealed class NoMemory(KvLayout layout, int blockCount) : KvPool(layout, blockCount)
    {
        public override void CopyBlock(int source, int destination)
        {
        }

        public override void ReadBlock(int block, Span<byte> destination) => throw new NotSupportedException("A simulated node keeps no keys and values.");

        public override void WriteBlock(int block, ReadOnlySpan<byte> source) => throw new NotSupportedException("A simulated node keeps no keys and values.");

        public override void Dispose()
        {
        }
    }
}
