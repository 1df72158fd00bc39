using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// Keys and values of an object, in conjunctive form, ready to be read. What it must contain at least one property of is numbered; a property is read in one way
/// for each set of those ("marks") of which it is to be one.
/// </summary>
internal sealed partial class ObjectMatcher
{
    private readonly Func<int, int, ValueNode> _valueOf;
    private readonly Dictionary<(int Name, int Marks), ValueNode> _values = [];
    private readonly Dictionary<(ulong Matched, int Marks), ValueNode> _others = [];
    private readonly Dictionary<ulong, KeyMatcher> _keys = []; // Of sets without the empty one.
    private readonly ulong[] _required;
    private readonly ulong[]?[] _dependents; // By name: everything that must be there when it is, itself left out.
    private readonly int[] _marks; // By name: what it may be one of.
    private readonly int _always; // What every property with a matching name is one of.
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
    /// <param name="dependents">By name, the bits of all that must be there when it is.</param>
    /// <param name="marks">By name, the bits of what the property may be one of.</param>
    /// <param name="always">Bits of what a property is one of by its name alone.</param>
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

    /// <summary>How many properties the object must hold of which only patterns of their names are known.</summary>
    public required int Contains { get; init; }

    public required RegexArena Arena { get; init; }

    /// <summary>What names outside the declared ones must match.</summary>
    public required RegexTerm KeyTerm { get; init; }

    /// <summary>Of names outside the declared ones it is told apart which of these they match; the last are those of what must be contained.</summary>
    public required RegexTerm[] Patterns { get; init; }

    /// <summary>The value of a name outside the declared ones, by the patterns that it matches, with marks.</summary>
    public required Func<ulong, int, ValueNode> ValueOfOther { get; init; }

    public required bool AnyOrder { get; init; }

    public required bool AllowsWhitespace { get; init; }

    public int Words => (Names.Length + 63) >> 6;

    /// <summary>Whether keys have to be counted.</summary>
    public bool CountMatters => Min > 0 || Max >= 0 || OtherCount is not null;

    /// <summary>How many names outside the declared ones there are; null for no end of them.</summary>
    private int? OtherCount => (_otherCount ??= (true, Patterns.Length == 0 ? null : Keys.CountOthers())).Value;

    /// <summary>How many of them are left after so many keys.</summary>
    private int OthersLeft(ulong[] seen, int count) => OtherCount is { } all ? Math.Max(0, all - (count - Count(seen))) : int.MaxValue / 2;

    /// <summary>Everything that must still be contained at the start.</summary>
    public int AllOpen => (1 << Contains) - 1;

    public KeyMatcher Keys => KeysFor(1);

    /// <summary>The reader of keys outside the declared names that may come with one of some sets of marks (bits by set). With no marks at all every key may.</summary>
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

    /// <summary>What a name outside the declared ones may be one of.</summary>
    public int MarksOfOther(ulong matchedPatterns) => (int)(matchedPatterns >> (Patterns.Length - Contains));

    public bool CanClose(ulong[] seen, int count, int open) => open == 0 && count >= Min && IsZero(Needed(seen));

    /// <summary>Whether an object can be finished from the start. Looks at optional names only where their number matters.</summary>
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

    /// <summary>The names that can be given a value, with all that they demand.</summary>
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

    /// <summary>Every value that there may be.</summary>
    public IEnumerable<ValueNode> AllNodes() => Enumerable.Range(0, Names.Length).SelectMany(i => MarksWithin(_marks[i]).Select(marks => ValueOf(i, marks))).Concat(OtherNodes());

    /// <summary>Whether there are infinitely many names outside the declared ones.</summary>
    public bool HasInfiniteOthers => _hasEndlessOthers ??= Keys.HasOthers(Keys.Start) && (KeyTerm == Arena.All || Arena.IsInfinite(KeyTerm));

    /// <summary>Whether a declared name, or one outside of them (-1), may come in some object that can be finished.</summary>
    public bool HasRoomFor(int name)
    {
        ulong[] needed = Needed(new ulong[Words]);
        return (name < 0 ? HasInfiniteOthers : Possible()[name])
            && (Max < 0 || (Contains == 0 && ((name >= 0 && (needed[name >> 6] & (1UL << name)) != 0) || Count(needed) + (name >= 0 && _dependents[name] is { } needs ? Count(needs) : 0) < Max)));
    }

    /// <summary>Whether each declared name may have any of its values, or none where it is not required.</summary>
    public bool HasFreeNames => Max < 0 && Contains == 0 && !_hasDependents && Min <= Count(_required);

    public bool IsRequired(int name) => (_required[name >> 6] & (1UL << name)) != 0;

    /// <summary>The different values of a declared name, whatever it is one of.</summary>
    public Cardinality CardinalityOf(int name) => MarksWithin(_marks[name]).Select(marks => ValueOf(name, marks)).Where(static node => !node.IsEmpty).Select(static node => node.Cardinality)
        .DefaultIfEmpty(new Cardinality(0, false, 0)).MinBy(static v => (v.Count, -v.Height));

    /// <summary>The fewest objects and arrays open at a time in each of the values of names outside the declared ones.</summary>
    public IEnumerable<int> OtherHeights() => OtherNodes().Where(static node => !node.IsEmpty).Select(static node => node.Height);

    /// <summary>The fewest objects and arrays that are open at a time, this one included, given those of its values.</summary>
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

    /// <summary>The fewest objects and arrays that are open at a time, this one included.</summary>
    public int Height => _height ??= HeightBy(static node => node.Height);

    private int HeightWithNeeds(int name, Func<ValueNode, int> heightOf) =>
        _dependents[name] is { } needs ? Indices(needs).Select(j => heightOf(Nodes[j])).Append(heightOf(Nodes[name])).Max() : heightOf(Nodes[name]);

    private ValueNode[] OtherNodes() => _allOthers ??= [.. Keys.AllMatched().SelectMany(matched => MarksWithin(MarksOfOther(matched)).Select(marks => OtherNode(matched, marks)))];

    /// <summary>The names that can be given a value with no more than so many objects and arrays open.</summary>
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

    /// <summary>The keys after which the object can still be finished.</summary>
    /// <param name="seen">Names that came.</param>
    /// <param name="position">In schema order: the first name that may still come.</param>
    /// <param name="count">Keys that came.</param>
    /// <param name="open">What must still be contained.</param>
    /// <param name="nesting">How many objects and arrays may be open at a time in a value.</param>
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

        // Names come in the order of the schema: none may pass over one that is needed.
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

    /// <summary>How many names must still come once one has; null where one of them cannot.</summary>
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

        // What is needed may need more.
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

    /// <summary>What may come next: the declared names, as a bit set, and the sets of marks with one of which another key may come, by their bits.</summary>
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
