using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Automaton;

/// <summary>
/// Keeps an item of an array from repeating an earlier one: tracks whether the item being read can still become one of them. Every enclosing array with unique items has
/// a guard until its item differs. Immutable.
/// </summary>
/// <param name="seen">The match with earlier items; null once the item differs from all known ones.</param>
/// <param name="unknown">Items completed within the token being tried; their text is not known.</param>
/// <param name="depth">The depth of the array.</param>
/// <param name="outer">The guard of the enclosing array.</param>
internal sealed class UniqueItemsGuard(SeenValueMatcher? seen, int unknown, int depth, UniqueItemsGuard? outer) : IEquatable<UniqueItemsGuard>
{
    // Limit of bytes tried in search of a way to differ. If none is found, the item is not begun.
    private const int MaxTries = 20_000;

    // Likely bytes first: closing ones, then those that most names and numbers consist of.
    private static readonly byte[] s_bytes = [.. "\"}],:0123456789etaoinsrlcdupmfhgybvkwxqjzt{[-.\\/".Select(static c => (byte)c).Concat(Enumerable.Range(0x20, 0xD5).Select(static b => (byte)b)).Distinct()];

    private readonly SeenValueMatcher? _seenItems = seen;
    private readonly int _unknown = unknown;

    public int Depth { get; } = depth;

    public UniqueItemsGuard? Outer { get; } = outer;

    /// <summary>True if the item, were it to end here, might repeat an earlier one.</summary>
    public bool MayRepeat => _unknown > 0 || (_seenItems?.IsWhole ?? false);

    /// <summary>The guards of all items that still match after one more byte.</summary>
    public UniqueItemsGuard? Step(byte b)
    {
        UniqueItemsGuard? outer = Outer?.Step(b);
        SeenValueMatcher? seen = _seenItems?.Step(b);
        return seen is null && _unknown == 0 ? outer
            : ReferenceEquals(seen, _seenItems) && ReferenceEquals(outer, Outer) ? this : new UniqueItemsGuard(seen, _unknown, Depth, outer);
    }

    /// <summary>True if the text can continue so that every guarded item ends up different from the earlier ones.</summary>
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

        // There are more continuations than items to differ from.
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

    private static bool Finds(in ParseState from, HashSet<ParseState> seen, ref int tries)
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
            if (seen.Add(parseState) && Finds(parseState, seen, ref tries))
            {
                return true;
            }
        }

        return false;
    }
}
