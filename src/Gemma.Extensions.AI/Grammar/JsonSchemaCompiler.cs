using System.Text.Json;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>
/// Turns a JSON Schema (draft 4 to 2020-12) into a node that accepts exactly its instances, in the spellings that are generated. Schemas are
/// brought into disjunctive form, one level at a time and on demand: an object's or array's children are conjunctions of schemas again, so
/// that recursion closes by itself.
/// </summary>
internal sealed partial class JsonSchemaCompiler
{
    private const int MaxAlternatives = 1_500;
    private const int MaxNodes = 30_000;
    private const int MaxDepth = 400;
    private const int MaxNames = 3_000;

    private readonly JsonSchemaOptions _options;
    private readonly SchemaDocument _document;
    private readonly Dictionary<int, Conjunction[]> _dnf = [];
    private readonly HashSet<int> _inProgress = [];
    private readonly Dictionary<SchemaLiterals, ValueNode> _nodes = [];
    private readonly Dictionary<ValueNode, Conjunction[]> _expanded = [];
    private readonly HashSet<ValueNode> _expanding = [];
    private readonly Dictionary<ValueNode, bool> _empty = [];
    private readonly HashSet<ValueNode> _evaluating = [];
    private readonly Dictionary<ObjectConstraint, ObjectAtom> _objectAtoms = new(ReferenceEqualityComparer.Instance as IEqualityComparer<ObjectConstraint>);
    private readonly Conjunction _any;
    private ObjectAtom? _anyObject;
    private ArrayAtom? _anyArray;
    private bool _assumedEmpty;
    private bool _assumedNonEmpty;
    private int _depth;
    private int _atoms;

    private JsonSchemaCompiler(JsonElement root, JsonSchemaOptions options)
    {
        _options = options;
        _document = new SchemaDocument(root);
        _any = new Conjunction(JsonTypes.All, Arena.All, NumberConstraint.None, null, null);
    }

    public RxArena Arena { get; } = new();

    /// <summary>Compiles a schema.</summary>
    /// <exception cref="NotSupportedException">Something cannot be enforced; the message names the JSON pointer of the keyword.</exception>
    /// <exception cref="ArgumentException">The schema is malformed, or nothing satisfies it.</exception>
    public static ValueNode Compile(JsonElement schema, JsonSchemaOptions? options = null)
    {
        using GrammarWork.Scope limits = GrammarWork.Compiling();
        try
        {
            JsonSchemaCompiler compiler = new(schema, options ?? new JsonSchemaOptions());
            ValueNode root = compiler.NodeOf(SchemaLiterals.Of(compiler._document.Root.Id * 2));
            if (root.IsEmpty)
            {
                throw new ArgumentException("Nothing satisfies the JSON schema: its constraints contradict each other.");
            }

            compiler.Explore(root);
            compiler.LimitNesting(root);
            return root;
        }
        catch (InsufficientExecutionStackException)
        {
            throw new NotSupportedException("The JSON schema nests too deeply.");
        }
        catch (GrammarComplexityException e)
        {
            throw new NotSupportedException($"The JSON schema is too complex: {e.What}. Simplify it, or split it into smaller ones.");
        }
    }

    /// <summary>Any JSON value.</summary>
    public static ValueNode AnyJson(JsonSchemaOptions? options = null) => Compile(JsonElement.Parse("true"), options);

    public ValueNode NodeOf(SchemaLiterals literals)
    {
        if (!_nodes.TryGetValue(literals, out ValueNode? node))
        {
            if (_nodes.Count >= MaxNodes)
            {
                throw new GrammarComplexityException("it has more than " + MaxNodes + " distinct places for values");
            }

            _nodes[literals] = node = new ValueNode(this, _nodes.Count, literals);
        }

        return node;
    }

