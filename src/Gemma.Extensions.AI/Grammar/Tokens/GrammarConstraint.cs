using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Tokens;

/// <summary>
/// One text under a <see cref="CompiledGrammar"/>. What is accepted is read, and the mask worked out, when it is asked for: within a budget in a step of the engine,
/// and beside its steps where that is not enough. The same tokens come out either way.
/// </summary>
internal sealed class GrammarConstraint : ITokenConstraint
{
    private static readonly Func<long> s_clock = System.Diagnostics.Stopwatch.GetTimestamp;

    private readonly CompiledGrammar _grammar;
    private readonly IReadOnlyList<int> _endTokens;
    private readonly TextHistory _history;
    private readonly List<ReadOnlyMemory<byte>> _unread = []; // what was accepted and the parse states have not read yet
    private ParseStateList _states = new();
    private (ParseStateList, ParseStateList) _scratch = (new(), new());
    private bool _begun;
    private bool _ended;
    private TokenMask? _mask; // of the next token, once it is known; shared
    private bool _canEnd;
    private Task? _work; // beside the engine's steps
    private CancellationTokenSource? _stop;

    public GrammarConstraint(CompiledGrammar grammar, IReadOnlyList<int> endTokens) => (_grammar, _endTokens, _history) = (grammar, endTokens, new TextHistory());

    private GrammarConstraint(GrammarConstraint from)
    {
        from.Join();
        (_grammar, _endTokens, _history, _begun, _ended) = (from._grammar, from._endTokens, from._history.Clone(), from._begun, from._ended);
        (_mask, _canEnd) = (from._mask, from._canEnd);
        _states.CopyFrom(from._states);
        _unread.AddRange(from._unread);
    }

    public Action? WhenPrepared { get; set; }

    /// <summary>True if the text is complete.</summary>
    public bool CanEnd
    {
        get
        {
            Prepare();
            return _ended || _canEnd;
        }
    }

    public bool TryPrepare(ref long budget)
    {
        if (_work is not null)
        {
            if (!_work.IsCompleted)
            {
                return false;
            }

            Join();
        }

        if (_mask is not null || _ended || TryPrepareNow(ref budget))
        {
            return true;
        }

        ReadOnBeside();
        return false;
    }

    public void Stop() => _stop?.Cancel();

    public bool TryFillMask(Span<ulong> mask)
    {
        Prepare();
        if (_ended)
        {
            mask.Clear();
        }
        else
        {
            _mask!.CopyTo(mask);
        }

        if (_ended || _canEnd)
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
        Read();
        if (_endTokens.Contains(token) && MayEnd())
        {
            return true;
        }

        byte[] bytes = _grammar.Vocabulary.Bytes(token);
        return !_ended && bytes.Length > 0 && IsAllowed(bytes);
    }

    /// <summary>True if the text may continue with these bytes.</summary>
    public bool IsAllowed(ReadOnlySpan<byte> bytes)
    {
        Read();
        lock (_grammar.Lock)
        {
            ParseStateList states = new();
            states.CopyFrom(_states);
            CompiledGrammar.Read(ref states, bytes, null, ref _scratch);
            return states.Count > 0;
        }
    }

    public void Accept(int token)
    {
        Join();
        bool ends = _endTokens.Contains(token) && MayEnd();
        byte[] bytes = _grammar.Vocabulary.Bytes(token);
        if (!ends && (_ended || bytes.Length == 0 || (_mask is not null && !_mask.Contains(token))))
        {
            throw new InvalidOperationException($"Token {token} is not allowed here. Ask TryFillMask or IsAllowed before Accept.");
        }

        if (ends)
        {
            _ended = true;
        }
        else if (_mask is null)
        {
            Accept(bytes);
        }
        else
        {
            _unread.Add(bytes);
        }

        _mask = null;
    }

    /// <summary>Begins with bytes that are known to be allowed.</summary>
    public void Begin(ReadOnlyMemory<byte> bytes) => _unread.Add(bytes);

    /// <summary>Advances by bytes, which must be allowed.</summary>
    public void Accept(ReadOnlyMemory<byte> bytes)
    {
        Join();
        _unread.Add(bytes);
        _mask = null;
        Read();
    }

