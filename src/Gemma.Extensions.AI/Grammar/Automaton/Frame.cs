namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>A frame of the pushdown automaton: immutable, compared by content, with its parent below.</summary>
internal abstract class Frame(Frame? parent, int contentHash, bool nests = false)
{
    /// <summary>About as many bytes as a frame takes.</summary>
    public const int KeptBytes = 160;

    private const int IndentationPerLevel = 4;

    /// <summary>Frames that this thread ever made to be known by the frame before them.</summary>
    [ThreadStatic]
    public static long Kept;

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

    /// <summary>Adds the parse states that continue once the frame above has ended.</summary>
    public abstract void ChildDone(ParseStateList next);

    /// <summary>True if the frame may end in this state without another byte.</summary>
    public virtual bool CanEnd(int state) => false;

    /// <summary>A lower bound on the different values that can still result here, given that everything above this frame has ended.</summary>
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

    /// <summary>Counts a frame that another one is about to know.</summary>
    protected static T Keep<T>(T frame)
        where T : Frame
    {
        Kept++;
        return frame;
    }

    protected abstract bool SameContent(Frame other);

    protected static bool IsWhitespace(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    /// <summary>
    /// The state after white space between the parts of a document, or -1 where it must end: at most one space, then at most one line break with
    /// four characters of indentation per level. More would be valid too, but a model could fill its answer with it.
    /// </summary>
    /// <param name="state">0: none so far. 1: a space. 2: a carriage return. 3 + n: a line break and n characters.</param>
    /// <param name="b">The next byte, white space.</param>
    protected int NextWhitespace(int state, byte b) => b switch
    {
        (byte)'\r' => state < 2 ? 2 : -1,
        (byte)'\n' => state < 3 ? 3 : -1,
        _ when state < 2 => state == 0 ? 1 : -1,
        _ => Math.Max(state, 3) - 3 < IndentationPerLevel * Depth ? Math.Max(state, 3) + 1 : -1,
    };

    /// <summary>Ends the frame above <paramref name="parent"/> before <paramref name="b"/>, which is then read by whatever follows; that may end before it too.</summary>
    public static void EndThenStep(Frame? parent, byte b, ParseStateList next)
    {
        if (parent is null)
        {
            return;
        }

        Ends(parent, next.History, next.GuardBefore).StepAll(b, next);
    }

    /// <summary>The parse states that follow when the frame above <paramref name="parent"/> ends, including those reached when further frames end without a byte.</summary>
    public static ParseStateList Ends(Frame parent, TextHistory? history = null, UniqueItemsGuard? guard = null)
    {
        ParseStateList after = new() { History = history, Ahead = 1, IsTrying = true, Guard = guard };
        parent.ChildDone(after);
        after.Guard = null;
        after.AddEnds();
        return after;
    }
}
