using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>
/// A compiled grammar over one vocabulary. Shared by requests: its automata grow as texts reach new states, and the masks of states are kept
/// (both bounded).
/// </summary>
internal sealed class Grammar
{
    // A full mask of 256,000 tokens takes 32 KB.
    private const long MaxCachedBytes = 24L << 20;

    private readonly Symbol[] _start;
    private readonly MaskBuilder _masks;
    private readonly Dictionary<StateKey, ulong[]> _cache = [];
    private readonly Dictionary<int, int[]> _forbidden = [];
    private long _cachedBytes;

    internal Grammar(VocabularyTrie vocabulary, params Symbol[] start)
    {
        Vocabulary = vocabulary;
        _start = start;
        _masks = new MaskBuilder(vocabulary);
    }

    public VocabularyTrie Vocabulary { get; }

    /// <summary>Bytes of the masks that are kept.</summary>
    public long CachedBytes => Volatile.Read(ref _cachedBytes);

    internal Lock Lock { get; } = new();

    /// <summary>A new text under the grammar, ended by any of <paramref name="endTokens"/>.</summary>
    public ITokenConstraint CreateConstraint(IReadOnlyList<int> endTokens) => new GrammarConstraint(this, endTokens);

    /// <summary>Keeps, for each number of marker bytes read, the tokens that may not complete the marker (tool calls).</summary>
    internal int[] ForbiddenCompletions(int matched, Func<int, int[]> find)
    {
        lock (Lock)
        {
            return _forbidden.TryGetValue(matched, out int[]? known) ? known : _forbidden[matched] = find(matched);
        }
    }

    /// <summary>The threads before the first byte.</summary>
    internal ThreadList Begin()
    {
        ThreadList threads = new();
        lock (Lock)
        {
            SequenceFrame.Enter(_start, 0, null, threads);
        }

        return threads;
    }

    /// <summary>The tokens that the threads can read. The lock is held.</summary>
    internal ReadOnlySpan<ulong> MaskOf(ThreadList threads)
    {
        if (_cache.TryGetValue(new StateKey(threads), out ulong[]? mask))
        {
            return mask;
        }

        mask = new ulong[Vocabulary.MaskWords];
        _masks.Fill(threads, mask);
        long size = 8L * mask.Length;
        if (_cachedBytes + size > MaxCachedBytes)
        {
            _cache.Clear();
            _cachedBytes = 0;
        }

        ThreadList key = new();
        key.CopyFrom(threads);
        _cache[new StateKey(key)] = mask;
        _cachedBytes += size;
        return mask;
    }

    /// <summary>Whether the text may end.</summary>
    internal static bool CanEnd(ThreadList threads)
    {
        foreach (ref readonly Thread thread in threads.Span)
        {
            if (CanEnd(thread))
            {
                return true;
            }
        }

        return false;
    }

    private static bool CanEnd(in Thread thread)
    {
        if (thread.Frame is null)
        {
            return true;
        }

        if (!thread.Frame.CanEnd(thread.State))
        {
            return false;
        }

        ThreadList after = new();
        Frame.Finish(thread.Frame.Parent, after);
        return CanEnd(after);
    }

    /// <summary>Replaces the threads by those after one more byte. The lock is held.</summary>
    internal static void Step(ThreadList threads, byte b, ThreadList next)
    {
        next.Clear();
        foreach (ref readonly Thread thread in threads.Span)
        {
            thread.Frame?.Step(thread.State, thread.Used, b, next);
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
                if (a.State != b.State || a.Used != b.Used || !Frame.Same(a.Frame, b.Frame))
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
            }

            return hash.ToHashCode();
        }
    }
}

/// <summary>One text under a <see cref="Grammar"/>.</summary>
internal sealed class GrammarConstraint : ITokenConstraint
{
    private readonly Grammar _grammar;
    private readonly IReadOnlyList<int> _endTokens;
    private readonly TextHistory _history;
    private ThreadList _threads;
    private ThreadList _next = new();
    private bool _ended;

    public GrammarConstraint(Grammar grammar, IReadOnlyList<int> endTokens)
    {
        (_grammar, _endTokens, _history) = (grammar, endTokens, new TextHistory());
        _threads = grammar.Begin();
    }

    private GrammarConstraint(GrammarConstraint from)
    {
        (_grammar, _endTokens, _history, _ended) = (from._grammar, from._endTokens, from._history.Clone(), from._ended);
        _threads = new ThreadList();
        _threads.CopyFrom(from._threads);
    }

