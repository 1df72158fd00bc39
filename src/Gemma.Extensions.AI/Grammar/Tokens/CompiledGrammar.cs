using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Tokens;

/// <summary>
/// A compiled grammar over one vocabulary. Shared by requests: its automata grow as texts reach new states, and the masks of states are kept
/// (both bounded).
/// </summary>
internal sealed class CompiledGrammar
{
    // Rules that end one after another without a byte.
    private const int MaxEnds = 20_000;

    // Fewer parse states are stepped one by one.
    private const int MaxAlone = 64;

    private const long MaxCachedBytes = 24L << 20;

    private readonly Symbol[] _start;
    private readonly MaskBuilder _masks;
    private readonly Dictionary<StateKey, (TokenMask Mask, bool CanEnd)> _cache = [];
    private ulong[]? _marks; // of the mask that is being made
    private long _cachedBytes;
    private long _rowBytes;

    internal CompiledGrammar(VocabularyTrie vocabulary, params Symbol[] start)
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

    /// <summary>The parse states before the first byte. The lock is held.</summary>
    internal void Begin(ParseStateList states) => SequenceFrame.Enter(_start, 0, null, states);

    /// <summary>Computes the first mask, so that a grammar too expensive even for that is refused rather than begun.</summary>
    internal void Prepare()
    {
        lock (Lock)
        {
            ParseStateList states = new();
            Begin(states);
            if (states.Overflowed)
            {
                throw new GrammarComplexityException($"the text can begin in more than {ParseStateList.MaxStates:N0} ways");
            }

            MaskOf(states, out _);
        }
    }

    /// <summary>The tokens that the parse states can read, and whether the text may end. Allocates nothing where the parse states were asked for before. The lock is held.</summary>
    internal TokenMask MaskOf(ParseStateList states, out bool canEnd)
    {
        if (_cache.TryGetValue(new StateKey(states), out (TokenMask Mask, bool CanEnd) known))
        {
            canEnd = known.CanEnd;
            return known.Mask;
        }

        // Start without the guards of unique items, then remove the tokens that they forbid.
        ParseStateList? free = WithoutGuards(states);
        TokenMask? all = free is null ? null : MaskOf(free, out _);
        ulong[] marks = _marks ??= new ulong[Vocabulary.MaskWords];
        long rows = Lexer.RowsMade, frames = Frame.Kept;
        ulong[]? slice = null;
        try
        {
            if (all is null)
            {
                Array.Clear(marks);
                slice = _masks.Fill(states, marks);
            }
            else
            {
                all.CopyTo(marks);
                slice = all.Slice;
                _masks.Restrict(states, marks);
            }
        }
        finally
        {
            _rowBytes += (Lexer.RowsMade - rows) * Lexer.RowBytes;
        }

        canEnd = CanEnd(states);
        TokenMask mask = TokenMask.Of(marks, slice);
        ParseStateList key = new();
        key.CopyFrom(states);

        // The frames of the key know those that come after them.
        long size = 256 + mask.Size + (40L * key.Count) + ((Frame.Kept - frames) * Frame.KeptBytes);
        if (_cachedBytes + size > MaxCachedBytes)
        {
            _cache.Clear();
            _cachedBytes = 0;
        }

        _cache[new StateKey(key)] = (mask, canEnd);
        _cachedBytes += size;
        return mask;
    }

    private static ParseStateList? WithoutGuards(ParseStateList states)
    {
        if (!states.IsGuarded)
        {
            return null;
        }

        ParseStateList free = new();
        foreach (ref readonly ParseState parseState in states.Span)
        {
            free.Add(parseState with { Guard = null });
        }

        return free;
    }

    /// <summary>True if the text may end. The lock is held.</summary>
    internal static bool CanEnd(ParseStateList states)
    {
        if (states.HasEnd)
        {
            return true;
        }

        ParseStateList? ends = null;
        foreach (ref readonly ParseState parseState in states.Span)
        {
            if (parseState.Frame!.CanEnd(parseState.State))
            {
                ends ??= new ParseStateList { Limit = MaxEnds, IsTrying = true };
                ends.Guard = parseState.Guard;
                Frame.Finish(parseState.Frame.Parent, ends);
                ends.Guard = null;
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
    /// Replaces the parse states by those after some more bytes; none are left if the bytes are not allowed. The lock is held. If interrupted, the states are unchanged.
    /// </summary>
    /// <param name="states">Before and after.</param>
    /// <param name="bytes">What is read.</param>
    /// <param name="history">The text so far, to which the bytes are added; null while trying tokens.</param>
    /// <param name="scratch">Two lists that are overwritten.</param>
    internal static void Read(ref ParseStateList states, ReadOnlySpan<byte> bytes, TextHistory? history, ref (ParseStateList A, ParseStateList B) scratch)
    {
        int length = history?.Length ?? 0;
        try
        {
            (ParseStateList from, ParseStateList to) = (states, scratch.A);
            bool overflowed = false;
            foreach (byte b in bytes)
            {
                history?.Append(b);
                Step(from, b, history, to);
                overflowed |= to.Overflowed;
                (from, to) = (to, ReferenceEquals(to, scratch.A) ? scratch.B : scratch.A);
            }

            if (from.Count == 0 && overflowed)
            {
                // Of all ways those were left out that read on to the end.
                history?.Truncate(length);
                from.Clear();
                new ParseStateSearch(bytes, history, from).Search(states.Span, 0);
                foreach (byte b in bytes)
                {
                    history?.Append(b);
                }
            }

            if (ReferenceEquals(from, scratch.A))
            {
                scratch.A = states;
            }
            else if (ReferenceEquals(from, scratch.B))
            {
                scratch.B = states;
            }

            states = from;
        }
        catch
        {
            history?.Truncate(length);
            throw;
        }
        finally
        {
            states.History = scratch.A.History = scratch.B.History = null;
        }
    }

    /// <summary>Replaces a list by the parse states of another one after a byte, the last of the history.</summary>
    private static void Step(ParseStateList from, byte b, TextHistory? history, ParseStateList to)
    {
        to.Clear();
        to.History = history;
        if (from.Count > MaxAlone)
        {
            ParseStateList all = new() { Limit = 2 * ParseStateList.MaxStates, History = history, Ahead = 1 };
            all.CopyFrom(from);
            all.AddEnds();
            all.StepAll(b, to);
            return;
        }

        foreach (ref readonly ParseState parseState in from.Span)
        {
            to.Step(parseState, b);
        }
    }

    private readonly struct StateKey(ParseStateList states) : IEquatable<StateKey>
    {
        private readonly ParseStateList _states = states;

        public bool Equals(StateKey other)
        {
            if (_states.Count != other._states.Count)
            {
                return false;
            }

            for (int i = 0; i < _states.Count; i++)
            {
                if (!ParseState.Same(_states[i], other._states[i]))
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
            foreach (ref readonly ParseState parseState in _states.Span)
            {
                hash.Add(parseState);
            }

            return hash.ToHashCode();
        }
    }
}
