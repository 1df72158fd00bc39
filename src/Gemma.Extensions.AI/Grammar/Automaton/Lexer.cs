using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>The part of the vocabulary that a lexer state accepts as a whole, without a walk.</summary>
internal enum SliceKind : byte
{
    /// <summary>Nothing is known: walk.</summary>
    None,

    /// <summary>Every string-safe token is allowed; others have to be walked.</summary>
    Safe,

    /// <summary>String-safe tokens up to a number of characters are allowed; others have to be walked.</summary>
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

    /// <summary>Bytes of a row.</summary>
    public const int RowBytes = 1024;

    /// <summary>Rows allocated by this thread.</summary>
    [ThreadStatic]
    public static long RowsMade;

    private static readonly int[] s_noRow = Enumerable.Repeat(Unknown, 256).ToArray();

    private int[][] _rows = new int[16][];
    private SliceKind[] _slices = new SliceKind[16];
    private int[] _sliceLimits = new int[16];
    private bool[] _accepting = new bool[16];
    private (ulong Kinds, int Next)[] _onward = new (ulong, int)[16]; // Next: Unknown for what was not worked out

    public int StateCount { get; private set; }

    /// <summary>True once the transitions of further states are no longer kept.</summary>
    public bool IsFull => arena.Rows >= arena.MaxRows || arena.States >= 4 * arena.MaxRows;

    /// <summary>True if a quote ends the lexeme, and nothing else does.</summary>
    public abstract bool IsQuoted { get; }

    /// <summary>The state before the first byte. Never dead.</summary>
    public int Start { get; protected init; }

    /// <summary>The next state, <see cref="Dead"/>, or a final label.</summary>
    public int Next(int state, byte b)
    {
        int next = _rows[state][b];
        return next == Unknown ? Find(state, b) : next;
    }

    /// <summary>
    /// True if the lexer reads every text of these kinds of characters up to this length. False proves nothing: it may still read them all.
    /// </summary>
    /// <param name="state">The state before the text.</param>
    /// <param name="kinds">Bits of <see cref="TextKinds"/>.</param>
    /// <param name="length">Characters.</param>
    public bool Reads(int state, ulong kinds, int length)
    {
        for (; length > 0; length--)
        {
            if (!KnowsOnward(state))
            {
                FindOnward(state);
            }

            (ulong read, int next) = _onward[state];
            if ((kinds & ~read) != 0)
            {
                return false;
            }

            if (next == state)
            {
                return true;
            }

            state = next;
        }

        return true;
    }

    /// <summary>True if <see cref="Reads"/> has its answer for the state already.</summary>
    public bool KnowsOnward(int state) => _onward[state].Next != Unknown;

    public int[] Row(int state) => _rows[state];

    public virtual SliceKind Slice(int state) => _slices[state];

    public int SliceLimit(int state) => _sliceLimits[state];

    /// <summary>True if the lexeme may end here without a closing byte (raw lexers).</summary>
    public bool IsAccepting(int state) => _accepting[state];

    /// <summary>A lower bound on the different strings that can still result.</summary>
    public virtual long MinContinuations(int state) => 0;

    protected abstract int Compute(int state, byte b);

    /// <summary>Writes what a byte leads to into a row, and with it bytes that lead to the same.</summary>
    protected abstract void Enter(int[] row, int state, byte b, int next);

    /// <summary>True if the state lies between characters and has transitions other than those of declared names.</summary>
    protected abstract bool IsBetweenChars(int state);

    /// <summary>True if every character beyond ASCII leads to the state <paramref name="next"/>.</summary>
    protected abstract bool LeadsBeyondAscii(int state, int next);

    protected int AddState(bool accepting, SliceKind slice, int sliceLimit)
    {
        if (StateCount == _rows.Length)
        {
            Array.Resize(ref _rows, StateCount * 2);
            Array.Resize(ref _slices, StateCount * 2);
            Array.Resize(ref _sliceLimits, StateCount * 2);
            Array.Resize(ref _accepting, StateCount * 2);
            Array.Resize(ref _onward, StateCount * 2);
        }

        arena.States++;
        _rows[StateCount] = s_noRow;
        _onward[StateCount] = (0, Unknown);
        _slices[StateCount] = slice;
        _sliceLimits[StateCount] = sliceLimit;
        _accepting[StateCount] = accepting;
        return StateCount++;
    }

    private int Find(int state, byte b)
    {
        GrammarWork.Spend(GrammarWork.State);
        int next = Compute(state, b);
        if (_rows[state] == s_noRow && arena.Rows < arena.MaxRows)
        {
            _rows[state] = new int[256];
            _rows[state].AsSpan().Fill(Unknown);
            arena.Rows++;
            RowsMade++;
        }

        if (_rows[state] != s_noRow)
        {
            Enter(_rows[state], state, b, next);
        }

        return next;
    }

    /// <summary>Finds the state that most characters lead to, and the kinds of characters that lead there without exception.</summary>
    private void FindOnward(int state)
    {
        ulong kinds = 0;
        int onward = state;
        if (IsBetweenChars(state))
        {
            Span<int> next = stackalloc int[TextKinds.Ascii.Length];
            Dictionary<int, int> sizes = [];
            for (int kind = 0; kind < next.Length; kind++)
            {
                byte[] bytes = TextKinds.Ascii[kind];
                next[kind] = Next(state, bytes[0]);
                foreach (byte b in bytes)
                {
                    next[kind] = Next(state, b) == next[kind] ? next[kind] : Dead;
                }

                if (next[kind] >= 0)
                {
                    sizes[next[kind]] = sizes.GetValueOrDefault(next[kind]) + bytes.Length;
                }
            }

            onward = sizes.Count == 0 ? state : sizes.MaxBy(static size => size.Value).Key;
            for (int kind = 0; kind < next.Length; kind++)
            {
                kinds |= next[kind] == onward ? 1UL << kind : 0;
            }

            kinds |= kinds != 0 && LeadsBeyondAscii(state, onward) ? TextKinds.BeyondAscii : 0;
        }

        _onward[state] = (kinds, onward);
    }
}
