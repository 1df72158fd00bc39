using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// An object constraint in conjunctive form, ready to read. Its containments ("at least one property whose name and value match") are numbered; a property is read in
/// one way for each set of containments that it is to satisfy, its marks.
/// </summary>
internal sealed partial class ObjectMatcher
{
    private readonly Func<int, int, ValueNode> _valueOf;
    private readonly Dictionary<(int Name, int Marks), ValueNode> _values = [];
    private readonly Dictionary<(ulong Matched, int Marks), ValueNode> _others = [];
    private readonly Dictionary<ulong, KeyMatcher> _keys = []; // By set of marks, the empty one excluded.
    private readonly ulong[] _required;
    private readonly ulong[]?[] _dependents; // By name: all other names that it requires.
    private readonly int[] _marks; // By name: the marks that it may have.
    private readonly int _always; // Marks that a matching name alone implies.
    private readonly bool _hasDependents;
    private KeyMatcher? _anyKeys;
    private bool[]? _possible;
    private int[]? _nameHeights;
    private ValueNode[]? _allOthers;
    private (bool Known, int? Value)? _otherCount;
    private bool? _hasEndlessOthers;
    private int? _otherHeight;
    private int? _height;

    /// <param name="names">The declared names.</param>
    /// <param name="valueOf">The value of a declared name with marks.</param>
    /// <param name="required">Bits of names.</param>
    /// <param name="dependents">By name, the bits of all names that it requires.</param>
    /// <param name="marks">By name, the bits of the marks that it may have.</param>
    /// <param name="always">Bits of the marks that a matching name alone implies.</param>
    public ObjectMatcher(IReadOnlyList<string> names, Func<int, int, ValueNode> valueOf, ulong[] required, ulong[]?[] dependents, int[] marks, int always)
    {
        (Names, _valueOf, _required, _dependents, _marks, _always) = ([.. names], valueOf, required, dependents, marks, always);
        _hasDependents = dependents.AsSpan().ContainsAnyExcept((ulong[]?)null);
        Nodes = [.. Enumerable.Range(0, names.Count).Select(i => valueOf(i, 0))];
    }

    public required int Id { get; init; }

    public string[] Names { get; }

    /// <summary>The values of the declared names, without marks.</summary>
    public ValueNode[] Nodes { get; }

    public required int Min { get; init; }

    public required int Max { get; init; }

    /// <summary>The number of containments: properties that must exist but are known by a pattern of their name only.</summary>
    public required int Contains { get; init; }

    public required RegexArena Arena { get; init; }

    /// <summary>The expression for undeclared names.</summary>
    public required RegexTerm KeyTerm { get; init; }

    /// <summary>True if undeclared names never run out. (A bound on their length leaves more than an object can have.)</summary>
    public required bool HasEndlessKeys { get; init; }

    /// <summary>The patterns that undeclared names are classified by; the last ones are those of the containments.</summary>
    public required RegexTerm[] Patterns { get; init; }

    /// <summary>The value of an undeclared name with marks, by the patterns that it matches.</summary>
    public required Func<ulong, int, ValueNode> ValueOfOther { get; init; }

    public required bool AnyOrder { get; init; }

    public required bool AllowsWhitespace { get; init; }

    public int Words => (Names.Length + 63) >> 6;

    /// <summary>True if keys have to be counted.</summary>
    public bool CountMatters => Min > 0 || Max >= 0 || OtherCount is not null;

    /// <summary>The number of undeclared names; null if unlimited.</summary>
    private int? OtherCount => (_otherCount ??= (true, Patterns.Length == 0 ? null : Keys.CountOthers())).Value;

    /// <summary>The containments open at the start: all of them.</summary>
    public int AllOpen => (1 << Contains) - 1;

    public KeyMatcher Keys => KeysFor(1);

    /// <summary>True if infinitely many undeclared names are allowed.</summary>
    public bool HasInfiniteOthers => _hasEndlessOthers ??= Keys.HasOthers(Keys.Start) && HasEndlessKeys;

    /// <summary>True if declared names are independent of each other: each may have any of its values, or be absent unless it is required.</summary>
    public bool HasFreeNames => Max < 0 && Contains == 0 && !_hasDependents && Min <= Count(_required);

