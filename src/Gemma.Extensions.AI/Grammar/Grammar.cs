using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>
/// A compiled grammar over one vocabulary. Shared by requests: its automata grow as texts reach new states, and the masks of states are kept
/// (both bounded).
/// </summary>
internal sealed class Grammar
{
    // Rules that end one after another without a byte.
    private const int MaxEnds = 20_000;

    // Fewer threads are stepped one by one.
    private const int MaxAlone = 64;

    // A full mask of 256,000 tokens takes 32 KB.
    private const long MaxCachedBytes = 24L << 20;

    private readonly Symbol[] _start;
    private readonly MaskBuilder _masks;
    private readonly Dictionary<StateKey, (ulong[] Mask, bool CanEnd)> _cache = [];
    private ulong[]? _spare; // of a mask that was interrupted
    private long _cachedBytes;
    private long _rowBytes;

    internal Grammar(VocabularyTrie vocabulary, params Symbol[] start)
    {
        Vocabulary = vocabulary;
        _start = start;
        _masks = new MaskBuilder(vocabulary);
    }

    public VocabularyTrie Vocabulary { get; }

    /// <summary>Bytes of the masks, and of the automata's transitions, that are kept.</summary>
    public long CachedBytes => Volatile.Read(ref _cachedBytes) + Volatile.Read(ref _rowBytes);

    internal Lock Lock { get; } = new();

    /// <summary>By number of marker bytes read, the tokens that may not complete the marker (tool calls).</summary>
    internal int[][]? ForbiddenCompletions { get; set; }

    /// <summary>A new text under the grammar, ended by any of <paramref name="endTokens"/>.</summary>
    public ITokenConstraint CreateConstraint(IReadOnlyList<int> endTokens) => new GrammarConstraint(this, endTokens);

    /// <summary>The threads before the first byte. The lock is held.</summary>
    internal void Begin(ThreadList threads) => SequenceFrame.Enter(_start, 0, null, threads);

    /// <summary>Works out the first mask, so that a grammar for which that is too much is refused and not begun.</summary>
    internal void Prepare()
    {
        lock (Lock)
        {
            ThreadList threads = new();
            Begin(threads);
            if (threads.Overflowed)
            {
                throw new GrammarComplexityException($"the text can begin in more than {ThreadList.MaxThreads:N0} ways");
            }

            MaskOf(threads, out _);
        }
    }

    /// <summary>The tokens that the threads can read, and whether the text may end. Allocates nothing where the threads were asked for before. The lock is held.</summary>
    internal ulong[] MaskOf(ThreadList threads, out bool canEnd)
    {
        if (_cache.TryGetValue(new StateKey(threads), out (ulong[] Mask, bool CanEnd) known))
        {
            canEnd = known.CanEnd;
            return known.Mask;
        }

        // What items of unique arrays may not become is taken away from what they could be without that.
        ThreadList? free = WithoutWatches(threads);
        ulong[] all = free is null ? [] : MaskOf(free, out _);
        ulong[] mask = _spare ??= new ulong[Vocabulary.MaskWords];
        Array.Clear(mask);
        all.CopyTo(mask, 0);
        long rows = Lexer.RowsMade;
        try
        {
            if (free is null)
            {
                _masks.Fill(threads, mask);
            }
            else
            {
                _masks.Restrict(threads, mask);
            }
        }
        finally
        {
            _rowBytes += (Lexer.RowsMade - rows) * 1024;
        }

        _spare = null;
        long size = 8L * mask.Length;
        if (_cachedBytes + size > MaxCachedBytes)
        {
            _cache.Clear();
            _cachedBytes = 0;
        }

        canEnd = CanEnd(threads);
        ThreadList key = new();
        key.CopyFrom(threads);
        _cache[new StateKey(key)] = (mask, canEnd);
        _cachedBytes += size;
        return mask;
    }

    private static ThreadList? WithoutWatches(ThreadList threads)
    {
        bool watched = false;
        foreach (ref readonly Thread thread in threads.Span)
        {
            watched |= thread.Watch is not null;
        }

        if (!watched)
        {
            return null;
        }

        ThreadList free = new();
        foreach (ref readonly Thread thread in threads.Span)
        {
            free.Add(thread with { Watch = null });
        }

        return free;
    }

    /// <summary>Whether the text may end. The lock is held.</summary>
    internal static bool CanEnd(ThreadList threads)
    {
        if (threads.HasEnd)
        {
            return true;
        }

        ThreadList? ends = null;
        foreach (ref readonly Thread thread in threads.Span)
        {
            if (thread.Frame!.CanEnd(thread.State))
            {
                ends ??= new ThreadList { Limit = MaxEnds, IsTrying = true };
                ends.Watch = thread.Watch;
                Frame.Finish(thread.Frame.Parent, ends);
                ends.Watch = null;
                ends.AddEnds();
                if (ends.HasEnd || ends.Overflowed)
                {
                    return ends.HasEnd;
                }
            }
        }

        return false;
    }

