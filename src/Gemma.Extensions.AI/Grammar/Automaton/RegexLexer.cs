using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>Accepts the texts of an expression, as plain UTF-8 or as the content of a JSON string including the closing quote.</summary>
internal sealed class RegexLexer : Lexer
{
    private readonly RegexArena _arena;
    private readonly CharPartition _partition;
    private readonly CharSpelling _spelling;
    private readonly Dictionary<(int, CharDecoder), int> _ids = [];
    private readonly List<(RegexTerm Term, CharDecoder Node)> _states = [];
    private ByteClasses? _bytes;

    public RegexLexer(RegexArena arena, RegexTerm term, CharSpelling spelling)
        : base(arena)
    {
        _arena = arena;
        _spelling = spelling;
        _partition = arena.Partition(term);
        Start = StateOf(term, CharDecoder.Root);
    }

    public override bool IsQuoted => _spelling != CharSpelling.Raw;

    /// <summary>The meaning of a state: the expression for the rest of the text, and the part of a character read so far.</summary>
    public (RegexTerm Term, CharDecoder Node) this[int state] => _states[state];

    private ByteClasses Bytes => _bytes ??= ByteClasses.Of(_partition, _spelling);

    /// <summary>One step without allocating a state, for walks whose states would be used only once. Returns 0, <see cref="Lexer.Dead"/>, or a final label.</summary>
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

    /// <summary>True if the lexeme may end here without a closing byte.</summary>
    public bool IsAccepting((RegexTerm Term, CharDecoder Node) state) => state.Node == CharDecoder.Root && _spelling == CharSpelling.Raw && state.Term.Nullable;

    public override long MinContinuations(int state) =>
        Slice(state) is SliceKind.Free or SliceKind.Safe ? Cardinality.Plenty
        : _spelling != CharSpelling.Raw && _states[state].Node == CharDecoder.Root ? _arena.CountTexts(_states[state].Term, Cardinality.Plenty) : 0;

    protected override int Compute(int state, byte b)
    {
        int result = Next(_states[state], b, out (RegexTerm Term, CharDecoder Node) next);
        return result < 0 ? result : StateOf(next.Term, next.Node);
    }

    protected override void Enter(int[] row, int state, byte b, int next)
    {
        foreach (byte alike in Bytes.Alike(_states[state].Node, b))
        {
            row[alike] = next;
        }
    }

    protected override bool IsBetweenChars(int state) => _states[state].Node == CharDecoder.Root;

    protected override bool LeadsBeyondAscii(int state, int next)
    {
        foreach (int charClass in Bytes.BeyondAscii)
        {
            RegexTerm after = _arena.Derive(_states[state].Term, _partition.Representative(charClass));
            if (!_arena.IsLive(after) || StateOf(after, CharDecoder.Root) != next)
            {
                return false;
            }
        }

        return true;
    }

    private bool AnyLive(RegexTerm term, CharDecoder node)
    {
        foreach (int c in Bytes.ClassesOf(node))
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

    /// <summary>The string-safe tokens that keep a live expression live.</summary>
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

    /// <summary>True if every text can be extended to an accepted one, as far as the form of the expression shows.</summary>
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