    /// <summary>The fewest objects and arrays that are open at a time, this one included.</summary>
    public int Height => _height ??= HeightBy(static node => node.Height);

    /// <summary>The undeclared names left after <paramref name="count"/> keys.</summary>
    private int OthersLeft(ulong[] seen, int count) => OtherCount is { } all ? Math.Max(0, all - (count - Count(seen))) : int.MaxValue / 2;

    /// <summary>The matcher for keys where undeclared ones may have certain sets of marks (a bit for each set). Bit 0, no marks, allows every key.</summary>
    public KeyMatcher KeysFor(ulong sets)
    {
        if ((sets & 1) != 0)
        {
            return _anyKeys ??= new KeyMatcher(this, 1);
        }

        return _keys.TryGetValue(sets, out KeyMatcher? keys) ? keys : _keys[sets] = new KeyMatcher(this, sets);
    }

    public ValueNode ValueOf(int name, int marks) =>
        marks == 0 ? Nodes[name] : _values.TryGetValue((name, marks), out ValueNode? node) ? node : _values[(name, marks)] = _valueOf(name, marks);

    public ValueNode OtherNode(ulong matchedPatterns, int marks = 0) =>
        _others.TryGetValue((matchedPatterns, marks), out ValueNode? node) ? node : _others[(matchedPatterns, marks)] = ValueOfOther(matchedPatterns & ((1UL << (Patterns.Length - Contains)) - 1), marks);

    /// <summary>The marks that an undeclared name may have.</summary>
    public int MarksOfOther(ulong matchedPatterns) => (int)(matchedPatterns >> (Patterns.Length - Contains));

    public bool CanClose(ulong[] seen, int count, int open) => open == 0 && count >= Min && IsZero(Needed(seen));

    /// <summary>True if some object satisfies the constraint. Optional names are only looked at if their number matters.</summary>
    public bool IsSatisfiable()
    {
        ulong[] seen = new ulong[Words];
        if (CanClose(seen, 0, AllOpen))
        {
            return true;
        }

        ulong[] needed = Needed(seen);
        int count = Count(needed);
        return Indices(needed).All(i => !Nodes[i].IsEmpty) && (Max < 0 || count <= Max)
            && (Contains > 0 ? CanFinish(seen, 0, 0, AllOpen, null) : count >= Min || Choose(seen, 0, 0, 0).Any);
    }

    /// <summary>The names that can have a value, together with everything that they require.</summary>
    private bool[] Possible()
    {
        if (_possible is not null)
        {
            return _possible;
        }

        bool[] possible = new bool[Names.Length];
        for (int i = 0; i < possible.Length; i++)
        {
            possible[i] = !Nodes[i].IsEmpty && (_dependents[i] is not { } needs || Indices(needs).All(j => !Nodes[j].IsEmpty));
        }

        return _possible = possible;
    }

    /// <summary>The nodes of all possible values.</summary>
    public IEnumerable<ValueNode> AllNodes() => Enumerable.Range(0, Names.Length).SelectMany(i => MarksWithin(_marks[i]).Select(marks => ValueOf(i, marks))).Concat(OtherNodes());

    /// <summary>True if a declared name, or an undeclared one (-1), can occur in some complete object.</summary>
    public bool HasRoomFor(int name)
    {
        ulong[] needed = Needed(new ulong[Words]);
        return (name < 0 ? HasInfiniteOthers : Possible()[name])
            && (Max < 0 || (Contains == 0 && ((name >= 0 && (needed[name >> 6] & (1UL << name)) != 0) || Count(needed) + (name >= 0 && _dependents[name] is { } needs ? Count(needs) : 0) < Max)));
    }

    public bool IsRequired(int name) => (_required[name >> 6] & (1UL << name)) != 0;

    /// <summary>The cardinality of a declared name's values, whatever its marks.</summary>
    public Cardinality CardinalityOf(int name) => MarksWithin(_marks[name]).Select(marks => ValueOf(name, marks)).Where(static node => !node.IsEmpty).Select(static node => node.Cardinality)
        .DefaultIfEmpty(new Cardinality(0, false, 0)).MinBy(static v => (v.Count, -v.Height));