    /// <summary>Whether the text is complete as it stands.</summary>
    public bool CanEnd
    {
        get
        {
            lock (_grammar.Lock)
            {
                return _ended || Grammar.CanEnd(_threads);
            }
        }
    }

    public bool TryFillMask(Span<ulong> mask)
    {
        bool canEnd;
        lock (_grammar.Lock)
        {
            ReadOnlySpan<ulong> allowed = _ended ? [] : _grammar.MaskOf(_threads);
            int words = Math.Min(allowed.Length, mask.Length);
            allowed[..words].CopyTo(mask);
            mask[words..].Clear();
            canEnd = _ended || Grammar.CanEnd(_threads);
        }

        if (canEnd)
        {
            foreach (int token in _endTokens)
            {
                mask[token >> 6] |= 1UL << token;
            }
        }
        else if (!mask.ContainsAnyExcept(0UL))
        {
            throw new GemmaException("The grammar allows no token of this vocabulary here. The vocabulary cannot spell the text that the grammar demands.");
        }

        return true;
    }

    public bool IsAllowed(int token)
    {
        lock (_grammar.Lock)
        {
            if (_endTokens.Contains(token) && (_ended || Grammar.CanEnd(_threads)))
            {
                return true;
            }

            byte[] bytes = _grammar.Vocabulary.Bytes(token);
            return !_ended && bytes.Length > 0 && IsAllowed(bytes);
        }
    }

    public void Accept(int token)
    {
        lock (_grammar.Lock)
        {
            if (_endTokens.Contains(token) && (_ended || Grammar.CanEnd(_threads)))
            {
                _ended = true;
                return;
            }

            if (_ended || _grammar.Vocabulary.Bytes(token) is not { Length: > 0 } bytes)
            {
                throw new InvalidOperationException($"Token {token} is not allowed here. Ask TryFillMask or IsAllowed before Accept.");
            }

            Accept(bytes);
        }
    }

    /// <summary>Whether a text may go on with these bytes.</summary>
    public bool IsAllowed(ReadOnlySpan<byte> bytes)
    {
        lock (_grammar.Lock)
        {
            ThreadList threads = new(), next = new();
            threads.CopyFrom(_threads);
            foreach (byte b in bytes)
            {
                Grammar.Step(threads, b, next);
                (threads, next) = (next, threads);
            }

            return threads.Count > 0;
        }
    }

    /// <summary>Advances by bytes, which must be allowed.</summary>
    public void Accept(ReadOnlySpan<byte> bytes)
    {
        lock (_grammar.Lock)
        {
            _next.History = _threads.History = _history;
            foreach (byte b in bytes)
            {
                _history.Append(b);
                Grammar.Step(_threads, b, _next);
                (_threads, _next) = (_next, _threads);
            }

            _next.History = _threads.History = null;
            if (_threads.Count == 0)
            {
                throw new InvalidOperationException("The text is not allowed by the grammar here. Ask TryFillMask or IsAllowed before Accept.");
            }
        }
    }

    public int GetForcedTokens(Span<int> tokens)
    {
        // Only where the mask leaves one token is the choice independent of the model: a forced text can usually be split in several ways.
        int count = 0;
        ulong[]? mask = null;
        GrammarConstraint? ahead = null;
        while (count < tokens.Length && (ahead ?? this).SingleToken(mask ??= new ulong[_grammar.Vocabulary.MaskWords]) is >= 0 and int token)
        {
            tokens[count++] = token;
            if (_endTokens.Contains(token))
            {
                break;
            }

            ahead ??= new GrammarConstraint(this);
            ahead.Accept(token);
        }

        return count;
    }

    public ITokenConstraint Clone() => new GrammarConstraint(this);

    private int SingleToken(Span<ulong> mask)
    {
        if (_ended)
        {
            return -1;
        }

        TryFillMask(mask);
        int token = -1;
        for (int i = 0; i < mask.Length; i++)
        {
            if (mask[i] == 0)
            {
                continue;
            }

            if (token >= 0 || System.Numerics.BitOperations.PopCount(mask[i]) > 1)
            {
                return -1;
            }

            token = (i << 6) + System.Numerics.BitOperations.TrailingZeroCount(mask[i]);
        }

        return token;
    }
}