    public Shape ShapeOf(ValueNode node)
    {
        using GrammarWork.Scope whole = GrammarWork.Whole();
        Conjunction[] alternatives = Expand(node);
        JsonTypes types = JsonTypes.None;
        List<Rx> texts = [], numbers = [];
        List<ObjectAtom> objects = [];
        List<ArrayAtom> arrays = [];
        foreach (Conjunction c in alternatives)
        {
            types |= c.Types;
            if (c.Types.HasFlag(JsonTypes.String))
            {
                texts.Add(c.Text);
            }

            if (c.Types.HasFlag(JsonTypes.Number))
            {
                numbers.Add(NumberSpelling.Of(Arena, c.Number));
            }
        }

        AddAtoms(alternatives, objects, arrays);
        return new Shape(
            types.HasFlag(JsonTypes.Null), types.HasFlag(JsonTypes.True), types.HasFlag(JsonTypes.False),
            LexerOf(texts, CharSpelling.JsonString), LexerOf(numbers, CharSpelling.Raw), [.. objects], [.. arrays]);
    }

    /// <summary>Whether no finite value satisfies the node: the least solution, so recursion without an end is empty.</summary>
    public bool IsEmpty(ValueNode node)
    {
        if (_empty.TryGetValue(node, out bool known))
        {
            return known;
        }

        if (_evaluating.Contains(node))
        {
            _assumedEmpty = true;
            return true;
        }

        if (_expanding.Contains(node))
        {
            _assumedNonEmpty = true;
            return false;
        }

        CheckTime();
        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        (bool outerEmpty, bool outerNonEmpty) = (_assumedEmpty, _assumedNonEmpty);
        (_assumedEmpty, _assumedNonEmpty) = (false, false);
        Conjunction[] alternatives = Expand(node);
        _evaluating.Add(node);
        bool empty;
        using (GrammarWork.Whole())
        {
            empty = !alternatives.Any(IsPossible);
        }

        _evaluating.Remove(node);

        // What rests on an assumption about a node further up is only good for this once; at the top nothing is assumed any more.
        if (!_assumedNonEmpty && (!empty || !_assumedEmpty || _evaluating.Count == 0))
        {
            _empty[node] = empty;
        }

        (_assumedEmpty, _assumedNonEmpty) = (_evaluating.Count > 0 && (outerEmpty || (_assumedEmpty && empty)), outerNonEmpty || _assumedNonEmpty);
        return empty;
    }

    private void AddAtoms(Conjunction[] alternatives, List<ObjectAtom> objects, List<ArrayAtom> arrays)
    {
        if (alternatives.Any(c => c.Types.HasFlag(JsonTypes.Object) && c.Object is null))
        {
            objects.Add(_anyObject ??= MakeObject(new ObjectConstraint()));
        }
        else
        {
            foreach (ObjectConstraint c in alternatives.Where(c => c.Types.HasFlag(JsonTypes.Object)).Select(c => c.Object!).Distinct())
            {
                if (IsPossible(c))
                {
                    objects.Add(AtomOf(c));
                }
            }
        }

        if (alternatives.Any(c => c.Types.HasFlag(JsonTypes.Array) && c.Array is null))
        {
            arrays.Add(_anyArray ??= MakeArray(new ArrayConstraint()));
        }
        else
        {
            foreach (ArrayConstraint c in alternatives.Where(c => c.Types.HasFlag(JsonTypes.Array)).Select(c => c.Array!).Distinct())
            {
                ArrayAtom atom = MakeArray(c);
                if (atom.IsSatisfiable())
                {
                    arrays.Add(atom);
                }
            }
        }
    }

    private RxLexer? LexerOf(List<Rx> terms, CharSpelling spelling)
    {
        Rx term = Arena.Alt(terms);
        return Arena.IsLive(term) ? new RxLexer(Arena, term, spelling) : null;
    }

