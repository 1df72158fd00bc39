using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>Items of an array, ready to be read.</summary>
internal sealed class ArrayMatcher
{
    private const int MaxStates = 100_000;
    private readonly Func<int, int, ValueNode> _node; // (index capped at the prefix, bits of the contains that count the item) → item.
    private readonly int _prefix;
    private readonly int _min;
    private readonly int _declaredMax;
    private readonly string? _unique; // Where the schema says so.
    private readonly int _least; // Without an upper limit, counting stops here.
    private readonly Dictionary<(int Count, long Matched, int Nesting), bool> _canFinish = [];
    private int? _effectiveMax;
    private int? _height;
    private int[]? _itemHeights;

    public ArrayMatcher(int id, Func<int, int, ValueNode> node, int prefix, int min, int max, (int Min, int Max)[] contains, string? unique, bool allowsWhitespace)
    {
        (Id, _node, _prefix, _min, _declaredMax, Contains, _unique, AllowsWhitespace) = (id, node, prefix, min, max, contains, unique, allowsWhitespace);
        _least = Math.Max(prefix, min);

        // The number of possible counts is known up front, and so is whether tracking them is too expensive.
        long states = contains.Length == 0 ? 0 : 1L + (_declaredMax >= 0 ? _declaredMax : _least);
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

    /// <summary>minContains and maxContains of each contains (-1 for no limit).</summary>
    public (int Min, int Max)[] Contains { get; }

    /// <summary>True if items must not repeat.</summary>
    public bool IsUnique => _unique is not null;

    public bool AllowsWhitespace { get; }

    // The first index without a possible item bounds the length.
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

            if (IsUnique)
            {
                max = MaxUnique(max);
            }

            _effectiveMax = max;
            return max;
        }
    }

    /// <summary>True if the number of items is unlimited.</summary>
    public bool IsUnbounded => !IsUnique && _max < 0 && Contains.All(static c => c.Max < 0) && (Contains.Length == 0 || _prefix == 0) && !_node(_prefix, 0).IsEmpty;

    /// <summary>The fewest objects and arrays that are open at a time, this one included.</summary>
    public int Height => _height ??= HeightBy(static node => node.Height);

    /// <summary>The items without regard to contains, by their places.</summary>
    public IEnumerable<ValueNode> PossibleItems() => Enumerable.Range(0, _max < 0 ? _prefix + 1 : Math.Min(_max, _prefix + 1)).Select(i => _node(i, 0));

    /// <summary>The lengths of arrays, up to many, with the items that would come next.</summary>
    public IEnumerable<(int Length, Cardinality Next)> Lengths()
    {
        for (int i = 0; i < 64 && (_max < 0 || i <= _max); i++)
        {
            yield return (i, i == _max ? new Cardinality(0, false, 0) : _node(Math.Min(i, _prefix), 0).Cardinality);
        }
    }

    /// <summary>True if an array may have this length.</summary>
    public bool CanBeOf(int length) => length >= _min && (_max < 0 || length <= _max);

    /// <summary>The largest length with a new value available at every place.</summary>
    private int MaxUnique(int max)
    {
        bool isExact = true;
        if (Contains.Length > 0)
        {
            if (AllNodes().Any(static node => !node.IsEmpty && node.Cardinality.Count < Cardinality.Plenty))
            {
                throw Refused("it stands beside contains, and there are few different items");
            }
        }

        for (int i = 0; Contains.Length == 0 && i <= _prefix && (max < 0 || i < max); i++)
        {
            Cardinality cardinality = _node(i, 0).Cardinality;
            int most = cardinality.Count >= Cardinality.Plenty || (i < _prefix && cardinality.Count > i) ? int.MaxValue : (int)Math.Max(i, i < _prefix ? 0 : cardinality.Count);
            if (max < 0 ? most < int.MaxValue : most < max)
            {
                max = most;
                isExact = _prefix == 0 && cardinality.IsExact;
            }
        }

        return max < 0 || max >= _min || isExact ? max : throw Refused($"only {max} items are known to differ, but {_min} are demanded");
    }

    /// <summary>Refuses unique items unless enough different ones are known to exist.</summary>
    public void CheckUnique() => _ = _max;

    private NotSupportedException Refused(string why) => new($"The JSON schema cannot be enforced at '{_unique}': {why}. Remove the keyword, or allow the lenient mode, which ignores it.");

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

    public int Cap(int count) => _max >= 0 ? count : Math.Min(count, _least);

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

    public bool IsSatisfiable() => CanFinish(0, new int[Contains.Length], int.MaxValue);

    /// <summary>True if another item within a nesting limit may follow.</summary>
    public bool CanContinue(int count, int[] matched, int nesting) => 
        (_max < 0 || count < _max) && Items(count, matched, nesting).Any(item => !IsUnique || count == 0 || item.Node.Cardinality.Height <= nesting);

    /// <summary>The minimum nesting of the array, itself included, given that of its items.</summary>
    public int HeightBy(Func<ValueNode, int> heightOf) => Math.Min(JsonSchemaCompiler.Unbounded, 1 + (
        CanClose(0, new int[Contains.Length]) ? 0
        : Contains.Length > 0 ? HeightBesideContains(heightOf)
        : Enumerable.Range(0, Math.Min(_min, _prefix + 1)).Max(i => IsUnique && _min > 1 ? Math.Max(heightOf(_node(i, 0)), _node(i, 0).Cardinality.Height) : heightOf(_node(i, 0)))));

    /// <summary>The least height such that items no higher can be all that contains demands; where items are unique too, that of the highest item.</summary>
    private int HeightBesideContains(Func<ValueNode, int> heightOf)
    {
        int[] heights = [.. AllNodes().Where(static node => !node.IsEmpty).Select(heightOf).Distinct().Order()];
        if (heights.Length <= 1 || IsUnique)
        {
            return heights.DefaultIfEmpty(0).Last();
        }

        return heights.Where(height => height < JsonSchemaCompiler.Unbounded && CanFinish(0, new int[Contains.Length], height, node => heightOf(node) <= height, []))
            .DefaultIfEmpty(JsonSchemaCompiler.Unbounded).First();
    }

    /// <summary>The items that leave the array completable within a nesting limit, each with the updated counts.</summary>
    public IEnumerable<(ValueNode Node, int[] Matched)> Items(int count, int[] matched, int nesting)
    {
        if (_max >= 0 && count >= _max)
        {
            yield break;
        }

        int within = Contains.Length == 0 ? nesting : Within(nesting);

        for (int marks = 0; marks < 1 << Contains.Length; marks++)
        {
            GrammarWork.Spend(30);
            ValueNode node = _node(Math.Min(count, _prefix), marks);
            if (node.IsEmpty || node.Height > nesting)
            {
                continue;
            }

            int[] after = Mark(matched, marks);
            if (Contains.Length == 0 || CanFinish(Cap(count + 1), after, within))
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

    /// <summary>One number for all depths that leave room for the same items, so that few are computed again.</summary>
    private int Within(int nesting)
    {
        _itemHeights ??= [.. AllNodes().Where(static node => !node.IsEmpty).Select(static node => node.Height).Distinct().Order()];
        return _itemHeights.Length == 0 || nesting >= _itemHeights[^1] ? int.MaxValue : _itemHeights.LastOrDefault(height => height <= nesting, -1);
    }

    private bool CanFinish(int count, int[] matched, int nesting) => CanFinish(count, matched, nesting, nesting == int.MaxValue ? null : node => node.Height <= nesting, _canFinish);

    private bool CanFinish(int count, int[] matched, int nesting, Func<ValueNode, bool>? fits, Dictionary<(int Count, long Matched, int Nesting), bool> decided)
    {
        if (Contains.Length == 0)
        {
            return (_min <= 1 && IsUnique && _declaredMax != 0 && (_min == 0 || !_node(0, 0).IsEmpty)) || _max < 0 || _min <= _max;
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

        if (decided.TryGetValue((count, key, nesting), out bool known))
        {
            return known;
        }

        System.Runtime.CompilerServices.RuntimeHelpers.EnsureSufficientExecutionStack();
        decided[(count, key, nesting)] = false; // A cycle makes no progress.
        bool result = false, isDone = false;
        try
        {
            if (_max < 0 || count < _max)
            {
                for (int marks = (1 << Contains.Length) - 1; marks >= 0 && !result; marks--)
                {
                    GrammarWork.Spend(30);
                    int[] after = Mark(matched, marks);
                    bool over = false;
                    for (int i = 0; i < after.Length; i++)
                    {
                        over |= Contains[i].Max >= 0 && after[i] > Contains[i].Max;
                    }

                    result = !over && _node(Math.Min(count, _prefix), marks) is { IsEmpty: false } node && (fits is null || fits(node)) && CanFinish(Cap(count + 1), after, nesting, fits, decided);
                }
            }

            isDone = true;
        }
        finally
        {
            // What was interrupted is not known.
            if (!isDone)
            {
                decided.Remove((count, key, nesting));
            }
        }

        return decided[(count, key, nesting)] = result;
    }
}
