using System.Diagnostics;

namespace Gemma.Extensions.AI.Grammar.Budget;

/// <summary>
/// Counts a thread's work on grammars, in units of about 4 ns: a node of the vocabulary's trie is one. The count is the same on every
/// machine and under every load. Behind it there is a clock, because not everything is counted as long as it takes: it decides when a mask is ready, never what it holds.
/// </summary>
internal static class GrammarWork
{
    /// <summary>The state of an automaton: classes of characters are looked up, derivatives made.</summary>
    public const int State = 250;

    /// <summary>An expression, made or found again.</summary>
    public const int Term = 50;

    // About 5 s; the clock is looked at besides, because not everything is counted.
    private const long MaxCompile = 1_200_000_000;
    private const long Slice = 1_000_000;
    private const long UnitsPerLook = 20_000; // at the clock, where there is one
    private const long Uninterrupted = long.MaxValue / 2;
    private static readonly TimeSpan s_compileTime = TimeSpan.FromSeconds(10);

    [ThreadStatic]
    private static long t_left;

    [ThreadStatic]
    private static Limit? t_limit;

    // Of a budget: units beyond those of t_left, and when it ends by the clock.
    [ThreadStatic]
    private static long t_reserve;

    [ThreadStatic]
    private static Deadline t_deadline;

    /// <summary>True while a grammar is compiled on this thread. Then excessive complexity is refused; later it only takes longer.</summary>
    public static bool IsCompiling => t_limit is CompileLimit;

    /// <summary>Units that are left of the budget in force.</summary>
    public static long Left => Math.Min(Math.Max(0, t_left + t_reserve), t_deadline.UnitsLeft);

    /// <summary>Counts units; ends what is being done with an exception where the limit in force says so.</summary>
    public static void Spend(int units)
    {
        if ((t_left -= units) < 0)
        {
            Refill();
        }
    }

    /// <summary>Until the scope is disposed, work is limited as for a compilation, unless one is going on already.</summary>
    /// <exception cref="GrammarComplexityException">From within: the limit was exceeded.</exception>
    /// <exception cref="OperationCanceledException">From within: <paramref name="cancellation"/> was.</exception>
    public static Scope Compiling(CancellationToken cancellation = default) => IsCompiling ? Enter(t_limit, t_left) : Enter(new CompileLimit(cancellation, inSlices: false), 0);

    /// <summary>As <see cref="Compiling"/>, in <see cref="TimeSlices"/> with other such work: to be begun with <see cref="TimeSlices.Begin"/>, and ended with <see cref="TimeSlices.End"/>.</summary>
    public static Scope CompilingInSlices(CancellationToken cancellation) => Enter(new CompileLimit(cancellation, inSlices: true), 0);

    /// <summary>Until the scope is disposed, work ends with a <see cref="GrammarBudgetException"/> after so many units, or after the time that they stand for.</summary>
    /// <param name="units">The units.</param>
    /// <param name="clock">Tells the time in ticks of a <see cref="Stopwatch"/>; null where only units count.</param>
    public static Scope Within(long units, Func<long>? clock = null)
    {
        Scope scope = Enter(BudgetLimit.Instance, clock is null ? units : Math.Min(units, UnitsPerLook));
        (t_reserve, t_deadline) = (units - t_left, new Deadline(clock, units));
        return scope;
    }

    /// <summary>
    /// Until the scope is disposed, work goes on until <paramref name="stop"/> says otherwise, in <see cref="TimeSlices"/> with other such work: to be begun with
    /// <see cref="TimeSlices.Begin"/>, and ended with <see cref="TimeSlices.End"/>.
    /// </summary>
    public static Scope Until(CancellationToken stop) => Enter(new StopLimit(stop), Slice);

    /// <summary>Until the scope is disposed, nothing is interrupted: what is being done leaves data behind that must be whole.</summary>
    public static Scope Whole() => IsCompiling ? Enter(t_limit, t_left) : Enter(null, Uninterrupted);

    private static Scope Enter(Limit? limit, long left)
    {
        Scope scope = new(t_limit, t_left, t_reserve, t_deadline);
        (t_limit, t_left) = (limit, left);
        return scope;
    }

    private static void Refill() => t_left = t_limit is null ? long.MaxValue : t_limit.More(-t_left);

    /// <summary>A limit in force on the thread that made it.</summary>
    public readonly ref struct Scope
    {
        private readonly Limit? _limit;
        private readonly long _left;
        private readonly long _reserve;
        private readonly Deadline _deadline;

        internal Scope(object? limit, long left, long reserve, Deadline deadline) => (_limit, _left, _reserve, _deadline) = ((Limit?)limit, left, reserve, deadline);

        public void Dispose()
        {
            // Uninterruptible work counts too.
            long left = ReferenceEquals(t_limit, _limit) ? t_left : t_limit is null ? _left - (Uninterrupted - t_left) : _left;
            (t_limit, t_left, t_reserve, t_deadline) = (_limit, left, _reserve, _deadline);
        }
    }