    /// <summary>Works out every place of the schema, so that what cannot be enforced is found now and not while generating.</summary>
    private void Explore(ValueNode root)
    {
        HashSet<ValueNode> seen = [root];
        Queue<ValueNode> todo = new([root]);
        while (todo.TryDequeue(out ValueNode? node))
        {
            CheckTime();
            Shape shape = node.Shape;
            foreach (ObjectAtom atom in shape.Objects)
            {
                foreach (ValueNode child in atom.Nodes)
                {
                    Visit(child);
                }

                foreach (ValueNode other in atom.Keys.AllOthers())
                {
                    Visit(other);
                }
            }

            foreach (ArrayAtom atom in shape.Arrays)
            {
                foreach (ValueNode child in atom.AllNodes())
                {
                    Visit(child);
                }
            }
        }

        void Visit(ValueNode child)
        {
            if (seen.Add(child) && !child.IsEmpty)
            {
                todo.Enqueue(child);
            }
        }
    }

    private Conjunction[] Expand(ValueNode node)
    {
        if (_expanded.TryGetValue(node, out Conjunction[]? known))
        {
            return known;
        }

        if (!_expanding.Add(node))
        {
            throw new NotSupportedException("The JSON schema refers to itself without a value in between, which cannot be decided.");
        }

        try
        {
            Conjunction[] result = [_any];
            foreach (int code in node.Literals.Codes)
            {
                try
                {
                    result = Product(result, Dnf(code));
                }
                catch (NotSupportedException e) when (e is not GrammarComplexityException && !e.Message.StartsWith("The JSON schema", StringComparison.Ordinal))
                {
                    throw new NotSupportedException($"The JSON schema cannot be enforced at '{_document[code >> 1].Path}': {e.Message}. Remove the keyword that needs it, or simplify it.");
                }
            }

            return _expanded[node] = result;
        }
        finally
        {
            _expanding.Remove(node);
        }
    }

    private bool IsPossible(Conjunction c) =>
        (c.Types & (JsonTypes.Null | JsonTypes.True | JsonTypes.False | JsonTypes.String)) != 0
        || (c.Types.HasFlag(JsonTypes.Number) && Arena.IsLive(NumberSpelling.Of(Arena, c.Number)))
        || (c.Types.HasFlag(JsonTypes.Array) && (c.Array is null || (c.Array.Min == 0 && c.Array.Contains.Count == 0) || MakeArray(c.Array).IsSatisfiable()))
        || (c.Types.HasFlag(JsonTypes.Object) && (c.Object is null || IsPossible(c.Object)));

    private bool IsPossible(ObjectConstraint c) =>
        (c.Required.Count == 0 && c.Min == 0) || AtomOf(c).IsSatisfiable();

    private ObjectAtom AtomOf(ObjectConstraint c) => _objectAtoms.TryGetValue(c, out ObjectAtom? atom) ? atom : _objectAtoms[c] = MakeObject(c);

