using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

// From constraints to objects that can be read.
internal sealed partial class JsonSchemaCompiler
{
    // Every set of containments is tried for every property.
    private const int MaxContains = 5;
    private const int MaxPatterns = 60;
    private const int MaxEnumeratedNames = 2_000;

    private ObjectMatcher MatcherOf(ObjectConstraint c) => _objectMatchers.TryGetValue(c, out ObjectMatcher? matcher) ? matcher : _objectMatchers[c] = MakeObject(c);

    private ObjectMatcher MakeObject(ObjectConstraint c)
    {
        DeclaredNames names = new();
        names.Add(c.Clauses.SelectMany(x => x.Properties.Keys).Concat(c.Required).Concat(c.Dependents.SelectMany(d => d.Needs.Prepend(d.Name))));
        RegexTerm allKeys = c.Names == SchemaLiterals.Any ? Arena.All : Arena.Alt(Expand(NodeOf(c.Names)).Where(x => x.Types.HasFlag(JsonTypes.String)).Select(x => x.Text).ToArray());
        RegexTerm keys = OtherNames(c, allKeys, names);
        if (names.Count > MaxNames)
        {
            throw new GrammarComplexityException($"an object has {names.Count:N0} properties; at most {MaxNames:N0} are supported");
        }

        SchemaLiterals[] values = [.. names.All.Select(name => ValueOf(c, name, allKeys))];
        HashSet<int> required = [.. c.Required.Select(names.IndexOf)];
        List<(RegexTerm Names, SchemaLiterals Value)> contains = Contains(c, keys, names, values, required);
        List<(RegexTerm Pattern, SchemaLiterals Value, KeyClause? Clause)> patterns = keys == Arena.Empty ? [] : [.. c.Clauses.SelectMany(x => x.Patterns.Select(p => (p.Pattern, p.Value, (KeyClause?)x))), .. contains.Select(x => (x.Names, x.Value, (KeyClause?)null))];
        if (patterns.Count > MaxPatterns)
        {
            throw new GrammarComplexityException($"an object has {patterns.Count} patternProperties; at most {MaxPatterns} are supported");
        }

        return new ObjectMatcher(
            names.All, (name, marks) => NodeOf(Marked(values[name], marks)), SetOf(required, names.Count), Dependents(c, names),
            [.. names.All.Select(name => contains.Select((x, i) => Arena.Matches(x.Names, name) ? 1 << i : 0).Sum())],
            contains.Select((x, i) => x.Value == SchemaLiterals.Any ? 1 << i : 0).Sum())
        {
            Id = _matcherCount++,
            Min = c.Min,
            Max = c.Max,
            Contains = contains.Count,
            Arena = Arena,
            KeyTerm = contains.Count == 0 ? Bounded(keys, Cardinality.Plenty) : keys,
            HasEndlessKeys = keys == Arena.All || Arena.IsInfinite(keys),
            Patterns = [.. patterns.Select(p => p.Pattern)],
            ValueOfOther = (matched, marks) => NodeOf(Marked(ValueOfOther(c, patterns, matched), marks)),
            AnyOrder = _options.AnyPropertyOrder,
            AllowsWhitespace = _options.AllowWhitespace,
        };

        SchemaLiterals Marked(SchemaLiterals value, int marks)
        {
            for (int i = 0; i < contains.Count; i++)
            {
                value = (marks & (1 << i)) != 0 ? value.And(contains[i].Value) : value;
            }

            return value;
        }
    }

    /// <summary>
    /// The expression for undeclared names, without those that the schemas forbid by name. If they are finitely many they become declared ones instead,
    /// which cannot repeat.
    /// </summary>
    private RegexTerm OtherNames(ObjectConstraint c, RegexTerm keys, DeclaredNames names)
    {
        if (c.Clauses.Any(x => x.Patterns.Count == 0 && IsClosed(x)) || (_options.ClosesObjects && ClosedObjects.CanClose(c) && c.Contains.All(x => names.All.Any(name => Arena.Matches(x.Names, name)))))
        {
            return Arena.Empty;
        }

        foreach (KeyClause clause in c.Clauses)
        {
            foreach ((RegexTerm pattern, _) in clause.Patterns.Where(p => IsFalse(p.Value)))
            {
                keys = Arena.And(keys, Arena.Not(pattern));
            }

            keys = IsClosed(clause) ? Arena.And(keys, Arena.Alt(clause.Patterns.Select(p => p.Pattern))) : keys;
        }

        foreach (RegexTerm some in c.Contains.Select(x => Arena.And(keys, x.Names)).Prepend(keys))
        {
            if (some != Arena.All && !Arena.IsInfinite(some) && Arena.TryEnumerate(some, MaxEnumeratedNames) is { } all)
            {
                names.Add(all);
                keys = some == keys ? Arena.Empty : keys;
            }
        }

        bool anyOther = keys == Arena.All && c.Clauses.All(x => x.Patterns.Count == 0) && c.Contains.Count == 0;
        return anyOther || keys == Arena.Empty || names.Count == 0 ? keys : Arena.And(keys, Arena.Not(Arena.Leaf(LiteralSet.Of(names.All))));
    }

