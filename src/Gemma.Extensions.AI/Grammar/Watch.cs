namespace Gemma.Extensions.AI.Grammar;

/// <summary>
/// Sees to it that an item of an array is none that came before: how far the text of the item, while it is read, may still become one of those. There is a watch
/// for every array of unique items in which a text stands, until the item differs. Immutable.
/// </summary>
/// <param name="likeness">How far the item is like one of those before; null where it differs from all that are known.</param>
/// <param name="unknown">How many items came within the token that is being tried: their texts are not known.</param>
/// <param name="depth">The depth of the array.</param>
/// <param name="outer">Of the arrays around it.</param>
internal sealed class Watch(Likeness? likeness, int unknown, int depth, Watch? outer) : IEquatable<Watch>
{
    // Bytes and threads that are tried to find how an item can differ. Those that are not found are not begun.
    private const int MaxTries = 20_000;

    // Likely ones first: what ends something, and what most names and numbers are made of.
    private static readonly byte[] s_bytes = [.. "\"}],:0123456789etaoinsrlcdupmfhgybvkwxqjzt{[-.\\/".Select(static c => (byte)c).Concat(Enumerable.Range(0x20, 0xD5).Select(static b => (byte)b)).Distinct()];

    private readonly Likeness? _likeness = likeness;
    private readonly int _unknown = unknown;

    public int Depth { get; } = depth;

    public Watch? Outer { get; } = outer;

    /// <summary>Whether the item, if it ends here, may be one that came before.</summary>
    public bool MayRepeat => _unknown > 0 || (_likeness?.IsWhole ?? false);

    /// <summary>After one more byte: the watches of items that have not differed.</summary>
    public Watch? Step(byte b)
    {
        Watch? outer = Outer?.Step(b);
        Likeness? likeness = _likeness?.Step(b);
        return likeness is null && _unknown == 0 ? outer
            : ReferenceEquals(likeness, _likeness) && ReferenceEquals(outer, Outer) ? this : new Watch(likeness, _unknown, Depth, outer);
    }

    /// <summary>Whether the text can go on such that every item that is watched differs from those before it.</summary>
    public bool CanDiffer(Frame? frame, int state, int used)
    {
        GrammarWork.Spend(20);
        int alike = 0;
        bool unknown = false;
        for (Watch? watch = this; watch is not null; watch = watch.Outer)
        {
            alike += watch._unknown + (watch._likeness?.Count ?? 0);
            unknown |= watch._unknown > 0;
        }

        // More ways to go on than there are items to differ from.
        if (frame!.WaysOn(state) > alike)
        {
            return true;
        }

        for (Frame? around = frame.Parent; around is not null && around.Depth > Depth; around = around.Parent)
        {
            if (around.WaysOn(0) > alike)
            {
                return true;
            }
        }

        int tries = MaxTries;
        return !unknown && Finds(new Thread(frame, state, used, this), [], ref tries);
    }

    public bool Equals(Watch? other) =>
        ReferenceEquals(this, other) || (other is not null && _unknown == other._unknown && Depth == other.Depth && (_likeness is null ? other._likeness is null : _likeness.Equals(other._likeness))
            && (Outer is null ? other.Outer is null : Outer.Equals(other.Outer)));

    public override bool Equals(object? obj) => Equals(obj as Watch);

    public override int GetHashCode() => HashCode.Combine(_likeness, _unknown, Depth, Outer);

    private static bool Finds(in Thread from, HashSet<Place> seen, ref int tries)
    {
        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        ThreadList next = new() { IsTrying = true };
        List<Thread> alike = [];
        foreach (byte b in s_bytes)
        {
            if (--tries < 0)
            {
                return false;
            }

            next.Clear();
            next.Step(from, b);
            foreach (ref readonly Thread thread in next.Span)
            {
                if (thread.Watch is null)
                {
                    return true;
                }

                alike.Add(thread);
            }
        }

        foreach (Thread thread in alike)
        {
            if (seen.Add(new Place(thread)) && Finds(thread, seen, ref tries))
            {
                return true;
            }
        }

        return false;
    }

    private readonly struct Place(Thread thread) : IEquatable<Place>
    {
        private readonly Thread _thread = thread;

        public bool Equals(Place other) => _thread.State == other._thread.State && _thread.Used == other._thread.Used && Equals(_thread.Watch, other._thread.Watch) && Frame.Same(_thread.Frame, other._thread.Frame);

        public override bool Equals(object? obj) => obj is Place other && Equals(other);

        public override int GetHashCode() => HashCode.Combine(_thread.Frame?.Hash ?? 0, _thread.State, _thread.Used, _thread.Watch);
    }
}
