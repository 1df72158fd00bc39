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

    /// <summary>Rows allocated by this thread.</summary>
    [ThreadStatic]
    public static long RowsMade;

    private static readonly int[] s_noRow = Enumerable.Repeat(Unknown, 256).ToArray();

    private int[][] _rows = new int[16][];
    private SliceKind[] _slices = new SliceKind[16];
    private int[] _sliceLimits = new int[16];
    private bool[] _accepting = new bool[16];

    public int StateCount { get; private set; }

    /// <summary>True once the transitions of further states are no longer kept.</summary>
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

    /// <summary>True if the lexeme may end here without a closing byte (raw lexers).</summary>
    public bool IsAccepting(int state) => _accepting[state];

    /// <summary>A lower bound on the different strings that can still result.</summary>
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
