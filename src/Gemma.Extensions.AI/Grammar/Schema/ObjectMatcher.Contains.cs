using System.Numerics;
using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Schema;

// Containments: properties that must exist, known by a pattern of their name and a schema of their value.
internal sealed partial class ObjectMatcher
{
    private ulong[]? _sets; // By name: the sets of marks for which a value exists, a bit each.
    private ulong? _otherSets; // The same for undeclared names.

    /// <summary>The possible values of an allowed key, each with the containments that it leaves open.</summary>
    /// <param name="name">The declared name.</param>
    /// <param name="seen">The names so far, including this one.</param>
    /// <param name="count">The number of keys so far, including this one.</param>
    /// <param name="open">The containments open before it.</param>
    /// <param name="nesting">The nesting allowed in a value.</param>
    public IEnumerable<(ValueNode Value, int Open)> ValuesOf(int name, ulong[] seen, int count, int open, int nesting)
    {
        if ((_marks[name] & open) == 0)
        {
            return [(Nodes[name], open)];
        }

        Func<ValueNode, bool>? fits = Fits(nesting);
        return MarksWithin(_marks[name] & open)
            .Where(marks => IsPossible(ValueOf(name, marks), fits) && CanFinish(seen, name + 1, count, open & ~marks, fits))
            .Select(marks => (ValueOf(name, marks), open & ~marks));
    }

    /// <summary>The same for an undeclared key.</summary>
    public IEnumerable<(ValueNode Value, int Open)> ValuesOfOther(ulong matched, Choice choice, int open, int nesting)
    {
        Func<ValueNode, bool>? fits = Fits(nesting);
        return MarksWithin(MarksOfOther(matched) & open)
            .Where(marks => choice.HasOther(marks) && IsPossible(OtherNode(matched, marks), fits))
            .Select(marks => (OtherNode(matched, marks), open & ~marks));
    }

    /// <summary>The distinct sets of marks, the largest first.</summary>
    private IEnumerable<int> MarksWithin(int all)
    {
        for (int marks = all; ; marks = (marks - 1) & all)
        {
            if ((marks & _always) == (all & _always))
            {
                yield return marks;
            }

            if (marks == 0)
            {
                yield break;
            }
        }
    }

    private static Func<ValueNode, bool>? Fits(int nesting) => nesting == int.MaxValue ? null : node => node.Height <= nesting;

    private static bool IsPossible(ValueNode node, Func<ValueNode, bool>? fits) => !node.IsEmpty && (fits is null || fits(node));

