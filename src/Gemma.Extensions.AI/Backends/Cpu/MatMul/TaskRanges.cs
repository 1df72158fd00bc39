namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Tasks shared out in ranges: each worker takes its own range from the front, so that it reads weights from end to end and knows what it will read next; one that is done
/// takes from the back of the longest range that is left, so that all end together. An eighth of what is left of a range is taken at once, and one task at the end:
/// taking each task by itself cost a tenth of the time of a token (two threads, Zen 5), since a task of a single row takes a microsecond.
/// </summary>
internal sealed class TaskRanges(int workers)
{
    // Each range has a cache line of its own, and the one beside it: first task and end, 32 bits each.
    private const int Apart = 16;

    private const int Share = 8;

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

    /// <summary>True if the task before <paramref name="end"/> is followed by another of the worker's own range.</summary>
    public bool IsFollowed(int end, int worker) => end > First(worker, _tasks) && end < First(worker + 1, _tasks);

    /// <summary>The next tasks for a worker. Each is taken once, whoever asks how often.</summary>
    /// <param name="worker">The worker.</param>
    /// <param name="first">Receives the first of them.</param>
    /// <param name="end">Receives the end of them.</param>
    /// <returns>False if all are taken.</returns>
    public bool TryTake(int worker, out int first, out int end)
    {
        ref long own = ref _ranges[Apart * worker];
        for (long range = Volatile.Read(ref own); Length(range) > 0; range = Volatile.Read(ref own))
        {
            (first, end) = (Begin(range), Begin(range) + Some(range));
            if (Interlocked.CompareExchange(ref own, Range(end, End(range)), range) == range)
            {
                return true;
            }
        }

        while (true)
        {
            ref long longest = ref _ranges[Longest()];
            long range = Volatile.Read(ref longest);
            (first, end) = (End(range) - Some(range), End(range));
            if (Length(range) == 0)
            {
                return false;
            }

            if (Interlocked.CompareExchange(ref longest, Range(Begin(range), first), range) == range)
            {
                return true;
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

    private static int Some(long range) => Math.Max(1, Length(range) / Share);
}
