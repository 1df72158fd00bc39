using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>What of the vocabulary may be taken as a whole in a lexer state, without walking it.</summary>
internal enum SliceKind : byte
{
    /// <summary>Nothing is known: walk.</summary>
    None,

    /// <summary>Every string-safe token is allowed; others have to be walked.</summary>
    Safe,

    /// <summary>String-safe tokens of up to so many characters are allowed; others have to be walked.</summary>
    SafeUpTo,

    /// <summary>Any string content and then the closing quote.</summary>
    Free,
}

/// <summary>
/// A deterministic automaton over bytes whose rows are filled when they are first needed. Only states from which an accepting one can be reached
/// exist; everything else is <see cref="Dead"/>. Not thread-safe: the grammar's lock guards it.
/// </summary>
internal abstract class Lexer(RegexArena arena)
{
    public const int Dead = -2;

    /// <summary>Transitions at or below end the lexeme, with the label <c>FinalBase - value</c>.</summary>
    public const int FinalBase = -3;

    /// <summary>Longer tokens are never part of a slice.</summary>
    public const int MaxSliceChars = 64;

    protected const int Unknown = -1;

    /// <summary>Rows that this thread ever made.</summary>
    [ThreadStatic]
    public static long RowsMade;

    private static readonly int[] s_noRow = Enumerable.Repeat(Unknown, 256).ToArray();

    private int[][] _rows = new int[16][];
    private SliceKind[] _slices = new SliceKind[16];
    private int[] _sliceLimits = new int[16];
    private bool[] _accepting = new bool[16];

    public int StateCount { get; private set; }

    /// <summary>Whether so many states are known that the transitions of further ones are not kept.</summary>
    public bool IsFull => arena.Rows >= arena.MaxRows;

    /// <summary>The state before the first byte. Never dead.</summary>
    public int Start { get; protected init; }

    /// <summary>The next state, <see cref="Dead"/>, or a final label.</summary>
    public int Next(int state, byte b)
    {
        int next = _rows[state][b];
        if (next == Unknown)
        {
            GrammarWork.Spend(GrammarWork.State);
            next = Compute(state, b);
            if (_rows[state] != s_noRow)
            {
                _rows[state][b] = next;
            }
        }

        return next;
    }

    public int[] Row(int state) => _rows[state];

    public virtual SliceKind Slice(int state) => _slices[state];

    public int SliceLimit(int state) => _sliceLimits[state];

    /// <summary>Whether the lexeme may end here without a closing byte (raw lexers).</summary>
    public bool IsAccepting(int state) => _accepting[state];

    /// <summary>How many different strings, at least, can come of what was read.</summary>
    public virtual long MinContinuations(int state) => 0;

    protected abstract int Compute(int state, byte b);

    protected int AddState(bool accepting, SliceKind slice, int sliceLimit)
    {
        if (StateCount == _rows.Length)
        {
            Array.Resize(ref _rows, StateCount * 2);
            Array.Resize(ref _slices, StateCount * 2);
            Array.Resize(ref _sliceLimits, StateCount * 2);
            Array.Resize(ref _accepting, StateCount * 2);
        }

        int[] row = s_noRow;
        if (!IsFull)
        {
            row = new int[256];
            row.AsSpan().Fill(Unknown);
            arena.Rows++;
            RowsMade++;
        }

        _rows[StateCount] = row;
        _slices[StateCount] = slice;
        _sliceLimits[StateCount] = sliceLimit;
        _accepting[StateCount] = accepting;
        return StateCount++;
    }
}

/// <summary>Accepts the texts of an expression, as they are (UTF-8) or as the inside of a JSON string with its closing quote.</summary>
internal sealed class RegexLexer : Lexer
{
    private readonly RegexArena _arena;
    private readonly CharPartition _partition;
    private readonly CharSpelling _spelling;
    private readonly Dictionary<(int, CharDecoder), int> _ids = [];
    private readonly List<(RegexTerm Term, CharDecoder Node)> _states = [];

    public RegexLexer(RegexArena arena, RegexTerm term, CharSpelling spelling)
        : base(arena)
    {
        _arena = arena;
        _spelling = spelling;
        _partition = arena.Partition(term);
        Start = StateOf(term, CharDecoder.Root);
    }