    /// <summary>The minimum nesting of each value of undeclared names.</summary>
    public IEnumerable<int> OtherHeights() => OtherNodes().Where(static node => !node.IsEmpty).Select(static node => node.Height);

    /// <summary>The minimum nesting of the object, itself included, given that of its values.</summary>
    public int HeightBy(Func<ValueNode, int> heightOf)
    {
        ulong[] needed = Needed(new ulong[Words]);
        int height = Indices(needed).Select(i => heightOf(Nodes[i])).DefaultIfEmpty(0).Max();
        int more = Min - Count(needed);
        if (more > 0)
        {
            IEnumerable<int> optional = Enumerable.Range(0, Names.Length).Where(i => Possible()[i] && (needed[i >> 6] & (1UL << i)) == 0).Select(i => HeightWithNeeds(i, heightOf));
            int[] otherHeights = [.. OtherNodes().Where(static node => !node.IsEmpty).Select(heightOf)];
            IEnumerable<int> others = otherHeights.Length == 0 ? [] : Enumerable.Repeat(otherHeights.Max(), more);
            height = Math.Max(height, optional.Concat(others).Order().Skip(more - 1).DefaultIfEmpty(JsonSchemaCompiler.Unbounded).First());
        }

        if (Contains > 0)
        {
            ulong[] seen = new ulong[Words];
            height = AllNodes().Where(static node => !node.IsEmpty).Select(heightOf).Append(height).Where(h => h >= height).Distinct().Order()
                .Where(h => h < JsonSchemaCompiler.Unbounded && CanFinish(seen, 0, 0, AllOpen, node => heightOf(node) <= h)).DefaultIfEmpty(JsonSchemaCompiler.Unbounded).First();
        }

        return Math.Min(height + 1, JsonSchemaCompiler.Unbounded);
    }

    private int HeightWithNeeds(int name, Func<ValueNode, int> heightOf) =>
        _dependents[name] is { } needs ? Indices(needs).Select(j => heightOf(Nodes[j])).Append(heightOf(Nodes[name])).Max() : heightOf(Nodes[name]);

    private ValueNode[] OtherNodes() => _allOthers ??= [.. Keys.AllMatched().SelectMany(matched => MarksWithin(MarksOfOther(matched)).Select(marks => OtherNode(matched, marks)))];

    /// <summary>The names that can have a value within a nesting limit.</summary>
    private bool[] Possible(int nesting)
    {
        bool[] possible = Possible();
        if (nesting == int.MaxValue)
        {
            return possible;
        }

        _nameHeights ??= [.. Enumerable.Range(0, Names.Length).Select(i => possible[i] ? HeightWithNeeds(i, static node => node.Height) : 0)];
        return _nameHeights.All(height => height <= nesting) ? possible : [.. possible.Select((can, i) => can && _nameHeights[i] <= nesting)];
    }

    private bool CanNestOthers(int nesting) => nesting == int.MaxValue || (_otherHeight ??= OtherNodes().Where(static node => !node.IsEmpty).Select(static node => node.Height).DefaultIfEmpty(0).Max()) <= nesting;

    /// <summary>The keys that leave the object completable.</summary>
    /// <param name="seen">Names that came.</param>
    /// <param name="position">In schema order: the first name still allowed.</param>
    /// <param name="count">Keys that came.</param>
    /// <param name="open">The containments still open.</param>
    /// <param name="nesting">The nesting allowed in a value.</param>
    public Choice Choose(ulong[] seen, int position, int count, int open, int nesting = int.MaxValue) =>
        open == 0 || IsFree(open, nesting) ? ChoosePlain(seen, position, count, nesting) : ChooseMarked(seen, position, count, open, nesting);

