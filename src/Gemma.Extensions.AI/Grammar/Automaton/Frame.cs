using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>One way to read the text so far: the innermost frame with its state. Frame null: the text is complete.</summary>
/// <param name="Frame">Top of the stack.</param>
/// <param name="State">Lexer state, position in a literal, or white space read before what comes next.</param>
/// <param name="Used">In a key: node of the names used before, -1 when the text differs from all.</param>
/// <param name="Guard">Of items of arrays that may still become ones that came before.</param>
internal readonly record struct ParseState(Frame? Frame, int State, int Used = -1, UniqueItemsGuard? Guard = null);

/// <summary>The parse states that read the same text, without repetition.</summary>
internal sealed class ParseStateList
{
    /// <summary>
    /// A text is read in at most so many ways at once. Further ones are left out: what the others allow is as valid, and each of them can be finished.
    /// </summary>
    public const int MaxStates = 2_000;

    private const int MaxCompared = 12; // with so few, comparing is quicker than a table
    private ParseState[] _items = new ParseState[4];
    private int[] _table = []; // of indices + 1, by hash
    private int _indexed;
    private UniqueItemsGuard? _guard;
    private bool _behind; // whether the guard has not read the byte yet: most bytes lead nowhere
    private byte _byte;
    private int _ended; // parse states of which it is known what they become where they may end

    /// <summary>How many parse states are kept.</summary>
    public int Limit { get; init; } = MaxStates;

    public int Count { get; private set; }

    /// <summary>Whether the text is complete in one of the ways.</summary>
    public bool HasEnd { get; private set; }

    /// <summary>Whether ways were left out since the list was cleared.</summary>
    public bool Overflowed { get; private set; }

    /// <summary>The bytes of the text up to and with the one being stepped over; null while trying tokens.</summary>
    public TextHistory? History { get; set; }

    /// <summary>How many of those bytes come after what the parse states have read.</summary>
    public int Ahead { get; init; }

    /// <summary>Whether parse states are kept of which it is not known that items of unique arrays can become new ones.</summary>
    public bool IsTrying { get; init; }

    /// <summary>Of what is added, after the byte being stepped over.</summary>
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

    /// <summary>Whether parse states were left out because an item would come again.</summary>
    public bool Blocked { get; set; }

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

    /// <summary>Adds what the parse states become that may end here, and what those become.</summary>
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

    /// <summary>Adds what a parse state becomes with one more byte.</summary>
    /// <param name="parseState">The parse state, of another list.</param>
    /// <param name="b">The byte.</param>
    /// <param name="ended">Whether it is known what reads on where a lexeme may end before the byte.</param>
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

    private static bool Same(in ParseState a, in ParseState b) =>
        a.State == b.State && a.Used == b.Used && (ReferenceEquals(a.Guard, b.Guard) || (a.Guard?.Equals(b.Guard) ?? false)) && Frame.Same(a.Frame, b.Frame);

