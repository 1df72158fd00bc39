using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Regex;

/// <summary>Builds terms and their derivatives, and decides emptiness. Not thread-safe.</summary>
internal sealed partial class RegexArena
{
    // Bounds the memory of one grammar: an expression takes about 200 bytes with its entries.
    private const int MaxSearch = 60_000;

    // Derivatives recurse; this depth fits the stack of any thread.
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

    /// <param name="maxTerms">Limit of terms kept.</param>
    /// <param name="maxRows">Limit of transition rows kept by all automata over these terms: 256 entries of 4 bytes each.</param>
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

    /// <summary>Transition rows kept by all automata over these terms.</summary>
    public int Rows { get; set; }

    public int MaxRows { get; }

    /// <summary>States of automata over these expressions.</summary>
    public int States { get; set; }

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

    /// <summary>Merges the sorted alternatives of both, in linear time: long alternations need it.</summary>
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

        // Two sets become one, and an empty text beside a nullable alternative is dropped: left to the general case.
        return sets > 1 || (epsilon && nullable) ? Alt((IEnumerable<RegexTerm>)merged[..count]) : Make(new RegexTerm(RegexKind.Alt, merged[..count]));
    }

    public RegexTerm Alt(IEnumerable<RegexTerm> parts)
    {
        SortedDictionary<int, RegexTerm> kids = [];
        CharSet? set = null;
        foreach (RegexTerm t in Flattened(RegexKind.Alt, parts))
        {
            if (t == All)
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
        foreach (RegexTerm t in Flattened(RegexKind.And, parts))
        {
            if (t == Empty)
            {
                return Empty;
            }
            else if (t.Kind == RegexKind.Not)
            {
                negated.Add(t.Kids[0]);
            }
            else if (IsSpan(t))
            {
                span = span is null ? t : Intersect(span, t);
                if (span == Empty)
                {
                    return Empty;
                }

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

        return AndNone(kids, negated);
    }

    /// <summary>The intersection of some terms and of the complements of others.</summary>
    private RegexTerm AndNone(SortedDictionary<int, RegexTerm> kids, List<RegexTerm> negated)
    {
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

    /// <summary>A term defined later (<see cref="Define"/>) that may occur in its own definition, behind at least one character; its nullability is given.</summary>
    public RegexTerm Recursive(bool nullable)
    {
        RegexTerm term = Make(new RegexTerm(RegexKind.Recursive, [], min: ++_recursive));
        term.Nullable = nullable;
        return term;
    }

    public void Define(RegexTerm recursive, RegexTerm definition) => recursive.Kids = [definition];

    /// <summary>Any text of min to max characters (max -1: no limit).</summary>
    public bool IsSpan(RegexTerm t) => t == AnyChar || (t.Kind == RegexKind.Repeat && t.Kids[0] == AnyChar);

    /// <summary>The terms, with the parts of those of a kind in their place: it is associative.</summary>
    private static IEnumerable<RegexTerm> Flattened(RegexKind kind, IEnumerable<RegexTerm> terms)
    {
        Stack<RegexTerm> todo = new(terms);
        while (todo.TryPop(out RegexTerm? term))
        {
            if (term.Kind != kind)
            {
                yield return term;
                continue;
            }

            foreach (RegexTerm part in term.Kids)
            {
                todo.Push(part);
            }
        }
    }

    private RegexTerm Intersect(RegexTerm span, RegexTerm other)
    {
        ((int min, int max), (int min2, int max2)) = (Lengths(span), Lengths(other));
        (min, max) = (Math.Max(min, min2), max < 0 ? max2 : max2 < 0 ? max : Math.Min(max, max2));
        return max >= 0 && min > max ? Empty : Repeat(AnyChar, min, max);
    }

    /// <summary>The lengths of a span's texts; a single character is not a repetition and has no counts.</summary>
    private (int Min, int Max) Lengths(RegexTerm span) => span == AnyChar ? (1, 1) : (span.Min, span.Max);

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
    /// Called when the table is full. A compilation is refused; later, the newer half of the terms and all caches are dropped. Terms in use
    /// stay valid; an equal term made again is another object, which only costs states.
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
