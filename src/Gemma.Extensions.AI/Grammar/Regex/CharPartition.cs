using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Regex;

/// <summary>Classes of characters that an expression does not distinguish (its minterms, or a little finer).</summary>
internal sealed class CharPartition
{
    /// <summary>One class: every character alike.</summary>
    public static readonly CharPartition Trivial = new([0], [0], ['a']);

    private readonly int[] _starts;
    private readonly int[] _classes;
    private readonly int[] _representatives;
    private readonly int[] _ascii = new int[128];

    private CharPartition(int[] starts, int[] classes, int[] representatives)
    {
        _starts = starts;
        _classes = classes;
        _representatives = representatives;
        for (int c = 0; c < 128; c++)
        {
            _ascii[c] = classes[IndexOf(c)];
        }
    }

    public int Count => _representatives.Length;

    public int Representative(int charClass) => _representatives[charClass];

    public int ClassOf(int c) => (uint)c < 128u ? _ascii[c] : _classes[IndexOf(c)];

    /// <summary>The common class of the characters from lo to hi, or -1.</summary>
    public int ClassOf(int lo, int hi)
    {
        int i = IndexOf(lo), j = IndexOf(hi);
        for (int k = i + 1; k <= j; k++)
        {
            if (_classes[k] != _classes[i])
            {
                return -1;
            }
        }

        return _classes[i];
    }

    /// <summary>The classes (with repetitions) of the characters from lo to hi.</summary>
    public IEnumerable<int> ClassesOf(int lo, int hi)
    {
        // Surrogates are in some sets, such as [^a], but in no text.
        return hi < 0xD800 || lo > 0xDFFF ? Slice(lo, hi) : Slice(lo, 0xD7FF).Concat(Slice(0xE000, hi));

        IEnumerable<int> Slice(int from, int to) => from > to ? [] : _classes[IndexOf(from)..(IndexOf(to) + 1)];
    }

    public static CharPartition Of(IEnumerable<RegexTerm> roots, CharSet? beside = null)
    {
        HashSet<CharSet> sets = beside is null ? [] : [beside];
        HashSet<int> singles = [];
        HashSet<int> seen = [];
        Stack<RegexTerm> todo = new(roots);
        while (todo.TryPop(out RegexTerm? t))
        {
            GrammarWork.Spend(5);
            if (!seen.Add(t.Id))
            {
                continue;
            }

            if (t.Kind == RegexKind.Set)
            {
                sets.Add(t.Set!);
            }
            else if (t.Kind == RegexKind.Leaf)
            {
                t.Leaf!.CollectAlphabet(singles);
            }

            foreach (RegexTerm kid in t.Kids)
            {
                todo.Push(kid);
            }
        }

        return Of(sets, singles);
    }

    public static CharPartition Of(IReadOnlyCollection<CharSet> sets, IReadOnlyCollection<int> singles)
    {
        GrammarWork.Spend(100 * singles.Count);
        SortedSet<int> boundaries = [0];
        foreach (CharSet set in sets)
        {
            foreach ((int lo, int hi) in set.Pairs())
            {
                boundaries.Add(lo);
                boundaries.Add(hi + 1);
            }
        }

        foreach (int c in singles)
        {
            boundaries.Add(c);
            boundaries.Add(c + 1);
        }

        int[] starts = [.. boundaries.Where(b => b <= CharSet.MaxChar)];
        if (starts.Length == 1)
        {
            return Trivial;
        }

        return Of(starts, Memberships(starts, sets, singles));
    }

    /// <summary>For each range, the sets that it lies in, by number.</summary>
    private static List<int>[] Memberships(int[] starts, IReadOnlyCollection<CharSet> sets, IReadOnlyCollection<int> singles)
    {
        List<int>[] members = new List<int>[starts.Length];
        for (int i = 0; i < members.Length; i++)
        {
            members[i] = [];
        }

        int number = 0;
        foreach (CharSet set in sets)
        {
            foreach ((int lo, int hi) in set.Pairs())
            {
                GrammarWork.Spend(50);
                int i = Array.BinarySearch(starts, lo), first = i;
                for (; i >= 0 && i < starts.Length && starts[i] <= hi; i++)
                {
                    members[i].Add(number);
                }

                GrammarWork.Spend(10 * Math.Max(0, i - first));
            }

            number++;
        }

        foreach (int c in singles)
        {
            int i = Array.BinarySearch(starts, c);
            if (i >= 0)
            {
                members[i].Add(number);
            }

            number++;
        }

        return members;
    }

    /// <summary>Ranges that lie in the same sets are one class.</summary>
    private static CharPartition Of(int[] starts, List<int>[] members)
    {
        Dictionary<string, int> ids = [];
        int[] classes = new int[starts.Length];
        List<int> representatives = [];
        for (int i = 0; i < starts.Length; i++)
        {
            string key = string.Join(',', members[i]);
            if (!ids.TryGetValue(key, out classes[i]))
            {
                classes[i] = ids[key] = representatives.Count;
                representatives.Add(starts[i]);
            }
        }

        return new CharPartition(starts, classes, [.. representatives]);
    }

    /// <summary>The number of characters in a class, not counting surrogates.</summary>
    public long SizeOf(int charClass)
    {
        long size = 0;
        for (int i = 0; i < _starts.Length; i++)
        {
            int end = i + 1 < _starts.Length ? _starts[i + 1] : CharSet.MaxChar + 1;
            size += _classes[i] == charClass ? end - _starts[i] - Math.Max(0, Math.Min(end, 0xE000) - Math.Max(_starts[i], 0xD800)) : 0;
        }

        return size;
    }

    /// <summary>The characters of a class; throws where there are more than <paramref name="limit"/>.</summary>
    public List<int> Characters(int charClass, int limit)
    {
        List<int> result = [];
        for (int i = 0; i < _starts.Length; i++)
        {
            int end = i + 1 < _starts.Length ? _starts[i + 1] : CharSet.MaxChar + 1;
            if (_classes[i] != charClass)
            {
                continue;
            }

            if (end - _starts[i] + result.Count > limit)
            {
                throw new NotSupportedException($"more than {limit} different values are allowed");
            }

            result.AddRange(Enumerable.Range(_starts[i], end - _starts[i]));
        }

        return result;
    }

    private int IndexOf(int c)
    {
        int i = Array.BinarySearch(_starts, c);
        return i >= 0 ? i : ~i - 1;
    }
}
