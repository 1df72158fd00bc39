using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>
/// Sees to it that an item of an array is none that came before: how far the text of the item, while it is read, may still become one of those. There is a guard
/// for every array of unique items in which a text stands, until the item differs. Immutable.
/// </summary>
/// <param name="seen">How far the item is like one of those before; null where it differs from all that are known.</param>
/// <param name="unknown">How many items came within the token that is being tried: their texts are not known.</param>
/// <param name="depth">The depth of the array.</param>
/// <param name="outer">Of the arrays around it.</param>
internal sealed class UniqueItemsGuard(SeenValueMatcher? seen, int unknown, int depth, UniqueItemsGuard? outer) : IEquatable<UniqueItemsGuard>
{
    // Bytes and parse states that are tried to find how an item can differ. Those that are not found are not begun.
    private const int MaxTries = 20_000;

    // Likely ones first: what ends something, and what most names and numbers are made of.
    private static readonly byte[] s_bytes = [.. "\"}],:0123456789etaoinsrlcdupmfhgybvkwxqjzt{[-.\\/".Select(static c => (byte)c).Concat(Enumerable.Range(0x20, 0xD5).Select(static b => (byte)b)).Distinct()];

    private readonly SeenValueMatcher? _seenItems = seen;
    private readonly int _unknown = unknown;

    public int Depth { get; } = depth;

    public UniqueItemsGuard? Outer { get; } = outer;

    /// <summary>Whether the item, if it ends here, may be one that came before.</summary>
    public bool MayRepeat => _unknown > 0 || (_seenItems?.IsWhole ?? false);

    /// <summary>After one more byte: the guards of items that have not differed.</summary>
    public UniqueItemsGuard? Step(byte b)
    {
        UniqueItemsGuard? outer = Outer?.Step(b);
        SeenValueMatcher? seen = _seenItems?.Step(b);
        return seen is null && _unknown == 0 ? outer
            : ReferenceEquals(seen, _seenItems) && ReferenceEquals(outer, Outer) ? this : new UniqueItemsGuard(seen, _unknown, Depth, outer);
    }

    /// <summary>Whether the text can go on such that every item that is guarded differs from those before it.</summary>
    public bool CanDiffer(Frame? frame, int state, int used)
    {
        GrammarWork.Spend(20);
        int alike = 0;
        bool unknown = false;
        for (UniqueItemsGuard? guard = this; guard is not null; guard = guard.Outer)
        {
            alike += guard._unknown + (guard._seenItems?.Count ?? 0);
            unknown |= guard._unknown > 0;
        }

        // More ways to go on than there are items to differ from.
        if (frame!.MinContinuations(state) > alike)
        {
            return true;
        }

        for (Frame? around = frame.Parent; around is not null && around.Depth > Depth; around = around.Parent)
        {
            if (around.MinContinuations(0) > alike)
            {
                return true;
            }
        }

        int tries = MaxTries;
        return !unknown && Finds(new ParseState(frame, state, used, this), [], ref tries);
    }

    public bool Equals(UniqueItemsGuard? other) =>
        ReferenceEquals(this, other) || (other is not null && _unknown == other._unknown && Depth == other.Depth && (_seenItems is null ? other._seenItems is null : _seenItems.Equals(other._seenItems))
            && (Outer is null ? other.Outer is null : Outer.Equals(other.Outer)));

    public override bool Equals(object? obj) => Equals(obj as UniqueItemsGuard);

    public override int GetHashCode() => HashCode.Combine(_seenItems, _unknown, Depth, Outer);

    private static bool Finds(in ParseState from, HashSet<Place> seen, ref int tries)
    {
        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        ParseStateList next = new() { IsTrying = true };
        List<ParseState> alike = [];
        foreach (byte b in s_bytes)
        {
            if (--tries < 0)
            {
                return false;
            }

            next.Clear();
            next.Step(from, b);
            foreach (ref readonly ParseState parseState in next.Span)
            {
                if (parseState.Guard is null)
                {
                    return true;
                }

                alike.Add(parseState);
            }
        }

        foreach (ParseState parseState in alike)
        {
            if (seen.Add(new Place(parseState)) && Finds(parseState, seen, ref tries))
            {
                return true;
            }
        }

        return false;
    }

    private readonly struct Place(ParseState parseState) : IEquatable<Place>
    {
        private readonly ParseState _parseState = parseState;

        public bool Equals(Place other) => _parseState.State == other._parseState.State && _parseState.Used == other._parseState.Used && Equals(_parseState.Guard, other._parseState.Guard) && Frame.Same(_parseState.Frame, other._parseState.Frame);

        public override bool Equals(object? obj) => obj is Place other && Equals(other);

        public override int GetHashCode() => HashCode.Combine(_parseState.Frame?.Hash ?? 0, _parseState.State, _parseState.Used, _parseState.Guard);
    }
}
