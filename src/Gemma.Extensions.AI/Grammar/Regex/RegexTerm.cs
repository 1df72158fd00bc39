using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Regex;

internal enum RegexKind : byte
{
    Empty,
    Epsilon,
    Set,
    Concat,
    Alt,
    And,
    Not,
    Repeat,
    Leaf,

    /// <summary>A term that stands in its own definition, its only kid.</summary>
    Recursive,
}

/// <summary>A language given by a small hand-written automaton rather than by an expression (literals, number ranges, multiples).</summary>
internal abstract class RegexLeaf : IEquatable<RegexLeaf>
{
    public abstract bool Nullable { get; }

    /// <summary>Whether the language is finite.</summary>
    public abstract bool Finite { get; }

    /// <summary>What may follow after <paramref name="c"/>; null for nothing.</summary>
    public abstract RegexLeaf? Derive(int c);

    /// <summary>Characters that the automaton tells apart.</summary>
    public abstract void CollectAlphabet(HashSet<int> chars);

    public abstract bool Equals(RegexLeaf? other);

    public override bool Equals(object? obj) => Equals(obj as RegexLeaf);

    public abstract override int GetHashCode();
}

/// <summary>
/// An extended regular expression over Unicode scalar values (with intersection and complement), hash-consed by its <see cref="RegexArena"/>:
/// equal expressions are the same object. Automaton states are the derivatives (Brzozowski 1964).
/// </summary>
internal sealed class RegexTerm
{
    internal RegexTerm(RegexKind kind, RegexTerm[] kids, CharSet? set = null, int min = 0, int max = 0, RegexLeaf? leaf = null)
    {
        Kind = kind;
        Kids = kids;
        Set = set;
        Min = min;
        Max = max;
        Leaf = leaf;
        HashCode hash = new();
        hash.Add(kind);
        foreach (RegexTerm kid in kids)
        {
            hash.Add(kid.Id);
        }

        hash.Add(set);
        hash.Add(min);
        hash.Add(max);
        hash.Add(leaf);
        Hash = hash.ToHashCode();
    }

    public RegexKind Kind { get; }

    public RegexTerm[] Kids { get; internal set; }

    public CharSet? Set { get; }

    public int Min { get; }

    /// <summary>-1 for no limit.</summary>
    public int Max { get; }

    public RegexLeaf? Leaf { get; }

    public int Id { get; internal set; }

    public bool Nullable { get; internal set; }

    /// <summary>Whether emptiness has to be searched for: the expression holds an intersection, a complement or a hand-written automaton.</summary>
    public bool NeedsSearch { get; internal set; }

    public bool Finite { get; internal set; }

    /// <summary>How deep the recursion of a derivative goes.</summary>
    internal int Recursion { get; set; }

    internal int Hash { get; }

    internal bool SameAs(RegexTerm other) =>
        Kind == other.Kind && Min == other.Min && Max == other.Max && Kids.AsSpan().SequenceEqual(other.Kids)
        && (Set is null ? other.Set is null : Set.Equals(other.Set)) && (Leaf is null ? other.Leaf is null : Leaf.Equals(other.Leaf));
}

/// <summary>Makes expressions, their derivatives, and decides emptiness. Not thread-safe.</summary>
internal sealed class RegexArena
{
    // Bounds the memory of one grammar: an expression takes about 200 bytes with its entries.
    private const int MaxSearch = 60_000;

    // Derivatives are worked out by recursion: so deep that every thread's stack is enough.
    private const int MaxRecursion = 2_500;

    private readonly HashSet<RegexTerm> _terms = new(new Comparer());
    private readonly Dictionary<(int, int), RegexTerm> _derivatives = [];
    private readonly Dictionary<int, bool> _live = [];
    private readonly Dictionary<int, bool> _infinite = [];
    private readonly Dictionary<int, long> _counts = [];
    private CharSet? _excluded;
    private readonly int _maxTerms;
    private int _recursive;
    private int _ids;