    /// <summary>
    /// Replaces the threads by those after some more bytes; none: the bytes are not allowed. The lock is held. When it is interrupted, the threads are as before.
    /// </summary>
    /// <param name="threads">Before and after.</param>
    /// <param name="bytes">What is read.</param>
    /// <param name="history">The text so far, to which the bytes are added; null while trying tokens.</param>
    /// <param name="scratch">Two lists that are overwritten.</param>
    internal static void Read(ref ThreadList threads, ReadOnlySpan<byte> bytes, TextHistory? history, ref (ThreadList A, ThreadList B) scratch)
    {
        int length = history?.Length ?? 0;
        try
        {
            (ThreadList from, ThreadList to) = (threads, scratch.A);
            bool overflowed = false;
            foreach (byte b in bytes)
            {
                history?.Append(b);
                to.Clear();
                to.History = history;
                if (from.Count > MaxAlone)
                {
                    ThreadList all = new() { Limit = 2 * ThreadList.MaxThreads, History = history, Ahead = 1 };
                    all.CopyFrom(from);
                    all.AddEnds();
                    all.StepAll(b, to);
                }
                else
                {
                    foreach (ref readonly Thread thread in from.Span)
                    {
                        to.Step(thread, b);
                    }
                }

                overflowed |= to.Overflowed;
                (from, to) = (to, ReferenceEquals(to, scratch.A) ? scratch.B : scratch.A);
            }

            if (from.Count == 0 && overflowed)
            {
                // Of all ways those were left out that read on to the end.
                history?.Truncate(length);
                from.Clear();
                new ThreadSearch(bytes, history, from).Search(threads.Span, 0);
                foreach (byte b in bytes)
                {
                    history?.Append(b);
                }
            }

            if (ReferenceEquals(from, scratch.A))
            {
                scratch.A = threads;
            }
            else if (ReferenceEquals(from, scratch.B))
            {
                scratch.B = threads;
            }

            threads = from;
        }
        catch
        {
            history?.Truncate(length);
            throw;
        }
        finally
        {
            threads.History = scratch.A.History = scratch.B.History = null;
        }
    }

    private readonly struct StateKey(ThreadList threads) : IEquatable<StateKey>
    {
        private readonly ThreadList _threads = threads;

        public bool Equals(StateKey other)
        {
            if (_threads.Count != other._threads.Count)
            {
                return false;
            }

            for (int i = 0; i < _threads.Count; i++)
            {
                ref readonly Thread a = ref _threads[i];
                ref readonly Thread b = ref other._threads[i];
                if (a.State != b.State || a.Used != b.Used || !Equals(a.Watch, b.Watch) || !Frame.Same(a.Frame, b.Frame))
                {
                    return false;
                }
            }

            return true;
        }

        public override bool Equals(object? obj) => obj is StateKey other && Equals(other);

        public override int GetHashCode()
        {
            HashCode hash = new();
            foreach (ref readonly Thread thread in _threads.Span)
            {
                hash.Add(thread.Frame?.Hash ?? 0);
                hash.Add(thread.State);
                hash.Add(thread.Used);
                hash.Add(thread.Watch);
            }

            return hash.ToHashCode();
        }
    }
}

/// <summary>Looks for the ways in which bytes can be read to the end, one after another, where there are too many to follow all at once.</summary>
internal ref struct ThreadSearch(ReadOnlySpan<byte> bytes, TextHistory? history, ThreadList found)
{
    private const int MaxSeen = 400_000;

    private readonly ReadOnlySpan<byte> _bytes = bytes;
    private readonly ThreadList?[] _seen = new ThreadList?[bytes.Length + 1];
    private int _seenCount;

    /// <summary>Adds what the threads become that read the bytes from <paramref name="depth"/> on.</summary>
    public void Search(ReadOnlySpan<Thread> threads, int depth)
    {
        ThreadList seen = _seen[depth] ??= new ThreadList { Limit = int.MaxValue };
        foreach (Thread thread in threads)
        {
            if (found.Overflowed || (found.Count > 0 && _seenCount > MaxSeen))
            {
                return;
            }

            if (depth == _bytes.Length)
            {
                found.Add(thread);
                continue;
            }

            int before = seen.Count;
            seen.Add(thread);
            if (seen.Count == before || thread.Frame is null)
            {
                continue;
            }

            _seenCount++;
            history?.Append(_bytes[depth]);
            ThreadList next = new() { History = history };
            next.Step(thread, _bytes[depth]);
            Search(next.Span, depth + 1);
            history?.Truncate(history.Length - 1);
        }
    }
}