    private ObjectAtom MakeObject(ObjectConstraint c)
    {
        List<string> names = [];
        HashSet<string> known = [];
        foreach (string name in c.Clauses.SelectMany(x => x.Properties.Keys).Concat(c.Required).Concat(c.Dependents.SelectMany(d => d.Needs.Prepend(d.Name))))
        {
            if (known.Add(name))
            {
                names.Add(name);
            }
        }

        Rx keys = c.Names == SchemaLiterals.Any ? Arena.All : Arena.Alt(Expand(NodeOf(c.Names)).Where(x => x.Types.HasFlag(JsonTypes.String)).Select(x => x.Text).ToArray());
        Rx allKeys = keys;
        if (keys.Finite && keys != Arena.Empty && Arena.TryEnumerate(keys, 2_000) is { } allNames)
        {
            // Finitely many names are as good as declared ones, and none can come twice.
            foreach (string name in allNames)
            {
                if (known.Add(name))
                {
                    names.Add(name);
                }
            }

            keys = Arena.Empty;
        }

        if (c.Clauses.FirstOrDefault(x => IsClosed(x) && x.Patterns.Count > 0 && x.Patterns.All(p => p.Pattern.Finite)) is { } finite
            && Arena.TryEnumerate(Arena.Alt(finite.Patterns.Select(p => p.Pattern)), 2_000) is { } matching)
        {
            foreach (string name in matching)
            {
                if (known.Add(name))
                {
                    names.Add(name);
                }
            }

            keys = Arena.Empty;
        }

        if (names.Count > MaxNames)
        {
            throw new GrammarComplexityException($"an object has {names.Count:N0} properties; at most {MaxNames:N0} are supported");
        }

        if (c.Clauses.Any(x => x.Patterns.Count == 0 && IsClosed(x)) || (_options.ClosesObjects && ClosedObjects.CanClose(c)))
        {
            keys = Arena.Empty; // Closed: no other names.
        }

        List<(Rx Pattern, SchemaLiterals Value, KeyClause Clause)> patterns = [.. c.Clauses.SelectMany(x => x.Patterns.Select(p => (p.Pattern, p.Value, x)))];
        if (patterns.Count > 60)
        {
            throw new GrammarComplexityException($"an object has {patterns.Count} patternProperties; at most 60 are supported");
        }

        ValueNode[] nodes = new ValueNode[names.Count];
        for (int i = 0; i < nodes.Length; i++)
        {
            string name = names[i];
            SchemaLiterals value = SchemaLiterals.Any;
            foreach (KeyClause clause in c.Clauses)
            {
                bool covered = clause.Properties.TryGetValue(name, out SchemaLiterals? own);
                value = own is null ? value : value.And(own);
                foreach ((Rx pattern, SchemaLiterals matched) in clause.Patterns)
                {
                    if (Arena.Matches(pattern, name))
                    {
                        covered = true;
                        value = value.And(matched);
                    }
                }

                if (!covered && clause.Additional is not null)
                {
                    value = value.And(clause.Additional);
                }
            }

            if (allKeys != Arena.All && !Arena.Matches(allKeys, name))
            {
                value = value.And(SchemaLiterals.Of(_document.False.Id * 2));
            }

            nodes[i] = NodeOf(value);
        }

        int words = (names.Count + 63) >> 6;
        ulong[] required = new ulong[words];
        foreach (string name in c.Required)
        {
            Set(required, names.IndexOf(name));
        }

        ulong[]?[] dependents = new ulong[]?[names.Count];
        if (c.Dependents.Count > 0)
        {
            Close(c, names, dependents, words);
        }

        return new ObjectAtom(
            _atoms++, [.. names], nodes, required, dependents, c.Min, c.Max, Arena, keys, keys == Arena.Empty ? [] : [.. patterns.Select(p => p.Pattern)],
            OtherNode, _options.AnyPropertyOrder, _options.AllowWhitespace);

        ValueNode OtherNode(ulong matched)
        {
            SchemaLiterals value = SchemaLiterals.Any;
            foreach (KeyClause clause in c.Clauses)
            {
                bool covered = false;
                for (int i = 0; i < patterns.Count; i++)
                {
                    if (patterns[i].Clause == clause && (matched & (1UL << i)) != 0)
                    {
                        covered = true;
                        value = value.And(patterns[i].Value);
                    }
                }

                if (!covered && clause.Additional is not null)
                {
                    value = value.And(clause.Additional);
                }
            }

            return NodeOf(value);
        }
    }

    private bool IsClosed(KeyClause clause) => clause.Additional is { } additional && additional.Codes.Contains(_document.False.Id * 2);

    private static void Set(ulong[] set, int i) => set[i >> 6] |= 1UL << i;

    /// <summary>What each name demands, directly and through others.</summary>
    private static void Close(ObjectConstraint c, List<string> names, ulong[]?[] dependents, int words)
    {
        foreach ((string name, IReadOnlyList<string> needs) in c.Dependents)
        {
            ulong[] set = dependents[names.IndexOf(name)] ??= new ulong[words];
            foreach (string need in needs)
            {
                Set(set, names.IndexOf(need));
            }
        }

        bool changed = true;
        while (changed)
        {
            changed = false;
            for (int i = 0; i < dependents.Length; i++)
            {
                if (dependents[i] is not { } set)
                {
                    continue;
                }

                foreach (int j in ObjectAtom.Indices((ulong[])set.Clone()))
                {
                    for (int w = 0; w < words && dependents[j] is not null; w++)
                    {
                        ulong more = dependents[j]![w] & ~set[w];
                        changed |= more != 0;
                        set[w] |= more;
                    }
                }
            }
        }

        for (int i = 0; i < dependents.Length; i++)
        {
            if (dependents[i] is { } set)
            {
                set[i >> 6] &= ~(1UL << i);
            }
        }
    }