    /// <summary>True if the number of keys does not matter and undeclared keys can satisfy all open containments: then declared ones decide nothing.</summary>
    private bool IsFree(int open, int nesting)
    {
        if (Max >= 0 || !CanNestOthers(nesting))
        {
            return false;
        }

        ulong sets = OtherSets();
        for (int rest = open; rest != 0; rest &= rest - 1)
        {
            if ((sets & (1UL << (rest & -rest))) == 0)
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>The sets of marks that an undeclared key can have, as bits.</summary>
    private ulong OtherSets()
    {
        if (_otherSets is { } known)
        {
            return known;
        }

        ulong sets = 0;
        foreach (ulong matched in Keys.AllMatched())
        {
            // Implied marks are ignored here: of two keys, one may satisfy one containment and the other another.
            int all = MarksOfOther(matched);
            for (int marks = all; ; marks = (marks - 1) & all)
            {
                sets |= OtherNode(matched, marks).IsEmpty ? 0 : 1UL << marks;
                if (marks == 0)
                {
                    break;
                }
            }
        }

        _otherSets = sets;
        return sets;
    }

    private ulong[] Sets() => _sets ??= [.. Enumerable.Range(0, Names.Length).Select(i => SetsOf(i, _marks[i], null))];

    private ulong SetsOf(int name, int open, Func<ValueNode, bool>? fits)
    {
        ulong sets = 0;
        for (int marks = _marks[name] & open; ; marks = (marks - 1) & _marks[name] & open)
        {
            sets |= IsPossible(ValueOf(name, marks), fits) ? 1UL << marks : 0;
            if (marks == 0)
            {
                return sets;
            }
        }
    }

    private Choice ChooseMarked(ulong[] seen, int position, int count, int open, int nesting)
    {
        bool[] possible = Possible(nesting);
        Func<ValueNode, bool>? fits = Fits(nesting);
        ulong[] names = new ulong[Words];
        for (int i = AnyOrder ? 0 : position; i < Names.Length; i++)
        {
            if (!possible[i] || (seen[i >> 6] & (1UL << i)) != 0)
            {
                continue;
            }

            ulong[] after = (ulong[])seen.Clone();
            after[i >> 6] |= 1UL << i;
            if (ValuesOf(i, after, count + 1, open, nesting).Any() && ((_marks[i] & open) != 0 || CanFinish(after, i + 1, count + 1, open, fits)))
            {
                names[i >> 6] |= 1UL << i;
            }
        }

        ulong others = 0;
        if (Keys.HasOthers(Keys.Start) && CanNestOthers(nesting) && OthersLeft(seen, count) > 0)
        {
            ulong sets = OtherSets();
            foreach (int marks in Enumerable.Range(0, 1 << Contains).Where(marks => (marks & ~open) == 0 && (sets & (1UL << marks)) != 0))
            {
                others |= CanFinish(seen, Names.Length, count + 1, open & ~marks, fits) ? 1UL << marks : 0;
            }
        }

        return new Choice(names, others, this);
    }

    /// <summary>True if further keys can satisfy every open containment.</summary>
    private bool CanFinish(ulong[] seen, int position, int count, int open, Func<ValueNode, bool>? fits)
    {
        Search search = new(this, seen, AnyOrder ? 0 : position, count, fits);
        return search.Finds(open);
    }

    /// <summary>Searches for keys that satisfy all containments, with as few as possible besides the required ones.</summary>
    private sealed class Search
    {
        private readonly ObjectMatcher _matcher;
        private readonly ulong[] _seen;
        private readonly int _position;
        private readonly int _count;
        private readonly Func<ValueNode, bool>? _fits;
        private readonly ulong[] _needed;
        private readonly ulong[] _chosen;
        private readonly bool[] _possible;
        private readonly bool _hasOthers;
        private readonly int _othersLeft;
        private List<(int Name, ulong Sets)>? _candidates;
        private int _others;

        public Search(ObjectMatcher matcher, ulong[] seen, int position, int count, Func<ValueNode, bool>? fits)
        {
            (_matcher, _seen, _position, _count, _fits) = (matcher, seen, position, count, fits);
            _needed = matcher.Needed(seen);
            _chosen = new ulong[matcher.Words];
            _possible = matcher.Possible();
            _hasOthers = matcher.Keys.HasOthers(matcher.Keys.Start) && (fits is null || matcher.OtherNodes().All(node => node.IsEmpty || fits(node)));
            _othersLeft = _hasOthers ? matcher.OthersLeft(seen, count) : 0;
        }

        public bool Finds(int open)
        {
            GrammarWork.Spend(20);
            if (open == 0)
            {
                return IsFinishable();
            }

            _candidates ??= Candidates(open);
            int first = open & -open;
            if (_hasOthers && _matcher.Max < 0 && FindsAmongOthers(open, first))
            {
                return true;
            }

            foreach ((int name, ulong sets) in _candidates)
            {
                if ((_chosen[name >> 6] & (1UL << name)) != 0)
                {
                    continue;
                }

                _chosen[name >> 6] |= 1UL << name;
                for (ulong rest = sets; rest != 0; rest &= rest - 1)
                {
                    int marks = BitOperations.TrailingZeroCount(rest);
                    if ((marks & first) != 0 && (marks & ~open) == 0 && Finds(open & ~marks))
                    {
                        return true;
                    }
                }

                _chosen[name >> 6] &= ~(1UL << name);
            }

            return _hasOthers && _matcher.Max >= 0 && FindsAmongOthers(open, first);
        }

        private bool FindsAmongOthers(int open, int first)
        {
            for (ulong rest = _matcher.OtherSets(); rest != 0; rest &= rest - 1)
            {
                int marks = BitOperations.TrailingZeroCount(rest);
                if ((marks & first) == 0 || (marks & ~open) != 0 || _others >= _othersLeft)
                {
                    continue;
                }

                _others++;
                if (Finds(open & ~marks))
                {
                    return true;
                }

                _others--;
            }

            return false;
        }

        /// <summary>The names that can satisfy a containment. Of optional ones with the same marks, no more are needed than there are containments.</summary>
        private List<(int Name, ulong Sets)> Candidates(int open)
        {
            List<(int, ulong)> result = [];
            Dictionary<ulong, int> alike = [];
            ulong[] all = _matcher.Sets();
            for (int i = _position; i < _matcher.Names.Length; i++)
            {
                if ((_matcher._marks[i] & open) == 0 || !_possible[i] || (_seen[i >> 6] & (1UL << i)) != 0)
                {
                    continue;
                }

                ulong sets = _fits is null ? all[i] : all[i] & _matcher.SetsOf(i, open, _fits);
                if ((sets & ~1UL) == 0)
                {
                    continue;
                }

                if (_matcher._dependents[i] is null && (_needed[i >> 6] & (1UL << i)) == 0)
                {
                    int number = alike[sets] = alike.GetValueOrDefault(sets) + 1;
                    if (number > _matcher.Contains)
                    {
                        continue;
                    }
                }

                result.Add((i, sets));
            }

            return result;
        }

        /// <summary>True if the chosen keys, together with everything that they and the earlier keys require, can be written.</summary>
        private bool IsFinishable()
        {
            ulong[] all = (ulong[])_seen.Clone();
            int optional = 0;
            for (int w = 0; w < all.Length; w++)
            {
                all[w] |= _chosen[w];
                optional += BitOperations.PopCount(_chosen[w]);
            }

            ulong[] needed = _matcher._hasDependents ? _matcher.Needed(all) : _needed;
            int keys = _count + _others + optional;
            foreach (int i in Indices(needed))
            {
                bool chosen = (_chosen[i >> 6] & (1UL << i)) != 0;
                if (i < _position || !(_fits is null ? _possible[i] : _possible[i] && _fits(_matcher.Nodes[i])))
                {
                    return false;
                }

                keys += chosen ? 0 : 1;
            }

            if (_matcher.Max >= 0 && keys > _matcher.Max)
            {
                return false;
            }

            if (keys >= _matcher.Min || (_hasOthers && keys + _othersLeft - _others >= _matcher.Min))
            {
                return true;
            }

            int available = 0;
            for (int i = _position; i < _matcher.Names.Length; i++)
            {
                available += _possible[i] && (_fits is null || _fits(_matcher.Nodes[i])) && (_seen[i >> 6] & (1UL << i)) == 0 ? 1 : 0;
            }

            return _count + _othersLeft + available >= _matcher.Min;
        }
    }
}