    /// <param name="maxTerms">Most expressions that are kept.</param>
    /// <param name="maxRows">Most rows of transitions that automata over these expressions keep: 256 entries of 4 bytes each.</param>
    public RegexArena(int maxTerms = 400_000, int maxRows = 48_000)
    {
        (_maxTerms, MaxRows) = (maxTerms, maxRows);
        Empty = Make(new RegexTerm(RegexKind.Empty, []));
        Epsilon = Make(new RegexTerm(RegexKind.Epsilon, []));
        AnyChar = Set(CharSet.Any);
        All = Repeat(AnyChar, 0, -1);
    }

    public RegexTerm Empty { get; }

    public RegexTerm Epsilon { get; }

    public RegexTerm AnyChar { get; }

    /// <summary>Every text.</summary>
    public RegexTerm All { get; }

    public int Count => _terms.Count;

    /// <summary>Rows of transitions that automata over these expressions keep.</summary>
    public int Rows { get; set; }

    public int MaxRows { get; }

    public RegexTerm Set(CharSet set) => set.IsUnspellable ? Empty : Make(new RegexTerm(RegexKind.Set, [], set));

    public RegexTerm Leaf(RegexLeaf? leaf) => leaf is null ? Empty : Make(new RegexTerm(RegexKind.Leaf, [], leaf: leaf));

    public RegexTerm Literal(string text)
    {
        RegexTerm result = Epsilon;
        foreach (System.Text.Rune rune in text.EnumerateRunes().Reverse())
        {
            result = Concat(Set(CharSet.Of(rune.Value)), result);
        }

        return result;
    }

    public RegexTerm Concat(RegexTerm a, RegexTerm b)
    {
        if (a == Empty || b == Empty)
        {
            return Empty;
        }

        if (a == Epsilon)
        {
            return b;
        }

        if (b == Epsilon || (a == All && b == All))
        {
            return a;
        }

        if (a.Kind != RegexKind.Concat)
        {
            return Make(new RegexTerm(RegexKind.Concat, [a, b]));
        }

        List<RegexTerm> parts = [];
        for (; a.Kind == RegexKind.Concat; a = a.Kids[1])
        {
            parts.Add(a.Kids[0]);
        }

        b = Concat(a, b);
        for (int i = parts.Count - 1; i >= 0; i--)
        {
            b = Concat(parts[i], b);
        }

        return b;
    }

    public RegexTerm Concat(params ReadOnlySpan<RegexTerm> parts)
    {
        RegexTerm result = Epsilon;
        for (int i = parts.Length - 1; i >= 0; i--)
        {
            result = Concat(parts[i], result);
        }

        return result;
    }

    /// <summary>Merges the sorted alternatives of both, which long alternations need to be quick.</summary>
    public RegexTerm Alt(RegexTerm a, RegexTerm b)
    {
        if (a == b || b == Empty || a == All)
        {
            return a;
        }

        if (a == Empty || b == All)
        {
            return b;
        }

        if (a.Kind != RegexKind.Alt && b.Kind != RegexKind.Alt)
        {
            return Alt([a, b]);
        }

        ReadOnlySpan<RegexTerm> x = a.Kind == RegexKind.Alt ? a.Kids : [a], y = b.Kind == RegexKind.Alt ? b.Kids : [b];
        RegexTerm[] merged = new RegexTerm[x.Length + y.Length];
        int i = 0, j = 0, count = 0, sets = 0;
        bool epsilon = false, nullable = false;
        while (i < x.Length || j < y.Length)
        {
            RegexTerm next = j == y.Length || (i < x.Length && x[i].Id <= y[j].Id) ? x[i++] : y[j++];
            if (count > 0 && merged[count - 1] == next)
            {
                continue;
            }

            merged[count++] = next;
            sets += next.Kind == RegexKind.Set ? 1 : 0;
            epsilon |= next == Epsilon;
            nullable |= next != Epsilon && next.Nullable;
        }

        // Two sets have to become one, and an empty text beside a nullable alternative goes: the general way does that.
        return sets > 1 || (epsilon && nullable) ? Alt((IEnumerable<RegexTerm>)merged[..count]) : Make(new RegexTerm(RegexKind.Alt, merged[..count]));
    }

