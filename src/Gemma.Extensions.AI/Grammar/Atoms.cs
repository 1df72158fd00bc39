using System.Text;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>What a value may be, by its first byte. Alternatives are read in parallel.</summary>
internal sealed record Shape(bool Null, bool True, bool False, Lexer? Strings, Lexer? Numbers, ObjectAtom[] Objects, ArrayAtom[] Arrays);

/// <summary>A set of values given by schemas that must (or must not) hold; its shape is worked out when it is first needed.</summary>
internal sealed class ValueNode(JsonSchemaCompiler compiler, int id, SchemaLiterals literals)
{
    private Shape? _shape;

    public int Id { get; } = id;

    public SchemaLiterals Literals { get; } = literals;

    public Shape Shape => _shape ??= compiler.ShapeOf(this);

    /// <summary>Whether no finite value is allowed.</summary>
    public bool IsEmpty => compiler.IsEmpty(this);

    /// <summary>The fewest objects and arrays that are open at a time in a value.</summary>
    public int Height => compiler.HeightOf(this);

    /// <summary>Objects and arrays that may be open at a time in the whole text.</summary>
    public int MaxNesting => compiler.MaxNesting;
}

/// <summary>Keys and values of an object, in conjunctive form, ready to be read.</summary>
internal sealed class ObjectAtom
{
    private readonly Func<ulong, ValueNode> _otherNode;
    private readonly ulong[]?[] _dependents; // By name: everything that must be there when it is, itself left out.
    private readonly ulong[] _required;
    private readonly int _min;
    private readonly int _max;
    private readonly bool _anyOrder;
    private readonly bool _hasDependents;
    private bool[]? _possible;
    private int[]? _nameHeights;
    private int? _otherHeight;
    private int? _height;
    private readonly Dictionary<ulong, ValueNode> _others = [];
    private KeyLexer? _keys;

    public ObjectAtom(
        int id, string[] names, ValueNode[] nodes, ulong[] required, ulong[]?[] dependents, int min, int max,
        RxArena arena, Rx keyTerm, Rx[] patterns, Func<ulong, ValueNode> otherNode, bool anyOrder, bool allowsWhitespace)
    {
        (Id, Names, Nodes, _required, _dependents, _min, _max) = (id, names, nodes, required, dependents, min, max);
        _hasDependents = dependents.AsSpan().ContainsAnyExcept((ulong[]?)null);
        (Arena, KeyTerm, Patterns, _otherNode, _anyOrder, AllowsWhitespace) = (arena, keyTerm, patterns, otherNode, anyOrder, allowsWhitespace);
    }

    public int Id { get; }

    public string[] Names { get; }

    public ValueNode[] Nodes { get; }

    public RxArena Arena { get; }

    /// <summary>What names outside the declared ones must match.</summary>
    public Rx KeyTerm { get; }

    public Rx[] Patterns { get; }

    public bool AllowsWhitespace { get; }

    public int Words => (Names.Length + 63) >> 6;

    /// <summary>Whether keys have to be counted.</summary>
    public bool CountMatters => _min > 0 || _max >= 0;

    public KeyLexer Keys => _keys ??= new KeyLexer(this);

    public ValueNode OtherNode(ulong matchedPatterns) =>
        _others.TryGetValue(matchedPatterns, out ValueNode? node) ? node : _others[matchedPatterns] = _otherNode(matchedPatterns);

    public bool CanClose(ulong[] seen, int count) => count >= _min && IsZero(Needed(seen));