    public int GetForcedTokens(Span<int> tokens, ref long budget)
    {
        // Only where the mask leaves one token is the choice independent of the model: a forced text can usually be split in several ways.
        int count = 0;
        GrammarConstraint at = this;
        while (count < tokens.Length && !at._ended)
        {
            if (!(ReferenceEquals(at, this) ? TryPrepare(ref budget) : at.TryPrepareNow(ref budget)) || at.SingleToken() is not (>= 0 and int token))
            {
                break;
            }

            tokens[count++] = token;
            if (_endTokens.Contains(token))
            {
                break;
            }

            at = ReferenceEquals(at, this) ? new GrammarConstraint(this) : at;
            at.Accept(token);
        }

        return count;
    }

    public ITokenConstraint Clone() => new GrammarConstraint(this);

    /// <summary>Computes the mask on another thread, beside the engine's steps. A method of its own because <see cref="TryPrepare"/> would allocate the closure on every call.</summary>
    private void ReadOnBeside()
    {
        CancellationTokenSource stop = _stop ??= new CancellationTokenSource();
        Action? whenPrepared = WhenPrepared;
        _work = Task.Factory.StartNew(
            () =>
            {
                try
                {
                    lock (_grammar.Lock)
                    {
                        TimeSlices.Begin();
                        try
                        {
                            using GrammarWork.Scope limits = GrammarWork.Until(stop.Token);
                            ReadOn();
                        }
                        finally
                        {
                            TimeSlices.End();
                        }
                    }
                }
                finally
                {
                    whenPrepared?.Invoke();
                }
            },
            CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    /// <summary>Works the mask out on this thread, unless others use the grammar or it takes more than the budget.</summary>
    private bool TryPrepareNow(ref long budget)
    {
        if (_mask is not null)
        {
            return true;
        }

        if (!_grammar.Lock.TryEnter())
        {
            return false;
        }

        try
        {
            using GrammarWork.Scope limits = GrammarWork.Within(budget, s_clock);
            try
            {
                ReadOn();
                return true;
            }
            catch (GrammarBudgetException)
            {
                return false;
            }
            finally
            {
                budget = GrammarWork.Left;
            }
        }
        finally
        {
            _grammar.Lock.Exit();
        }
    }

    /// <summary>Makes sure that the mask is known, however long that takes.</summary>
    private void Prepare()
    {
        Join();
        if (_mask is null && !_ended)
        {
            lock (_grammar.Lock)
            {
                ReadOn();
            }
        }
    }

    /// <summary>Waits for the work beside the steps, and rethrows its exception.</summary>
    private void Join()
    {
        if (_work is { } work)
        {
            try
            {
                work.GetAwaiter().GetResult();
            }
            finally
            {
                _work = null;
            }
        }
    }

    private bool MayEnd()
    {
        if (_ended || _mask is not null)
        {
            return _ended || _canEnd;
        }

        Read();
        lock (_grammar.Lock)
        {
            return CompiledGrammar.CanEnd(_states);
        }
    }

    private void Read()
    {
        Join();
        lock (_grammar.Lock)
        {
            ReadAccepted();
        }
    }

    /// <summary>Reads what was accepted, and works out the mask. The lock is held. May be interrupted, and begun again.</summary>
    private void ReadOn()
    {
        ReadAccepted();
        TokenMask mask = _grammar.MaskOf(_states, out _canEnd);
        _mask = mask;
    }

    private void ReadAccepted()
    {
        if (!_begun)
        {
            _states.Clear();
            _grammar.Begin(_states);
            _begun = true;
        }

        while (_unread.Count > 0)
        {
            CompiledGrammar.Read(ref _states, _unread[0].Span, _history, ref _scratch);
            _unread.RemoveAt(0);
            if (_states.Count == 0)
            {
                throw new InvalidOperationException("The text is not allowed by the grammar here. Ask TryFillMask or IsAllowed before Accept.");
            }
        }
    }

    /// <summary>The only token that may come, -1 where there are several. The mask is known.</summary>
    private int SingleToken()
    {
        if (!_mask!.IsSingle(out int only) && only >= 0)
        {
            return -1;
        }

        for (int i = 0; i < _endTokens.Count && _canEnd; i++)
        {
            if (only >= 0 && only != _endTokens[i])
            {
                return -1;
            }

            only = _endTokens[i];
        }

        return only;
    }
}
