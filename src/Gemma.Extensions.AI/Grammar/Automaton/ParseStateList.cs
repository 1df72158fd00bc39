using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>The distinct parse states of one text.</summary>
internal sealed class ParseStateList
{
    /// <summary>
    /// Limit of parse states followed at once. Dropping the rest is safe: whatever the others allow is valid, and each of them can be finished.
    /// </summary>
    public const int MaxStates = 2_000;

    private const int MaxCompared = 12; // up to here a linear search beats the table
    private ParseState[] _items = new ParseState[4];
    private int[] _table = []; // of indices + 1, by hash
    private int _indexed;
    private UniqueItemsGuard? _guard;
    private bool _behind; // the guard has yet to read the byte; it is read lazily, since most bytes lead nowhere
    private byte _byte;
    private int _ended; // parse states whose ends have been added

    /// <summary>Limit of parse states kept.</summary>
    public int Limit { get; init; } = MaxStates;

    public int Count { get; private set; }

    /// <summary>True if the text is complete in one of the parse states.</summary>
    public bool HasEnd { get; private set; }

    /// <summary>True if parse states were dropped since the list was cleared.</summary>
    public bool Overflowed { get; private set; }

    /// <summary>The text including the byte being read; null while tokens are tried.</summary>
    public TextHistory? History { get; set; }

    /// <summary>Bytes of the history that the parse states have not read.</summary>
    public int Ahead { get; init; }

    /// <summary>Keeps parse states even if no way is known for items of unique arrays to become new ones.</summary>
    public bool IsTrying { get; init; }

    /// <summary>The guard of the states being added, after the byte being read.</summary>
    public UniqueItemsGuard? Guard
    {
        get
        {
            if (_behind)
            {
                _guard = GuardBefore?.Step(_byte);
                _behind = false;
            }

            return _guard;
        }

        set => (_guard, _behind) = (value, false);
    }

    /// <summary>Before that byte.</summary>
    public UniqueItemsGuard? GuardBefore { get; private set; }

    /// <summary>True if parse states were dropped because an item would repeat.</summary>
    public bool Blocked { get; set; }

    /// <summary>True if an item may still repeat an earlier one in one of the parse states.</summary>
    public bool IsGuarded
    {
        get
        {
            foreach (ref readonly ParseState parseState in Span)
            {
                if (parseState.Guard is not null)
                {
                    return true;
                }
            }

            return false;
        }
    }

    public ref readonly ParseState this[int index] => ref _items[index];

    public ReadOnlySpan<ParseState> Span => _items.AsSpan(0, Count);

    public void Clear()
    {
        Count = 0;
        Overflowed = HasEnd = Blocked = false;
        _ended = 0;
        if (_indexed > 0)
        {
            Array.Clear(_table);
            _indexed = 0;
        }
    }

    public void Add(Frame? frame, int state, int used = -1)
    {
        if (Guard is not null && frame is not null && !IsTrying && !Guard.CanDiffer(frame, state, used))
        {
            Blocked = true;
            return;
        }

        Add(new ParseState(frame, state, used, Guard));
    }

    /// <summary>Adds a parse state as it is.</summary>
    public void Add(in ParseState parseState)
    {
        HasEnd |= parseState.Frame is null;
        if (Contains(parseState))
        {
            return;
        }

        if (Count >= Limit)
        {
            Overflowed = true;
            return;
        }

        if (Count == _items.Length)
        {
            Array.Resize(ref _items, Count * 2);
        }

        _items[Count++] = parseState;
    }

    public void CopyFrom(ParseStateList other)
    {
        Clear();
        if (_items.Length < other.Count)
        {
            _items = new ParseState[other.Count];
        }

        other.Span.CopyTo(_items);
        Count = other.Count;
        HasEnd = other.HasEnd;
    }

    /// <summary>Adds the successors of all parse states that may end here, transitively.</summary>
    public void AddEnds()
    {
        for (; _ended < Count && !Overflowed; _ended++)
        {
            ParseState parseState = _items[_ended];
            if (parseState.Frame?.CanEnd(parseState.State) ?? false)
            {
                Guard = parseState.Guard;
                Frame.Finish(parseState.Frame.Parent, this);
                Guard = null;
            }
        }
    }

    /// <summary>Adds the parse states after one more byte; <see cref="AddEnds"/> came before.</summary>
    public void StepAll(byte b, ParseStateList next)
    {
        for (int i = 0; i < Count; i++)
        {
            next.Step(_items[i], b, ended: true);
        }

        next.Blocked |= Blocked;
    }

    /// <summary>Adds the successors of a parse state for one byte.</summary>
    /// <param name="parseState">The parse state, of another list.</param>
    /// <param name="b">The byte.</param>
    /// <param name="ended">True if the states after the end of a lexeme are in the list already.</param>
    public void Step(in ParseState parseState, byte b, bool ended = false)
    {
        (UniqueItemsGuard? outerBefore, UniqueItemsGuard? outer, bool outerBehind) = (GuardBefore, _guard, _behind);
        (GuardBefore, _guard, _behind, _byte) = (parseState.Guard, null, parseState.Guard is not null, b);
        if (ended && parseState.Frame is LexFrame lexeme)
        {
            lexeme.Read(parseState.State, b, this);
        }
        else
        {
            parseState.Frame?.Step(parseState.State, parseState.Used, b, this);
        }

        (GuardBefore, _guard, _behind) = (outerBefore, outer, outerBehind);
    }

    private bool Contains(in ParseState parseState)
    {
        if (Count <= MaxCompared)
        {
            for (int i = 0; i < Count; i++)
            {
                if (ParseState.Same(_items[i], parseState))
                {
                    return true;
                }
            }

            return false;
        }

        GrammarWork.Spend(5);
        if (_table.Length < 4 * Count)
        {
            _table = new int[(int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)(8 * Count))];
            _indexed = 0;
        }

        for (; _indexed < Count; _indexed++)
        {
            _table[SlotOf(_items[_indexed])] = _indexed + 1;
        }

        return _table[SlotOf(parseState)] != 0;
    }

    /// <summary>The slot of a parse state in the table, or a free slot.</summary>
    private int SlotOf(in ParseState parseState)
    {
        int slot = HashCode.Combine(parseState.Frame?.Hash ?? 0, parseState.State, parseState.Used) & (_table.Length - 1);
        while (_table[slot] is > 0 and int index && !ParseState.Same(_items[index - 1], parseState))
        {
            slot = (slot + 1) & (_table.Length - 1);
        }

        return slot;
    }
}