    /// <summary>Whether an object can be finished from the start. Looks at optional names only where their number matters.</summary>
    public bool IsSatisfiable()
    {
        ulong[] seen = new ulong[Words];
        if (CanClose(seen, 0))
        {
            return true;
        }

        ulong[] needed = Needed(seen);
        int count = Count(needed);
        return Indices(needed).All(i => !Nodes[i].IsEmpty) && (_max < 0 || count <= _max) && (count >= _min || Choose(seen, 0, 0).Any);
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
    public IEnumerable<ValueNode> AllNodes() => KeyTerm == Arena.Empty ? Nodes : Nodes.Concat(OtherNodes());

    /// <summary>The fewest objects and arrays that are open at a time, this one included, given those of its values.</summary>
    public int HeightBy(Func<ValueNode, int> heightOf)
    {
        ulong[] needed = Needed(new ulong[Words]);
        int height = Indices(needed).Select(i => heightOf(Nodes[i])).DefaultIfEmpty(0).Max();
        int more = _min - Count(needed);
        if (more > 0)
        {
            IEnumerable<int> optional = Enumerable.Range(0, Names.Length).Where(i => Possible()[i] && (needed[i >> 6] & (1UL << i)) == 0).Select(i => HeightWithNeeds(i, heightOf));
            IEnumerable<int> others = KeyTerm == Arena.Empty ? [] : Enumerable.Repeat(OtherNodes().Max(heightOf), more);
            height = Math.Max(height, optional.Concat(others).Order().Skip(more - 1).DefaultIfEmpty(JsonSchemaCompiler.Endless).First());
        }

        return Math.Min(height + 1, JsonSchemaCompiler.Endless);
    }

    /// <summary>The fewest objects and arrays that are open at a time, this one included.</summary>
    public int Height => _height ??= HeightBy(static node => node.Height);

    private int HeightWithNeeds(int name, Func<ValueNode, int> heightOf) =>
        _dependents[name] is { } needs ? Indices(needs).Select(j => heightOf(Nodes[j])).Append(heightOf(Nodes[name])).Max() : heightOf(Nodes[name]);

    private IEnumerable<ValueNode> OtherNodes() => Enumerable.Range(0, Patterns.Length).Select(i => OtherNode(1UL << i)).Prepend(OtherNode(0)).Where(static node => !node.IsEmpty).DefaultIfEmpty(OtherNode(0));

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

    private bool CanNestOthers(int nesting) => nesting == int.MaxValue || (_otherHeight ??= OtherNodes().Max(static node => node.Height)) <= nesting;

    /// <summary>The keys after which the object can still be finished.</summary>
    /// <param name="seen">Names that came.</param>
    /// <param name="position">In schema order: the first name that may still come.</param>
    /// <param name="count">Keys that came.</param>
    /// <param name="nesting">How many objects and arrays may be open at a time in a value.</param>
    public Choice Choose(ulong[] seen, int position, int count, int nesting = int.MaxValue)
    {
        bool[] possible = Possible(nesting);
        ulong[] names = new ulong[Words];
        ulong[] needed = Needed(seen);
        int neededCount = Count(needed);
        bool mayHaveOthers = Keys.HasOthers(Keys.Start) && CanNestOthers(nesting);
        bool others = mayHaveOthers && (_max < 0 || count + 1 + neededCount <= _max);
        bool endless = mayHaveOthers;
        int end = Names.Length;
        if (!_anyOrder)
        {
            // Names come in the order of the schema: none may pass over one that is needed.
            foreach (int i in Indices(needed))
            {
                if (i < position)
                {
                    return new Choice(names, false);
                }

                end = i + 1;
                break;
            }

            others &= neededCount == 0;
        }

        GrammarWork.Spend(2 * Names.Length);
        bool neededPossible = _hasDependents || Indices(needed).All(j => possible[j]);
        int available = 0;
        for (int i = Names.Length - 1; i >= 0; i--)
        {
            bool free = possible[i] && (seen[i >> 6] & (1UL << i)) == 0 && (_anyOrder || i >= position);
            if (!free)
            {
                continue;
            }

            available++;
            if (i >= end)
            {
                continue;
            }

            if (!_hasDependents)
            {
                int left = neededCount - (int)((needed[i >> 6] >> i) & 1);
                if (neededPossible && (_max < 0 || count + 1 + left <= _max) && (endless || count + (_anyOrder ? int.MaxValue / 2 : available) >= _min))
                {
                    names[i >> 6] |= 1UL << i;
                }

                continue;
            }

            GrammarWork.Spend(Names.Length + (10 * Words));
            ulong[] after = (ulong[])seen.Clone();
            after[i >> 6] |= 1UL << i;
            ulong[] then = Needed(after);
            if (!_anyOrder && Indices(then).Any(j => j <= i || !possible[j]))
            {
                continue;
            }

            if (_anyOrder && Indices(then).Any(j => !possible[j]))
            {
                continue;
            }

            int rest = Count(then);
            if ((_max < 0 || count + 1 + rest <= _max) && (endless || count + (_anyOrder ? int.MaxValue / 2 : available) >= _min))
            {
                names[i >> 6] |= 1UL << i;
            }
        }

        if (_anyOrder && !endless && count + available < _min)
        {
            Array.Clear(names);
        }

        return new Choice(names, others);
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

    /// <summary>The names, as a bit set, and whether other keys may come.</summary>
    public sealed record Choice(ulong[] Names, bool Others)
    {
        public bool Any { get; } = Others || !IsZero(Names);

        public bool Has(int name) => (Names[name >> 6] & (1UL << name)) != 0;
    }
}

/// <summary>Items of an array, ready to be read.</summary>
internal sealed class ArrayAtom
{
    private const int MaxStates = 100_000;
    private readonly Func<int, int, ValueNode> _node; // (index capped at the prefix, bits of contains that the item is counted for) → item.
    private readonly int _prefix;
    private readonly int _min;
    private readonly int _declaredMax;
    private readonly int _cap;
    private readonly Dictionary<(int, long), bool> _canFinish = [];
    private int? _effectiveMax;
    private int? _height;

    public ArrayAtom(int id, Func<int, int, ValueNode> node, int prefix, int min, int max, (int Min, int Max)[] contains, TextChoice? unique, bool allowsWhitespace)
    {
        (Id, _node, _prefix, _min, Contains, Unique, AllowsWhitespace) = (id, node, prefix, min, contains, unique, allowsWhitespace);
        _declaredMax = unique is null ? max : max < 0 ? unique.Count : Math.Min(max, unique.Count);
        _cap = _declaredMax >= 0 ? int.MaxValue : Math.Max(prefix, min);

        // What counts there can be is known from the start, and so whether telling them apart is too much.
        long states = contains.Length == 0 ? 0 : 1L + (_declaredMax >= 0 ? _declaredMax : _cap);
        foreach ((int least, int most) in contains)
        {
            states = Math.Min(states, MaxStates + 1) * (1L + (most < 0 ? least : most));
        }

        if (states > MaxStates)
        {
            throw new GrammarComplexityException($"counting the items of an array beside contains takes more than {MaxStates:N0} states");
        }
    }

    public int Id { get; }

    /// <summary>How often items must be counted: minContains and maxContains (-1 for no limit).</summary>
    public (int Min, int Max)[] Contains { get; }

    public TextChoice? Unique { get; }

    public bool AllowsWhitespace { get; }

    // The first index at which no item is possible bounds the length.
    private int _max
    {
        get
        {
            if (_effectiveMax is { } known)
            {
                return known;
            }

            int max = _declaredMax;
            for (int i = 0; Contains.Length == 0 && i <= _prefix && (max < 0 || i < max); i++)
            {
                if (_node(i, 0).IsEmpty)
                {
                    max = i;
                }
            }

            _effectiveMax = max;
            return max;
        }
    }

    /// <summary>Every item that there may be.</summary>
    public IEnumerable<ValueNode> AllNodes()
    {
        for (int i = 0; i <= _prefix; i++)
        {
            for (int marks = 0; marks < 1 << Contains.Length; marks++)
            {
                yield return _node(i, marks);
            }
        }
    }

    public int Cap(int count) => Math.Min(count, _cap);

    public bool CanClose(int count, int[] matched)
    {
        for (int i = 0; i < matched.Length; i++)
        {
            if (matched[i] < Contains[i].Min || (Contains[i].Max >= 0 && matched[i] > Contains[i].Max))
            {
                return false;
            }
        }

        return count >= _min;
    }

    public bool IsSatisfiable() => CanFinish(0, new int[Contains.Length]);

    /// <summary>Whether another item may come in which no more than so many objects and arrays are open at a time.</summary>
    public bool CanContinue(int count, int[] matched, int nesting) => (_max < 0 || count < _max) && (Unique is not null || Items(count, matched).Any(item => item.Node.Height <= nesting));

    /// <summary>The fewest objects and arrays that are open at a time, this one included, given those of its items. With "contains" no less than any item's.</summary>
    public int HeightBy(Func<ValueNode, int> heightOf) => Math.Min(JsonSchemaCompiler.Endless, 1 + (
        Unique is not null || CanClose(0, new int[Contains.Length]) ? 0
        : Contains.Length > 0 ? AllNodes().Where(static node => !node.IsEmpty).Select(heightOf).DefaultIfEmpty(0).Max()
        : Enumerable.Range(0, Math.Min(_min, _prefix + 1)).Max(i => heightOf(_node(i, 0)))));

    /// <summary>The fewest objects and arrays that are open at a time, this one included.</summary>
    public int Height => _height ??= HeightBy(static node => node.Height);

    /// <summary>The items that may come next, with what they are counted for, such that the array can be finished.</summary>
    public IEnumerable<(ValueNode Node, int[] Matched)> Items(int count, int[] matched)
    {
        if (_max >= 0 && count >= _max)
        {
            yield break;
        }

        for (int marks = 0; marks < 1 << Contains.Length; marks++)
        {
            ValueNode node = _node(Math.Min(count, _prefix), marks);
            if (node.IsEmpty)
            {
                continue;
            }

            int[] after = Mark(matched, marks);
            if (Contains.Length == 0 || CanFinish(Cap(count + 1), after))
            {
                yield return (node, after);
            }
        }
    }

    private int[] Mark(int[] matched, int marks)
    {
        if (marks == 0)
        {
            return matched;
        }

        int[] after = (int[])matched.Clone();
        for (int i = 0; i < after.Length; i++)
        {
            // Without an upper limit, more than the minimum need not be counted.
            after[i] += (marks >> i) & 1;
            after[i] = Contains[i].Max < 0 ? Math.Min(after[i], Contains[i].Min) : after[i];
        }

        return after;
    }

    private bool CanFinish(int count, int[] matched)
    {
        if (Contains.Length == 0)
        {
            return _max < 0 || _min <= _max;
        }

        if (CanClose(count, matched))
        {
            return true;
        }

        long key = 0;
        foreach (int m in matched)
        {
            key = (key * 1_000_003) + m;
        }

        if (_canFinish.TryGetValue((count, key), out bool known))
        {
            return known;
        }

        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        _canFinish[(count, key)] = false; // A cycle makes no progress.
        bool result = false;
        if (_max < 0 || count < _max)
        {
            for (int marks = (1 << Contains.Length) - 1; marks >= 0 && !result; marks--)
            {
                int[] after = Mark(matched, marks);
                bool over = false;
                for (int i = 0; i < after.Length; i++)
                {
                    over |= Contains[i].Max >= 0 && after[i] > Contains[i].Max;
                }

                result = !over && !_node(Math.Min(count, _prefix), marks).IsEmpty && CanFinish(Cap(count + 1), after);
            }
        }

        return _canFinish[(count, key)] = result;
    }
}

/// <summary>
/// Reads a key with its closing quote: the declared names by their bytes, and all other names by an expression and by the patterns that they match.
/// Which names are allowed at a place, the object's frame knows.
/// </summary>
internal sealed class KeyLexer : Lexer
{
    private const int NoOthers = -1;
    private const int MaxSearch = 20_000;

    private readonly ObjectAtom _atom;
    private readonly CharPartition _partition;
    private readonly List<(SortedList<byte, int> Next, int End, ulong[] Names)> _trie = [];
    private readonly List<Rx[]> _vectors = [];
    private readonly Dictionary<string, int> _vectorIds = [];
    private readonly Dictionary<int, bool> _vectorLive = [];
    private readonly List<(int Name, int Vector, CharNode Node)> _states = [];
    private readonly Dictionary<(int, int, CharNode), int> _ids = [];
    private readonly List<ulong> _labels = [];

    public KeyLexer(ObjectAtom atom)
        : base(atom.Arena)
    {
        _atom = atom;
        _partition = atom.Arena.Partition([atom.KeyTerm, .. atom.Patterns]);
        _trie.Add(([], -1, new ulong[atom.Words]));
        for (int i = 0; i < atom.Names.Length; i++)
        {
            int node = 0;
            Mark(0, i);
            foreach (byte b in JsonText.Escape(atom.Names[i]))
            {
                if (!_trie[node].Next.TryGetValue(b, out int child))
                {
                    child = _trie.Count;
                    _trie[node].Next[b] = child;
                    _trie.Add(([], -1, new ulong[atom.Words]));
                }

                Mark(node = child, i);
            }

            _trie[node] = _trie[node] with { End = i };
        }

        int vector = VectorOf([atom.KeyTerm, .. atom.Patterns]);
        Start = StateOf(0, IsLive(vector) ? vector : NoOthers, CharNode.Root);

        void Mark(int node, int name) => _trie[node].Names[name >> 6] |= 1UL << name;
    }

    /// <summary>
    /// The values of all names outside the declared ones, by the patterns that they can match together: what cannot be enforced, or is too
    /// much, is found before anything is generated.
    /// </summary>
    public IEnumerable<ValueNode> AllOthers()
    {
        if (!HasOthers(Start))
        {
            return [];
        }

        if (_atom.Patterns.Length == 0)
        {
            return [_atom.OtherNode(0)];
        }

        HashSet<ulong> matched = [];
        for (int vector = 0; vector < _vectors.Count; vector++)
        {
            if (!IsLive(vector))
            {
                continue;
            }

            if (_vectors[vector][0].Nullable)
            {
                matched.Add(Matched(vector));
            }

            for (int i = 0; i < _partition.Count; i++)
            {
                VectorAfter(vector, i);
            }

            if (_vectors.Count > MaxSearch)
            {
                throw TooManyStates();
            }
        }

        return [.. matched.Select(_atom.OtherNode)];
    }

    private static GrammarComplexityException TooManyStates() => new("its patternProperties take more than " + MaxSearch + " automaton states");

    /// <summary>Whether one of the given names begins like this.</summary>
    public bool HasName(int state, ulong[] names)
    {
        int node = _states[state].Name;
        if (node < 0)
        {
            return false;
        }

        ulong[] here = _trie[node].Names;
        for (int i = 0; i < here.Length; i++)
        {
            if ((here[i] & names[i]) != 0)
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>Whether a name outside the declared ones can begin like this.</summary>
    public bool HasOthers(int state) => _states[state].Vector >= 0;

    /// <summary>Whether a name outside the declared ones may end here.</summary>
    public bool EndsOther(int state)
    {
        (int name, int vector, CharNode node) = _states[state];
        return vector >= 0 && node == CharNode.Root && (name < 0 || _trie[name].End < 0) && Ends(vector);
    }

    public bool IsName(int state) => _states[state].Name >= 0;

    /// <summary>The value of a name outside the declared ones, by the label with which it ended.</summary>
    public ValueNode NodeOf(int label) => _atom.OtherNode(_labels[label - _atom.Names.Length]);

    protected override int Compute(int state, byte b)
    {
        (int name, int vector, CharNode node) = _states[state];
        if (b == (byte)'"' && node == CharNode.Root && !(name >= 0 && _trie[name].Next.ContainsKey(b)))
        {
            return name >= 0 && _trie[name].End >= 0 ? FinalBase - _trie[name].End
                : vector >= 0 && Ends(vector) ? FinalBase - LabelOf(Matched(vector))
                : Dead;
        }

        int nextName = name >= 0 && _trie[name].Next.TryGetValue(b, out int child) ? child : -1;
        int nextVector = NoOthers;
        CharNode nextNode = CharNode.Root;
        if (vector >= 0)
        {
            switch (CharNode.Step(node, b, CharSpelling.JsonName, _partition, out CharNode partial, out int charClass))
            {
                case CharStep.Char:
                    int after = VectorAfter(vector, charClass);
                    nextVector = IsLive(after) ? after : NoOthers;
                    break;
                case CharStep.Partial:
                    if (partial.Classes(CharSpelling.JsonName, _partition).Any(c => IsLive(VectorAfter(vector, c))))
                    {
                        (nextVector, nextNode) = (vector, partial);
                    }

                    break;
            }
        }

        return nextName < 0 && nextVector < 0 ? Dead : StateOf(nextName, nextVector, nextNode);
    }

    private int StateOf(int name, int vector, CharNode node)
    {
        if (_ids.TryGetValue((name, vector, node), out int id))
        {
            return id;
        }

        (SliceKind slice, int limit) = vector >= 0 && node == CharNode.Root ? SliceOf(_vectors[vector]) : (SliceKind.None, 0);
        if (slice == SliceKind.Free && name >= 0)
        {
            slice = SliceKind.Safe;
        }

        id = AddState(false, slice, limit);
        _states.Add((name, vector, node));
        return _ids[(name, vector, node)] = id;
    }

    private (SliceKind, int) SliceOf(Rx[] vector)
    {
        RxArena arena = _atom.Arena;
        return vector.Length == 1 ? RxLexer.SliceOf(arena, vector[0])
            : vector[0] == arena.All && vector.AsSpan(1).IndexOfAnyExcept(arena.All, arena.Empty) < 0 ? (SliceKind.Free, 0)
            : (SliceKind.None, 0);
    }

    private bool Ends(int vector) => _vectors[vector][0].Nullable && !_atom.OtherNode(Matched(vector)).IsEmpty;

    private ulong Matched(int vector)
    {
        ulong matched = 0;
        Rx[] terms = _vectors[vector];
        for (int i = 1; i < terms.Length; i++)
        {
            matched |= terms[i].Nullable ? 1UL << (i - 1) : 0;
        }

        return matched;
    }

    private int LabelOf(ulong matched)
    {
        int index = _labels.IndexOf(matched);
        if (index < 0)
        {
            index = _labels.Count;
            _labels.Add(matched);
        }

        return _atom.Names.Length + index;
    }

    private int VectorAfter(int vector, int charClass)
    {
        int c = _partition.Representative(charClass);
        return VectorOf(Array.ConvertAll(_vectors[vector], t => _atom.Arena.Derive(t, c)));
    }

    private int VectorOf(Rx[] terms)
    {
        string key = string.Join(',', terms.Select(t => t.Id));
        if (!_vectorIds.TryGetValue(key, out int id))
        {
            _vectorIds[key] = id = _vectors.Count;
            _vectors.Add(terms);
        }

        return id;
    }

    /// <summary>Whether a name that begins like this can end with a value that is possible.</summary>
    private bool IsLive(int vector)
    {
        if (_vectors[vector][0] == _atom.Arena.Empty)
        {
            return false;
        }

        if (_vectorLive.TryGetValue(vector, out bool live))
        {
            return live;
        }

        if (_vectors[vector].Length == 1)
        {
            return _vectorLive[vector] = !_atom.OtherNode(0).IsEmpty && _atom.Arena.IsLive(_vectors[vector][0]);
        }

        HashSet<int> seen = [vector];
        Stack<(int Vector, int Next)> path = new([(vector, -1)]);
        while (path.TryPop(out (int Vector, int Next) top))
        {
            if (top.Next == _partition.Count)
            {
                continue;
            }

            path.Push((top.Vector, top.Next + 1));
            int next = top.Next < 0 ? top.Vector : VectorAfter(top.Vector, top.Next);
            bool known = _vectorLive.TryGetValue(next, out bool nextLive);
            if ((known && nextLive) || (!known && _vectors[next][0] != _atom.Arena.Empty && Ends(next)))
            {
                _vectorLive[next] = true;
                foreach ((int v, _) in path)
                {
                    _vectorLive[v] = true;
                }

                return true;
            }

            if (!known && _vectors[next][0] != _atom.Arena.Empty && seen.Add(next))
            {
                if (seen.Count > MaxSearch)
                {
                    throw TooManyStates();
                }

                path.Push((next, -1));
            }
        }

        foreach (int v in seen)
        {
            _vectorLive[v] = false;
        }

        return false;
    }
}

internal static class JsonText
{
    /// <summary>A string as it stands between quotes: only what must be escaped is, in the shortest way.</summary>
    public static byte[] Escape(string text)
    {
        StringBuilder result = new(text.Length + 2);
        foreach (char c in text)
        {
            result.Append(c switch
            {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\b' => "\\b",
                '\f' => "\\f",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                < ' ' => $"\\u{(int)c:x4}",
                _ => c.ToString(),
            });
        }

        return Encoding.UTF8.GetBytes(result.ToString());
    }
}