    public RegexTerm Alt(IEnumerable<RegexTerm> parts)
    {
        SortedDictionary<int, RegexTerm> kids = [];
        CharSet? set = null;
        Stack<RegexTerm> todo = new(parts);
        while (todo.TryPop(out RegexTerm? t))
        {
            if (t.Kind == RegexKind.Alt)
            {
                foreach (RegexTerm kid in t.Kids)
                {
                    todo.Push(kid);
                }
            }
            else if (t == All)
            {
                return All;
            }
            else if (t.Kind == RegexKind.Set)
            {
                set = set is null ? t.Set : set.Union(t.Set!);
            }
            else if (t != Empty)
            {
                kids[t.Id] = t;
            }
        }

        if (set is not null)
        {
            RegexTerm merged = Set(set);
            kids[merged.Id] = merged;
        }

        if (kids.Count > 1 && kids.ContainsKey(Epsilon.Id) && kids.Values.Any(k => k != Epsilon && k.Nullable))
        {
            kids.Remove(Epsilon.Id);
        }

        return kids.Count switch
        {
            0 => Empty,
            1 => kids.First().Value,
            _ => Make(new RegexTerm(RegexKind.Alt, [.. kids.Values])),
        };
    }

    public RegexTerm And(RegexTerm a, RegexTerm b) => a == b ? a : And([a, b]);

    public RegexTerm And(IEnumerable<RegexTerm> parts)
    {
        SortedDictionary<int, RegexTerm> kids = [];
        List<RegexTerm> negated = [];
        RegexTerm? span = null;
        Stack<RegexTerm> todo = new(parts);
        while (todo.TryPop(out RegexTerm? t))
        {
            if (t.Kind == RegexKind.And)
            {
                foreach (RegexTerm kid in t.Kids)
                {
                    todo.Push(kid);
                }
            }
            else if (t == Empty)
            {
                return Empty;
            }
            else if (t.Kind == RegexKind.Not)
            {
                negated.Add(t.Kids[0]);
            }
            else if (IsSpan(t))
            {
                if (span is null)
                {
                    span = t;
                    continue;
                }

                ((int min, int max), (int min2, int max2)) = (Lengths(span), Lengths(t));
                (min, max) = (Math.Max(min, min2), max < 0 ? max2 : max2 < 0 ? max : Math.Min(max, max2));
                if (max >= 0 && min > max)
                {
                    return Empty;
                }

                span = Repeat(AnyChar, min, max);
                if (!IsSpan(span))
                {
                    kids[span.Id] = span;
                    span = null;
                }
            }
            else if (t != All)
            {
                kids[t.Id] = t;
            }
        }

        if (span is not null && span != All)
        {
            kids[span.Id] = span;
        }

        // ¬a ∧ ¬b = ¬(a ∨ b) keeps one complement.
        if (negated.Count > 0)
        {
            RegexTerm none = Not(Alt(negated));
            if (none == Empty)
            {
                return Empty;
            }

            if (none != All)
            {
                kids[none.Id] = none;
            }
        }

        if (kids.ContainsKey(Epsilon.Id))
        {
            return kids.Values.All(k => k.Nullable) ? Epsilon : Empty;
        }

        return kids.Count switch
        {
            0 => All,
            1 => kids.First().Value,
            _ => Make(new RegexTerm(RegexKind.And, [.. kids.Values])),
        };
    }

    public RegexTerm Not(RegexTerm a) => a.Kind == RegexKind.Not ? a.Kids[0] : a == All ? Empty : a == Empty ? All : Make(new RegexTerm(RegexKind.Not, [a]));

    public RegexTerm Repeat(RegexTerm a, int min, int max)
    {
        if (max == 0 || a == Epsilon)
        {
            return Epsilon;
        }

        if (a == Empty)
        {
            return min == 0 ? Epsilon : Empty;
        }

        if (min == 1 && max == 1)
        {
            return a;
        }

        if (a.Nullable)
        {
            min = 0;
        }

        if (a.Kind == RegexKind.Repeat && a.Min == 0 && a.Max < 0)
        {
            return a;
        }

        return Make(new RegexTerm(RegexKind.Repeat, [a], min: min, max: max));
    }

    public RegexTerm Optional(RegexTerm a) => Alt(a, Epsilon);

    /// <summary>A new term, whose definition (<see cref="Define"/>) may hold it behind at least one character; whether it matches the empty text is known before.</summary>
    public RegexTerm Recursive(bool nullable)
    {
        RegexTerm term = Make(new RegexTerm(RegexKind.Recursive, [], min: ++_recursive));
        term.Nullable = nullable;
        return term;
    }