    /// <summary>What the state stands for: the expression that the rest must match, and the part of a character that was read.</summary>
    public (RegexTerm Term, CharDecoder Node) this[int state] => _states[state];

    /// <summary>The next step without a state being made: where many states would be needed once only. 0, <see cref="Lexer.Dead"/>, or a final label.</summary>
    public int Next((RegexTerm Term, CharDecoder Node) state, byte b, out (RegexTerm Term, CharDecoder Node) next)
    {
        GrammarWork.Spend(GrammarWork.State);
        (RegexTerm term, CharDecoder node) = next = state;
        if (b == (byte)'"' && node == CharDecoder.Root && _spelling != CharSpelling.Raw)
        {
            return term.Nullable ? FinalBase : Dead;
        }

        switch (CharDecoder.Step(node, b, _spelling, _partition, out CharDecoder nextNode, out int charClass))
        {
            case CharStep.Char:
                next = (_arena.Derive(term, _partition.Representative(charClass)), CharDecoder.Root);
                return _arena.IsLive(next.Term) ? 0 : Dead;
            case CharStep.Partial:
                next = (term, nextNode);
                return AnyLive(term, nextNode) ? 0 : Dead;
            default:
                return Dead;
        }
    }

    /// <summary>Whether the lexeme may end here without a closing byte.</summary>
    public bool IsAccepting((RegexTerm Term, CharDecoder Node) state) => state.Node == CharDecoder.Root && _spelling == CharSpelling.Raw && state.Term.Nullable;

    public override long MinContinuations(int state) =>
        Slice(state) is SliceKind.Free or SliceKind.Safe ? Cardinality.Plenty
        : _spelling != CharSpelling.Raw && _states[state].Node == CharDecoder.Root ? _arena.CountTexts(_states[state].Term, Cardinality.Plenty) : 0;

    protected override int Compute(int state, byte b)
    {
        int result = Next(_states[state], b, out (RegexTerm Term, CharDecoder Node) next);
        return result < 0 ? result : StateOf(next.Term, next.Node);
    }

    private bool AnyLive(RegexTerm term, CharDecoder node)
    {
        foreach (int c in node.Classes(_spelling, _partition))
        {
            if (_arena.IsLive(_arena.Derive(term, _partition.Representative(c))))
            {
                return true;
            }
        }

        return false;
    }

    private int StateOf(RegexTerm term, CharDecoder node)
    {
        if (_ids.TryGetValue((term.Id, node), out int id))
        {
            return id;
        }

        (SliceKind slice, int limit) = node == CharDecoder.Root && _spelling != CharSpelling.Raw ? SliceOf(_arena, term) : (SliceKind.None, 0);
        id = AddState(IsAccepting((term, node)), slice, limit);
        _states.Add((term, node));
        return _ids[(term.Id, node)] = id;
    }

    /// <summary>Which string-safe tokens keep a live expression live.</summary>
    public static (SliceKind Kind, int Limit) SliceOf(RegexArena arena, RegexTerm term)
    {
        if (term == arena.All)
        {
            return (SliceKind.Free, 0);
        }

        if (arena.IsSpan(term))
        {
            return term.Max < 0 || (term.Max >= MaxSliceChars && term.Max > term.Min) ? (SliceKind.Safe, 0)
                : term.Kind == RegexKind.Repeat && term.Max > 1 ? (SliceKind.SafeUpTo, term.Max) : (SliceKind.SafeUpTo, 1);
        }

        return IsUnlimited(arena, term) ? (SliceKind.Safe, 0) : (SliceKind.None, 0);
    }

    /// <summary>Whether any text may be followed by one that is accepted, as can be seen from the form of the expression.</summary>
    public static bool IsUnlimited(RegexArena arena, RegexTerm term) => term.Kind switch
    {
        RegexKind.Not => term.Kids[0].Finite,
        RegexKind.Repeat => arena.IsSpan(term) && term.Max < 0,
        RegexKind.Concat => term.Kids[0] == arena.All && !term.Kids[1].NeedsSearch,
        RegexKind.And => term.Kids.All(k => (k.Kind == RegexKind.Not || arena.IsSpan(k)) && IsUnlimited(arena, k)),
        RegexKind.Alt => term.Kids.Any(k => IsUnlimited(arena, k)),
        _ => false,
    };
}
