using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Regex;

// Searches over derivatives: whether an expression has texts, how many, and which.
internal sealed partial class RegexArena
{
    /// <summary>
    /// True if the language has a text. The search is bounded: a compilation is refused where it gets too large; later, an expression
    /// counts as empty if nothing was found. That never leaves a text without continuation, since the one that the first search found stays live.
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

        return _live.TryGetValue(t.Id, out bool live) ? live : FindsText(t);
    }

    /// <summary>Searches depth first for an accepting derivative. The path to it is live; if none is found, all that was seen is dead.</summary>
    private bool FindsText(RegexTerm t)
    {
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

    /// <summary>True if the language is infinite: a derivative recurs on its own path.</summary>
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

    /// <summary>The number of texts, exact below the limit, else a lower bound.</summary>
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

            // Each prefix can be completed.
            if (count + longer.Values.Sum() >= limit)
            {
                return limit;
            }

            beginnings = longer;
        }

        return count;
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
}