    public void Define(RegexTerm recursive, RegexTerm definition) => recursive.Kids = [definition];

    /// <summary>Any text of min to max characters (max -1: no limit).</summary>
    public bool IsSpan(RegexTerm t) => t == AnyChar || (t.Kind == RegexKind.Repeat && t.Kids[0] == AnyChar);

    /// <summary>How long the texts of a span are; one character alone is no repetition and has no counts.</summary>
    private (int Min, int Max) Lengths(RegexTerm span) => span == AnyChar ? (1, 1) : (span.Min, span.Max);

    /// <summary>Makes all terms be without texts that hold one of these characters.</summary>
    public void Exclude(CharSet characters)
    {
        if (_excluded is null)
        {
            _excluded = characters;
            _live.Clear();
            _infinite.Clear();
            _counts.Clear();
        }
    }

    /// <summary>The characters that terms tell apart.</summary>
    public CharPartition Partition(params IEnumerable<RegexTerm> terms) => CharPartition.Of(terms, _excluded);

    /// <summary>The texts that may follow after <paramref name="c"/>.</summary>
    public RegexTerm Derive(RegexTerm t, int c) => _excluded is not null && _excluded.Contains(c) ? Empty : DeriveBy(t, c);

    private RegexTerm DeriveBy(RegexTerm t, int c)
    {
        switch (t.Kind)
        {
            case RegexKind.Empty:
            case RegexKind.Epsilon:
                return Empty;
            case RegexKind.Set:
                return t.Set!.Contains(c) ? Epsilon : Empty;
            case RegexKind.Leaf:
                return Leaf(t.Leaf!.Derive(c));
        }

        if (_derivatives.TryGetValue((t.Id, c), out RegexTerm? known))
        {
            return known;
        }

        RuntimeHelpers.EnsureSufficientExecutionStack();
        RegexTerm result;
        switch (t.Kind)
        {
            case RegexKind.Concat:
                result = Concat(DeriveBy(t.Kids[0], c), t.Kids[1]);
                if (t.Kids[0].Nullable)
                {
                    result = Alt(result, DeriveBy(t.Kids[1], c));
                }

                break;
            case RegexKind.Repeat:
                result = Concat(DeriveBy(t.Kids[0], c), Repeat(t.Kids[0], Math.Max(0, t.Min - 1), t.Max < 0 ? -1 : t.Max - 1));
                break;
            case RegexKind.Not:
                result = Not(DeriveBy(t.Kids[0], c));
                break;
            case RegexKind.Recursive:
                result = DeriveBy(t.Kids[0], c);
                break;
            default:
                RegexTerm[] kids = new RegexTerm[t.Kids.Length];
                for (int i = 0; i < kids.Length; i++)
                {
                    kids[i] = DeriveBy(t.Kids[i], c);
                    if (kids[i] == Empty && t.Kind == RegexKind.And)
                    {
                        return _derivatives[(t.Id, c)] = Empty;
                    }
                }

                result = t.Kind == RegexKind.Alt ? Alt(kids) : And(kids);
                break;
        }

        _derivatives[(t.Id, c)] = result;
        return result;
    }

    /// <summary>
    /// Whether the language has any text. The search is bounded: while compiling it is refused where it gets too large; later an expression
    /// counts as having none where none was found. There always is one that has: the text on which the first search ended goes on.
    /// </summary>
    public bool IsLive(RegexTerm t)
    {
        if (t == Empty)
        {
            return false;
        }

        if (!t.NeedsSearch || t.Nullable)
        {
            return true;
        }

        if (_live.TryGetValue(t.Id, out bool live))
        {
            return live;
        }

        // Depth first towards an accepting derivative. The path to it is live; if none is found, all that was seen is dead.
        CharPartition partition = Partition(t);
        HashSet<int> seen = [t.Id];
        Stack<(RegexTerm Term, int Next)> path = new();
        path.Push((t, 0));
        while (path.TryPop(out (RegexTerm Term, int Next) top))
        {
            GrammarWork.Spend(20);
            if (top.Next == partition.Count)
            {
                continue;
            }

            path.Push((top.Term, top.Next + 1));
            RegexTerm next = Derive(top.Term, partition.Representative(top.Next));
            bool known = _live.TryGetValue(next.Id, out bool nextLive);
            if ((known && nextLive) || next.Nullable || (next != Empty && !next.NeedsSearch))
            {
                foreach ((RegexTerm term, _) in path)
                {
                    _live[term.Id] = true;
                }

                return true;
            }

            if (next != Empty && !known && seen.Add(next.Id))
            {
                if (seen.Count > (GrammarWork.IsCompiling ? MaxSearch : 2 * MaxSearch))
                {
                    return GrammarWork.IsCompiling
                        ? throw new GrammarComplexityException("deciding whether any text satisfies it takes more than " + MaxSearch + " automaton states")
                        : _live[t.Id] = false;
                }

                path.Push((next, 0));
            }
        }

        foreach (int id in seen)
        {
            _live[id] = false;
        }

        return false;
    }

