namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Tasks shared out in ranges: each worker takes its own range from the front, so that it reads weights from end to end and knows what it will read next; one that is done
/// takes from the back of the longest range that is left, so that all end together.
/// </summary>
internal sealed class TaskRanges(int workers)
{
    // Each range has a cache line of its own, and the one beside it: first task and end, 32 bits each.
    private const int Apart = 16;

    private readonly long[] _ranges = new long[Apart * (workers + 1)];
    private int _tasks;

    public void Reset(int tasks)
    {
        _tasks = tasks;
        for (int worker = 0; worker < workers; worker++)
        {
            _ranges[Apart * worker] = Range(First(worker, tasks), First(worker + 1, tasks));
        }
    }

    /// <summary>First task of a worker's range.</summary>
    public int First(int worker, int tasks) => (int)((long)tasks * worker / workers);

    /// <summary>True if a task is followed by another of the worker's own range.</summary>
    public bool IsFollowed(int task, int worker) => task >= First(worker, _tasks) && task + 1 < First(worker + 1, _tasks);

    /// <summary>The next task for a worker. Each is taken once, so it must be called as many times as there are tasks.</summary>
    public int Take(int worker)
    {
        ref long own = ref _ranges[Apart * worker];
        for (long range = Volatile.Read(ref own); Length(range) > 0; range = Volatile.Read(ref own))
        {
            if (Interlocked.CompareExchange(ref own, Range(Begin(range) + 1, End(range)), range) == range)
            {
                return Begin(range);
            }
        }

        while (true)
        {
            ref long longest = ref _ranges[Longest()];
            long range = Volatile.Read(ref longest);
            if (Length(range) > 0 && Interlocked.CompareExchange(ref longest, Range(Begin(range), End(range) - 1), range) == range)
            {
                return End(range) - 1;
            }
        }
    }

    private int Longest()
    {
        int longest = 0;
        for (int i = 0; i < Apart * workers; i += Apart)
        {
            if (Length(Volatile.Read(ref _ranges[i])) > Length(Volatile.Read(ref _ranges[longest])))
            {
                longest = i;
            }
        }

        return longest;
    }

    private static long Range(int begin, int end) => (long)begin << 32 | (uint)end;

    private static int Begin(long range) => (int)(range >> 32);

    private static int End(long range) => (int)range;

    private static int Length(long range) => End(range) - Begin(range);
}