    private bool Contains(in ParseState parseState)
    {
        if (Count <= MaxCompared)
        {
            for (int i = 0; i < Count; i++)
            {
                if (Same(_items[i], parseState))
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

    /// <summary>The place of a parse state in the table, or a free one.</summary>
    private int SlotOf(in ParseState parseState)
    {
        int slot = HashCode.Combine(parseState.Frame?.Hash ?? 0, parseState.State, parseState.Used) & (_table.Length - 1);
        while (_table[slot] is > 0 and int index && !Same(_items[index - 1], parseState))
        {
            slot = (slot + 1) & (_table.Length - 1);
        }

        return slot;
    }
}

/// <summary>The generated bytes, to look up the text of a key that has just ended.</summary>
internal sealed class TextHistory
{
    private byte[] _bytes = new byte[256];

    public int Length { get; private set; }

    public void Append(byte b)
    {
        if (Length == _bytes.Length)
        {
            Array.Resize(ref _bytes, Length * 2);
        }

        _bytes[Length++] = b;
    }

    /// <summary>Takes back what was appended after so many bytes.</summary>
    public void Truncate(int length) => Length = length;

    /// <summary>What stands between the quote just read and the one that opened the string.</summary>
    public byte[] LastString()
    {
        int end = Length - 1, start = end - 1;
        while (_bytes[start] != '"' || IsEscaped(start))
        {
            start--;
        }

        return _bytes[(start + 1)..end];
    }

    /// <summary>What stands from a position on, up to some bytes before the end.</summary>
    public ReadOnlySpan<byte> From(int start, int ahead) => _bytes.AsSpan(start..(Length - ahead));

    public TextHistory Clone()
    {
        TextHistory copy = new() { _bytes = (byte[])_bytes.Clone(), Length = Length };
        return copy;
    }

    private bool IsEscaped(int position)
    {
        int slashes = 0;
        while (position - 1 - slashes >= 0 && _bytes[position - 1 - slashes] == '\\')
        {
            slashes++;
        }

        return slashes % 2 == 1;
    }
}

/// <summary>A frame of the pushdown automaton: immutable, compared by content, with its parent below.</summary>
internal abstract class Frame(Frame? parent, int contentHash, bool nests = false)
{
    private const int IndentationPerLevel = 4;

    public Frame? Parent { get; } = parent;

    /// <summary>Objects and arrays that are open, this one included.</summary>
    public int Depth { get; } = (parent?.Depth ?? 0) + (nests ? 1 : 0);

    public int Hash { get; } = HashCode.Combine(contentHash, parent?.Hash ?? 0);

    public static bool Same(Frame? a, Frame? b)
    {
        while (!ReferenceEquals(a, b))
        {
            if (a is null || b is null || a.Hash != b.Hash || a.GetType() != b.GetType() || !a.SameContent(b))
            {
                return false;
            }

            (a, b) = (a.Parent, b.Parent);
        }

        return true;
    }

    /// <summary>Adds to <paramref name="next"/> the parse states after one more byte.</summary>
    public abstract void Step(int state, int used, byte b, ParseStateList next);

    /// <summary>Adds the parse states with which reading goes on after the frame above this one has ended.</summary>
    public abstract void ChildDone(ParseStateList next);

    /// <summary>Whether the frame may end in this state without another byte.</summary>
    public virtual bool CanEnd(int state) => false;

    /// <summary>In how many ways at least the value that is being read can go on here such that another value comes of each; what stands above the frame has ended.</summary>
    public virtual long MinContinuations(int state) => 0;

    public static void Finish(Frame? parent, ParseStateList next)
    {
        if (parent is null)
        {
            next.Add(null, 0);
        }
        else
        {
            parent.ChildDone(next);
        }
    }

    protected abstract bool SameContent(Frame other);

    protected static bool IsWhitespace(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    /// <summary>
    /// The state after white space between the parts of a document, or -1 where it must end: at most one space, then at most one line break with
    /// indentation of four characters a level. More would be as valid, but a model could fill its answer with it until it is cut.
    /// </summary>
    /// <param name="state">0: none so far. 1: a space. 2: a carriage return. From 3: a line break and so many more characters.</param>
    /// <param name="b">The next byte, white space.</param>
    protected int NextWhitespace(int state, byte b) => b switch
    {
        (byte)'\r' => state < 2 ? 2 : -1,
        (byte)'\n' => state < 3 ? 3 : -1,
        _ when state < 2 => state == 0 ? 1 : -1,
        _ => Math.Max(state, 3) - 3 < IndentationPerLevel * Depth ? Math.Max(state, 3) + 1 : -1,
    };

    /// <summary>Ends the frame above <paramref name="parent"/> before <paramref name="b"/>, which what follows reads: it may end before it as well.</summary>
    public static void EndThenStep(Frame? parent, byte b, ParseStateList next)
    {
        if (parent is null)
        {
            return;
        }

        Ends(parent, next.History, next.GuardBefore).StepAll(b, next);
    }

    /// <summary>What reads on once the frame above <paramref name="parent"/> has ended, and what does where that ends as well.</summary>
    public static ParseStateList Ends(Frame parent, TextHistory? history = null, UniqueItemsGuard? guard = null)
    {
        ParseStateList after = new() { History = history, Ahead = 1, IsTrying = true, Guard = guard };
        parent.ChildDone(after);
        after.Guard = null;
        after.AddEnds();
        return after;
    }
}

/// <summary>Reads one lexeme.</summary>
internal sealed class LexFrame(Lexer lexer, Frame? parent) : Frame(parent, lexer.GetHashCode())
{
    public Lexer Lexer { get; } = lexer;

    public override void Step(int state, int used, byte b, ParseStateList next)
    {
        Read(state, b, next);
        if (Lexer.IsAccepting(state))
        {
            EndThenStep(Parent, b, next);
        }
    }

    /// <summary>Reads the byte as one of the lexeme.</summary>
    public void Read(int state, byte b, ParseStateList next)
    {
        int n = Lexer.Next(state, b);
        if (n >= 0)
        {
            next.Add(this, n);
        }
        else if (n <= Lexer.FinalBase)
        {
            Finish(Parent, next);
        }
    }

    public override bool CanEnd(int state) => Lexer.IsAccepting(state);

    public override long MinContinuations(int state) => Lexer.MinContinuations(state);

    public override void ChildDone(ParseStateList next) => throw new InvalidOperationException();

    protected override bool SameContent(Frame other) => ReferenceEquals(Lexer, ((LexFrame)other).Lexer);
}

/// <summary>Reads fixed bytes.</summary>
internal sealed class LiteralFrame(byte[] bytes, Frame? parent) : Frame(parent, bytes.Length == 0 ? 0 : bytes[0] + (bytes.Length << 8))
{
    private readonly byte[] _bytes = bytes;

    public override void Step(int state, int used, byte b, ParseStateList next)
    {
        if (_bytes[state] != b)
        {
            return;
        }

        if (state + 1 == _bytes.Length)
        {
            Finish(Parent, next);
        }
        else
        {
            next.Add(this, state + 1);
        }
    }

    public override void ChildDone(ParseStateList next) => throw new InvalidOperationException();

    protected override bool SameContent(Frame other) => _bytes.AsSpan().SequenceEqual(((LiteralFrame)other)._bytes);
}