    /// <summary>Whether the language has infinitely many texts: an expression comes again among what may follow after some characters of it.</summary>
    public bool IsInfinite(RegexTerm t)
    {
        if (t.Finite || !IsLive(t))
        {
            return false;
        }

        if (_infinite.TryGetValue(t.Id, out bool known))
        {
            return known;
        }

        CharPartition partition = Partition(t);
        HashSet<int> seen = [t.Id], open = [t.Id];
        Stack<(RegexTerm Term, int Next)> path = new([(t, 0)]);
        while (path.TryPop(out (RegexTerm Term, int Next) top))
        {
            GrammarWork.Spend(20);
            if (top.Next == partition.Count)
            {
                open.Remove(top.Term.Id);
                continue;
            }

            path.Push((top.Term, top.Next + 1));
            RegexTerm next = Derive(top.Term, partition.Representative(top.Next));
            if (!IsLive(next))
            {
                continue;
            }

            if (open.Contains(next.Id))
            {
                return _infinite[t.Id] = true;
            }

            if (seen.Add(next.Id))
            {
                if (seen.Count > MaxSearch)
                {
                    return GrammarWork.IsCompiling ? throw new GrammarComplexityException("deciding whether infinitely many texts satisfy it takes more than " + MaxSearch + " automaton states") : false;
                }

                open.Add(next.Id);
                path.Push((next, 0));
            }
        }

        return _infinite[t.Id] = false;
    }

    /// <summary>How many texts there are: no more than there are, and as many if that is less than the limit.</summary>
    public long CountTexts(RegexTerm t, long limit)
    {
        if (t == Empty)
        {
            return 0;
        }

        if (_counts.TryGetValue(t.Id, out long known))
        {
            return Math.Min(known, limit);
        }

        return _counts[t.Id] = IsInfinite(t) ? limit : CountFinite(t, limit);
    }

    private long CountFinite(RegexTerm t, long limit)
    {
        CharPartition partition = Partition(t);
        Dictionary<RegexTerm, long> beginnings = new() { [t] = 1 };
        long count = 0;
        while (beginnings.Count > 0)
        {
            Dictionary<RegexTerm, long> longer = [];
            foreach ((RegexTerm term, long number) in beginnings)
            {
                count += term.Nullable ? number : 0;
                for (int i = 0; i < partition.Count; i++)
                {
                    GrammarWork.Spend(20);
                    RegexTerm next = Derive(term, partition.Representative(i));
                    if (IsLive(next))
                    {
                        longer[next] = Math.Min(limit, longer.GetValueOrDefault(next) + (number * partition.SizeOf(i)));
                    }
                }
            }

            // Each of the beginnings has an end.
            if (count + longer.Values.Sum() >= limit)
            {
                return limit;
            }

            beginnings = longer;
        }

        return count;
    }

    public bool Matches(RegexTerm t, string text)
    {
        foreach (System.Text.Rune rune in text.EnumerateRunes())
        {
            t = Derive(t, rune.Value);
            if (t == Empty)
            {
                return false;
            }
        }

        return t.Nullable;
    }

    /// <summary>The texts of a finite language; null where there are more than <paramref name="limit"/>.</summary>
    public List<string>? TryEnumerate(RegexTerm t, int limit)
    {
        try
        {
            return Enumerate(t, limit);
        }
        catch (NotSupportedException e) when (e is not GrammarComplexityException)
        {
            return null;
        }
    }