    /// <summary>When a budget ends by the clock.</summary>
    internal readonly struct Deadline
    {
        private const double UnitSeconds = 4e-9;
        private const long MostUnits = 1L << 40; // more than an hour

        private readonly Func<long>? _clock;
        private readonly long _end;

        public Deadline(Func<long>? clock, long units)
        {
            _clock = clock;
            _end = clock is null ? 0 : clock() + (long)(Math.Min(units, MostUnits) * UnitSeconds * Stopwatch.Frequency);
        }

        /// <summary>Units that the time left allows.</summary>
        public long UnitsLeft => _clock is null ? long.MaxValue : Math.Max(0, (long)((_end - _clock()) / (UnitSeconds * Stopwatch.Frequency)));
    }

    private abstract class Limit
    {
        /// <summary>So many more units, or an exception.</summary>
        public abstract long More(long overdrawn);
    }

    private sealed class BudgetLimit : Limit
    {
        public static readonly BudgetLimit Instance = new();

        public override long More(long overdrawn)
        {
            t_reserve -= overdrawn;
            if (t_reserve <= 0 || t_deadline.UnitsLeft == 0)
            {
                t_reserve = 0;
                throw new GrammarBudgetException();
            }

            long units = Math.Min(t_reserve, UnitsPerLook);
            t_reserve -= units;
            return units;
        }
    }

    private sealed class StopLimit(CancellationToken stop) : Limit
    {
        public override long More(long overdrawn)
        {
            stop.ThrowIfCancellationRequested();
            TimeSlices.Yield();
            return Slice;
        }
    }

    private sealed class CompileLimit(CancellationToken cancellation, bool inSlices) : Limit
    {
        private long _sliceBegan = Stopwatch.GetTimestamp();
        private TimeSpan _taken; // without what others took in their turns
        private long _spent;

        public override long More(long overdrawn)
        {
            cancellation.ThrowIfCancellationRequested();
            _spent += Slice + overdrawn;
            if (_spent > MaxCompile)
            {
                throw new GrammarComplexityException($"compiling it takes more than {MaxCompile:N0} steps");
            }

            _taken += Stopwatch.GetElapsedTime(_sliceBegan);
            if (_taken >= s_compileTime)
            {
                throw new GrammarComplexityException($"compiling it takes longer than {s_compileTime.TotalSeconds} s");
            }

            if (inSlices)
            {
                TimeSlices.Yield(cancellation);
            }

            _sliceBegan = Stopwatch.GetTimestamp();
            return Slice;
        }
    }
}

/// <summary>
/// Work beside the engine's steps takes turns, in the order of waiting and on at most half the processors, so that a task of seconds does not delay one that
/// takes milliseconds.
/// </summary>
internal static class TimeSlices
{
    private static readonly LinkedList<TaskCompletionSource> s_waiting = [];
    private static int s_free = Math.Max(1, Environment.ProcessorCount / 2);

    /// <summary>Waits for a turn.</summary>
    /// <exception cref="OperationCanceledException">Cancelled; no turn was begun.</exception>
    public static void Begin(CancellationToken cancellation = default)
    {
        cancellation.ThrowIfCancellationRequested();
        LinkedListNode<TaskCompletionSource> mine;
        lock (s_waiting)
        {
            if (s_free > 0)
            {
                s_free--;
                return;
            }

            mine = Enqueue();
        }

        Wait(mine, cancellation);
    }

    /// <summary>Lets those go first that wait.</summary>
    /// <exception cref="OperationCanceledException">The turn is another's, but is to be ended all the same.</exception>
    public static void Yield(CancellationToken cancellation = default)
    {
        LinkedListNode<TaskCompletionSource> mine;
        lock (s_waiting)
        {
            if (s_waiting.Count == 0)
            {
                return;
            }

            mine = Enqueue();
            Next();
        }

        try
        {
            Wait(mine, cancellation);
        }
        catch (OperationCanceledException)
        {
            lock (s_waiting)
            {
                s_free--; // Who holds a turn ends one: this one is taken from the next that there is.
            }

            throw;
        }
    }

    /// <summary>Ends the turn.</summary>
    public static void End()
    {
        lock (s_waiting)
        {
            s_free++;
            while (s_free > 0 && s_waiting.Count > 0)
            {
                s_free--;
                Next();
            }
        }
    }

    private static LinkedListNode<TaskCompletionSource> Enqueue() => s_waiting.AddLast(new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

    private static void Next()
    {
        TaskCompletionSource next = s_waiting.First!.Value;
        s_waiting.RemoveFirst();
        next.SetResult();
    }

    private static void Wait(LinkedListNode<TaskCompletionSource> mine, CancellationToken cancellation)
    {
        try
        {
            mine.Value.Task.Wait(cancellation);
        }
        catch (OperationCanceledException)
        {
            lock (s_waiting)
            {
                if (mine.List is null)
                {
                    End(); // It had been given already.
                }
                else
                {
                    s_waiting.Remove(mine);
                }
            }

            throw;
        }
    }
}

/// <summary>The work that a mask may take in one step of the engine is spent. Never leaves the grammar's code: the mask is worked out beside the steps.</summary>
internal sealed class GrammarBudgetException : Exception;