    private ArrayAtom MakeArray(ArrayConstraint c)
    {
        (SchemaLiterals Item, int Min, int Max)[] contains = [.. c.Contains];
        if (contains.Length > 3 || (contains.Length > 0 && (c.Min > 500 || contains.Any(x => x.Min > 500))))
        {
            throw new GrammarComplexityException("an array has more than 3 contains, or counts above 500 beside one");
        }

        TextChoice? unique = null;
        if (c.Unique && c.Max is < 0 or > 1)
        {
            if (contains.Length > 0 || c.Prefix.Count > 0)
            {
                throw new NotSupportedException("uniqueItems beside prefixItems or contains");
            }

            unique = new TextChoice(FiniteTexts(NodeOf(c.Rest)));
        }

        return new ArrayAtom(_atoms++, Node, c.Prefix.Count, c.Min, c.Max, [.. contains.Select(x => (x.Min, x.Max))], unique, _options.AllowWhitespace);

        ValueNode Node(int index, int marks)
        {
            SchemaLiterals item = c.At(index);
            for (int i = 0; i < contains.Length; i++)
            {
                if ((marks & (1 << i)) != 0)
                {
                    item = item.And(contains[i].Item);
                }
                else if (contains[i].Max >= 0)
                {
                    // With an upper limit, an item that is not counted must not match.
                    if (contains[i].Item.Codes is not [int code])
                    {
                        throw new NotSupportedException("an upper limit on a contains that joins several schemas");
                    }

                    item = item.And(SchemaLiterals.Of(code ^ 1));
                }
            }

            return NodeOf(item);
        }
    }

    /// <summary>The texts of a node with finitely many values.</summary>
    private List<byte[]> FiniteTexts(ValueNode node)
    {
        const int Limit = 2_000;
        SortedSet<string> texts = new(StringComparer.Ordinal);
        foreach (Conjunction c in Expand(node))
        {
            Add(JsonTypes.Null, "null");
            Add(JsonTypes.True, "true");
            Add(JsonTypes.False, "false");
            if ((c.Types & (JsonTypes.Array | JsonTypes.Object)) != 0
                || (c.Types.HasFlag(JsonTypes.Number) && c.Number.Values is null && !(c.Number.Integer == true && c.Number.Min is not null && c.Number.Max is not null))
                || (c.Types.HasFlag(JsonTypes.String) && !c.Text.Finite))
            {
                throw new NotSupportedException("uniqueItems over items of which there are infinitely many");
            }

            if (c.Types.HasFlag(JsonTypes.Number))
            {
                // One spelling a value.
                texts.UnionWith(c.Number.Values?.Where(v => c.Number.Allows(v.Value)).Select(v => v.Value.ToString()) ?? Arena.Enumerate(NumberSpelling.Of(Arena, c.Number), Limit));
            }

            if (c.Types.HasFlag(JsonTypes.String))
            {
                texts.UnionWith(Arena.Enumerate(c.Text, Limit).Select(t => "\"" + System.Text.Encoding.UTF8.GetString(JsonText.Escape(t)) + "\""));
            }

            void Add(JsonTypes type, string text)
            {
                if (c.Types.HasFlag(type))
                {
                    texts.Add(text);
                }
            }
        }

        // Numbers that one reader cannot tell apart are one number.
        HashSet<double> numbers = [];
        return [.. texts.Where(text => text[0] is not ('-' or (>= '0' and <= '9')) || numbers.Add(ExactDecimal.Parse(text).ToDouble())).Select(System.Text.Encoding.UTF8.GetBytes)];
    }

    private static void CheckTime() => GrammarWork.Spend(GrammarWork.State);
}