    /// <summary>The texts of a finite language.</summary>
    /// <exception cref="NotSupportedException">There are more than <paramref name="limit"/>.</exception>
    public List<string> Enumerate(RegexTerm t, int limit)
    {
        List<string> texts = [];
        Stack<(RegexTerm Term, string Text)> todo = new([(t, "")]);
        while (todo.TryPop(out (RegexTerm Term, string Text) top))
        {
            if (top.Term.Nullable)
            {
                texts.Add(top.Text);
            }

            if (texts.Count + todo.Count > limit || top.Text.Length > 1000)
            {
                throw new NotSupportedException($"more than {limit} different values are allowed");
            }

            CharPartition partition = Partition(top.Term);
            for (int i = 0; i < partition.Count; i++)
            {
                RegexTerm next = Derive(top.Term, partition.Representative(i));
                if (IsLive(next))
                {
                    foreach (int c in partition.Characters(i, limit))
                    {
                        todo.Push((next, top.Text + char.ConvertFromUtf32(c)));
                    }
                }
            }
        }

        texts.Sort(StringComparer.Ordinal);
        return texts;
    }

    private RegexTerm Make(RegexTerm candidate)
    {
        GrammarWork.Spend(GrammarWork.Term * (candidate.Kids.Length + 1));
        if (_terms.TryGetValue(candidate, out RegexTerm? known))
        {
            return known;
        }

        if (_terms.Count >= _maxTerms)
        {
            Forget();
        }

        RegexTerm[] kids = candidate.Kids;
        candidate.NeedsSearch = candidate.Kind is RegexKind.And or RegexKind.Not or RegexKind.Leaf or RegexKind.Recursive || kids.Any(k => k.NeedsSearch);
        candidate.Finite = candidate.Kind switch
        {
            RegexKind.Leaf => candidate.Leaf!.Finite,
            RegexKind.And => kids.Any(k => k.Finite),
            RegexKind.Not or RegexKind.Recursive => false,
            RegexKind.Repeat => candidate.Max >= 0 && kids[0].Finite,
            _ => kids.All(k => k.Finite),
        };
        candidate.Nullable = candidate.Kind switch
        {
            RegexKind.Epsilon => true,
            RegexKind.Concat => kids[0].Nullable && kids[1].Nullable,
            RegexKind.Alt => kids.Any(k => k.Nullable),
            RegexKind.And => kids.All(k => k.Nullable),
            RegexKind.Not => !kids[0].Nullable,
            RegexKind.Repeat => candidate.Min == 0 || kids[0].Nullable,
            RegexKind.Leaf => candidate.Leaf!.Nullable,
            _ => false,
        };
        candidate.Recursion = 1 + candidate.Kind switch
        {
            RegexKind.Concat => Math.Max(kids[0].Recursion, kids[0].Nullable ? kids[1].Recursion : 0),
            _ => kids.Length == 0 ? 0 : kids.Max(k => k.Recursion),
        };
        if (candidate.Recursion > MaxRecursion && GrammarWork.IsCompiling)
        {
            throw new GrammarComplexityException("it nests too deeply, or has too many optional parts in a row");
        }

        candidate.Id = _ids++;
        _terms.Add(candidate);
        return candidate;
    }

    /// <summary>
    /// The table is full: while compiling the expression is refused; later the later terms, and what is known of any, are forgotten. Those in use
    /// stay as they are; an equal one that is made again is another, which costs states and nothing else.
    /// </summary>
    private void Forget()
    {
        if (GrammarWork.IsCompiling)
        {
            throw new GrammarComplexityException("its automaton has more than " + _maxTerms + " states");
        }

        _terms.RemoveWhere(t => t.Id >= _maxTerms / 2);
        _derivatives.Clear();
        _live.Clear();
        _infinite.Clear();
        _counts.Clear();
    }

    private sealed class Comparer : IEqualityComparer<RegexTerm>
    {
        public bool Equals(RegexTerm? x, RegexTerm? y) => ReferenceEquals(x, y) || x!.SameAs(y!);

        public int GetHashCode(RegexTerm obj) => obj.Hash;
    }
}