    private Choice ChoosePlain(ulong[] seen, int position, int count, int nesting)
    {
        bool[] possible = Possible(nesting);
        ulong[] names = new ulong[Words];
        ulong[] needed = Needed(seen);
        int neededCount = Count(needed);
        int othersLeft = Keys.HasOthers(Keys.Start) && CanNestOthers(nesting) ? OthersLeft(seen, count) : 0;
        bool mayHaveOthers = othersLeft > 0;
        bool others = mayHaveOthers && (Max < 0 || count + 1 + neededCount <= Max) && (AnyOrder || count + othersLeft >= Min);
        bool endless = mayHaveOthers && OtherCount is null;
        int next = AnyOrder ? -1 : Indices(needed).DefaultIfEmpty(-1).First();
        if (next >= 0 && next < position)
        {
            return new Choice(names, 0, this);
        }

        // In schema order no name may skip a required one.
        int end = next < 0 ? Names.Length : next + 1;
        others &= AnyOrder || neededCount == 0;
        GrammarWork.Spend(2 * Names.Length);
        bool neededPossible = _hasDependents || Indices(needed).All(j => possible[j]);
        int available = endless ? 0 : othersLeft;
        for (int i = Names.Length - 1; i >= 0; i--)
        {
            bool free = possible[i] && (seen[i >> 6] & (1UL << i)) == 0 && (AnyOrder || i >= position);
            if (!free)
            {
                continue;
            }

            available++;
            if (i < end && neededPossible && NeededAfter(i, seen, needed, neededCount, possible) is { } left
                && (Max < 0 || count + 1 + left <= Max) && (endless || count + (AnyOrder ? int.MaxValue / 2 : available) >= Min))
            {
                names[i >> 6] |= 1UL << i;
            }
        }

        if (AnyOrder && !endless && count + available < Min)
        {
            Array.Clear(names);
            others = false;
        }

        return new Choice(names, others ? ulong.MaxValue : 0, this);
    }

    /// <summary>The number of names still required after a name; null if one of them is impossible.</summary>
    private int? NeededAfter(int name, ulong[] seen, ulong[] needed, int neededCount, bool[] possible)
    {
        if (!_hasDependents)
        {
            return neededCount - (int)((needed[name >> 6] >> name) & 1);
        }

        GrammarWork.Spend(Names.Length + (10 * Words));
        ulong[] after = (ulong[])seen.Clone();
        after[name >> 6] |= 1UL << name;
        ulong[] then = Needed(after);
        return Indices(then).Any(j => !possible[j] || (!AnyOrder && j <= name)) ? null : Count(then);
    }

    private ulong[] Needed(ulong[] seen)
    {
        ulong[] needed = (ulong[])_required.Clone();
        for (int w = 0; w < seen.Length && _hasDependents; w++)
        {
            for (ulong bits = seen[w]; bits != 0; bits &= bits - 1)
            {
                if (_dependents[(w << 6) + System.Numerics.BitOperations.TrailingZeroCount(bits)] is { } more)
                {
                    for (int k = 0; k < needed.Length; k++)
                    {
                        needed[k] |= more[k];
                    }
                }
            }
        }

        // Required names may require more.
        for (int i = 0; i < Names.Length && _hasDependents; i++)
        {
            if ((needed[i >> 6] & (1UL << i)) != 0 && _dependents[i] is { } more)
            {
                for (int k = 0; k < needed.Length; k++)
                {
                    needed[k] |= more[k];
                }
            }
        }

        for (int k = 0; k < needed.Length; k++)
        {
            needed[k] &= ~seen[k];
        }

        return needed;
    }

    public static IEnumerable<int> Indices(ulong[] set)
    {
        for (int w = 0; w < set.Length; w++)
        {
            for (ulong bits = set[w]; bits != 0; bits &= bits - 1)
            {
                yield return (w << 6) + System.Numerics.BitOperations.TrailingZeroCount(bits);
            }
        }
    }

    private static int Count(ulong[] set)
    {
        int count = 0;
        foreach (ulong w in set)
        {
            count += System.Numerics.BitOperations.PopCount(w);
        }

        return count;
    }

    private static bool IsZero(ulong[] set) => !set.AsSpan().ContainsAnyExcept(0UL);

    /// <summary>The keys that may come next: declared names as a bit set, and the sets of marks allowed for undeclared keys, a bit each.</summary>
    public sealed class Choice(ulong[] names, ulong others, ObjectMatcher matcher)
    {
        public ulong[] Names { get; } = names;

        public bool Others { get; } = others != 0;

        public KeyMatcher Keys { get; } = matcher.KeysFor(others == 0 ? 1 : others);

        public bool Any { get; } = others != 0 || !IsZero(names);

        public bool Has(int name) => (Names[name >> 6] & (1UL << name)) != 0;

        public bool HasOther(int marks) => (others & (1UL << marks)) != 0;
    }
}
