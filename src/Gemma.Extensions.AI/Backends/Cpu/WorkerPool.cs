using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>Work divided into numbered parts.</summary>
internal interface IParallelWork
{
    /// <param name="part">0 to the number of parts - 1; each is run once.</param>
    /// <param name="worker">0 to the number of workers - 1; unique among running threads, so it can select scratch memory.</param>
    void Run(int part, int worker);
}

/// <summary>
/// Threads that live as long as the backend. The caller is worker 0. Parts are handed out one by one, so a preempted thread delays only
/// the part it is working on. A thread without work spins for a short while (operations follow each other within microseconds during a forward
/// pass) and then sleeps: an idle engine uses no processor time. Running work allocates nothing.
/// </summary>
internal sealed unsafe class WorkerPool : IDisposable
{
    private const long OpenBit = 1L << 16;
    private const long GenerationUnit = 1L << 17;
    private const long ActiveMask = OpenBit - 1;

    // Long enough to bridge sampling and scheduling between two steps, short enough not to show as load.
    private static readonly long SpinTicks = System.Diagnostics.Stopwatch.Frequency / 2000;

    private readonly Thread[] _threads;
    private readonly object _gate = new();

    // Padded: the part counter is written by all workers, the state is spun on by all.
    private readonly PaddedCounters _counters = new();
    private delegate*<void*, int, int, void> _invoke;
    private void* _work;
    private int _parts;
    private ExceptionDispatchInfo? _failure;
    private volatile bool _stop;

    public WorkerPool(int count, string name = "gemma-worker")
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        Count = count;
        _threads = new Thread[count - 1];
        for (int i = 0; i < _threads.Length; i++)
        {
            int worker = i + 1;
            _threads[i] = new Thread(() => Loop(worker)) { IsBackground = true, Name = $"{name}-{worker}" };
            _threads[i].Start();
        }
    }

    /// <summary>Workers, the calling thread included.</summary>
    public int Count { get; }

    /// <summary>Runs all parts and returns when they are done. One caller at a time.</summary>
    public void Run<TWork>(ref TWork work, int parts)
        where TWork : struct, IParallelWork
    {
        if (parts <= 1 || Count == 1)
        {
            for (int part = 0; part < parts; part++)
            {
                work.Run(part, 0);
            }

            return;
        }

        // The struct is on the caller's stack, which outlives all parts: this method returns last.
        _work = Unsafe.AsPointer(ref work);
        _invoke = &Invoke<TWork>;
        _parts = parts;
        Volatile.Write(ref _counters.NextPart, 0);
        Interlocked.Exchange(ref _counters.State, (_counters.State & ~(OpenBit | ActiveMask)) + GenerationUnit + OpenBit);
        if (Volatile.Read(ref _counters.Sleeping) > 0)
        {
            lock (_gate)
            {
                Monitor.PulseAll(_gate);
            }
        }

        Drain(0);

        // Close the door: a worker that has not joined by now is not waited for.
        Interlocked.And(ref _counters.State, ~OpenBit);
        SpinWait spin = default;
        while ((Volatile.Read(ref _counters.State) & ActiveMask) != 0)
        {
            if (spin.Count < 20)
            {
                Thread.SpinWait(20);
                spin.SpinOnce(sleep1Threshold: -1);
            }
            else
            {
                Thread.Yield();
            }
        }

        if (_failure is { } failure)
        {
            _failure = null;
            failure.Throw();
        }
    }

    public void Dispose()
    {
        _stop = true;
        lock (_gate)
        {
            Monitor.PulseAll(_gate);
        }

        foreach (Thread thread in _threads)
        {
            thread.Join();
        }
    }

    private static void Invoke<TWork>(void* work, int part, int worker)
        where TWork : struct, IParallelWork => Unsafe.AsRef<TWork>(work).Run(part, worker);

    private void Drain(int worker)
    {
        try
        {
            int parts = _parts;
            for (int part = Interlocked.Increment(ref _counters.NextPart) - 1; part < parts; part = Interlocked.Increment(ref _counters.NextPart) - 1)
            {
                _invoke(_work, part, worker);
            }
        }
        catch (Exception exception)
        {
            Volatile.Write(ref _counters.NextPart, int.MaxValue / 2);
            Interlocked.CompareExchange(ref _failure, ExceptionDispatchInfo.Capture(exception), null);
        }
    }

    private void Loop(int worker)
    {
        long seen = 0;
        while (!_stop)
        {
            long state = WaitForWork(seen);
            if ((state & OpenBit) == 0)
            {
                continue;
            }

            if (Interlocked.CompareExchange(ref _counters.State, state + 1, state) != state)
            {
                continue;
            }

            seen = Generation(state);
            Drain(worker);
            Interlocked.Decrement(ref _counters.State);
        }
    }

    /// <summary>Returns a state with open work of another generation than <paramref name="seen"/>, or any state when stopping.</summary>
    private long WaitForWork(long seen)
    {
        long deadline = System.Diagnostics.Stopwatch.GetTimestamp() + SpinTicks;
        while (!_stop)
        {
            for (int i = 0; i < 64; i++)
            {
                long state = Volatile.Read(ref _counters.State);
                if (IsNew(state, seen))
                {
                    return state;
                }

                Thread.SpinWait(4);
            }

            if (System.Diagnostics.Stopwatch.GetTimestamp() < deadline)
            {
                continue;
            }

            lock (_gate)
            {
                Interlocked.Increment(ref _counters.Sleeping);
                while (!_stop && !IsNew(Volatile.Read(ref _counters.State), seen))
                {
                    Monitor.Wait(_gate);
                }

                Interlocked.Decrement(ref _counters.Sleeping);
            }
        }

        return 0;
    }

    private static bool IsNew(long state, long seen) => (state & OpenBit) != 0 && Generation(state) != seen;

    private static long Generation(long state) => state / GenerationUnit;

    [System.Runtime.InteropServices.StructLayout(System.Runtime.InteropServices.LayoutKind.Explicit, Size = 512)]
    private sealed class PaddedCounters
    {
        [System.Runtime.InteropServices.FieldOffset(128)]
        public long State;

        [System.Runtime.InteropServices.FieldOffset(256)]
        public int NextPart;

        [System.Runtime.InteropServices.FieldOffset(384)]
        public int Sleeping;
    }
}