    /// <summary>The containments of the object: at least one property each. If only one name can satisfy one, it becomes required instead.</summary>
    private List<(RegexTerm Names, SchemaLiterals Value)> Contains(ObjectConstraint c, RegexTerm keys, DeclaredNames names, SchemaLiterals[] values, HashSet<int> required)
    {
        List<(RegexTerm Names, SchemaLiterals Value)> contains = [];
        foreach ((RegexTerm pattern, SchemaLiterals value) in c.Contains.Distinct())
        {
            int[] candidates = [.. Enumerable.Range(0, names.Count).Where(i => Arena.Matches(pattern, names.All[i]) && !IsContradiction(values[i].And(value)))];
            if (value == SchemaLiterals.Any && candidates.Any(required.Contains))
            {
                continue;
            }

            if (candidates is [int only] && (keys == Arena.Empty || !Arena.IsLive(Arena.And(keys, pattern))))
            {
                required.Add(only);
                values[only] = values[only].And(value);
                continue;
            }

            contains.Add((pattern, value));
        }

        return contains.Count <= MaxContains ? contains
            : throw new GrammarComplexityException($"an object must hold {contains.Count} properties of which only patterns of their names are known; at most {MaxContains} are supported");
    }

    /// <summary>The conjunction of what all clauses say of a declared name.</summary>
    private SchemaLiterals ValueOf(ObjectConstraint c, string name, RegexTerm allKeys)
    {
        SchemaLiterals value = SchemaLiterals.Any;
        foreach (KeyClause clause in c.Clauses)
        {
            bool covered = clause.Properties.TryGetValue(name, out SchemaLiterals? own);
            value = own is null ? value : value.And(own);
            foreach ((RegexTerm pattern, SchemaLiterals matched) in clause.Patterns)
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

        return allKeys != Arena.All && !Arena.Matches(allKeys, name) ? value.And(SchemaLiterals.Of(_document.False.Literal)) : value;
    }

    private static SchemaLiterals ValueOfOther(ObjectConstraint c, List<(RegexTerm Pattern, SchemaLiterals Value, KeyClause? Clause)> patterns, ulong matched)
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

        return value;
    }

    private bool IsClosed(KeyClause clause) => clause.Additional is { } additional && IsFalse(additional);

    private bool IsFalse(SchemaLiterals value) => value.All.Contains(_document.False.Literal);

    private bool IsContradiction(SchemaLiterals value) => IsFalse(value) || value.All.Any(literal => !literal.IsNegated && value.All.Contains(literal.Complement));

    /// <summary>Indices of names as bits.</summary>
    private static ulong[] SetOf(IEnumerable<int> indices, int count)
    {
        ulong[] set = new ulong[(count + 63) >> 6];
        foreach (int i in indices)
        {
            set[i >> 6] |= 1UL << i;
        }

        return set;
    }

    /// <summary>For each name the names that it needs, transitively; null where it needs none.</summary>
    private static ulong[]?[] Dependents(ObjectConstraint c, DeclaredNames names)
    {
        ulong[]?[] dependents = new ulong[]?[names.Count];
        foreach (IGrouping<string, string> needs in c.Dependents.SelectMany(d => d.Needs, (d, need) => (d.Name, Need: need)).GroupBy(x => x.Name, x => x.Need))
        {
            dependents[names.IndexOf(needs.Key)] = SetOf(needs.Select(names.IndexOf), names.Count);
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

                foreach (int j in ObjectMatcher.Indices((ulong[])set.Clone()))
                {
                    for (int w = 0; w < set.Length && dependents[j] is not null; w++)
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

        return dependents;
    }

    /// <summary>Names in order of declaration.</summary>
    private sealed class DeclaredNames
    {
        private readonly List<string> _names = [];
        private readonly Dictionary<string, int> _indices = [];

        public IReadOnlyList<string> All => _names;

        public int Count => _names.Count;

        public int IndexOf(string name) => _indices[name];

        public void Add(IEnumerable<string> names)
        {
            foreach (string name in names)
            {
                if (_indices.TryAdd(name, _names.Count))
                {
                    _names.Add(name);
                }
            }
        }
    }
}
