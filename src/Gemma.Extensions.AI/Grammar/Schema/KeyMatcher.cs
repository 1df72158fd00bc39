using Gemma.Extensions.AI.Grammar.Automaton;
using Gemma.Extensions.AI.Grammar.Budget;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// Reads a key including its closing quote: declared names by their bytes, all others by an expression and the patterns that they match.
/// The object's frame decides which names are allowed at a place.
/// </summary>
internal sealed class KeyMatcher : Lexer
{
    private const int NoOthers = -1;
    private const int MaxSearch = 20_000;

    private readonly ObjectMatcher _matcher;
    private readonly ulong _sets;
    private readonly CharPartition _partition;
    private readonly List<(SortedList<byte, int> Next, int End, ulong[] Names)> _trie = [];
    private readonly List<RegexTerm[]> _vectors = [];
    private readonly Dictionary<string, int> _vectorIds = [];
    private readonly Dictionary<(int Vector, int Class), int> _vectorAfter = [];
    private readonly Dictionary<int, bool> _vectorLive = [];
    private readonly List<(int Name, int Vector, CharDecoder Node)> _states = [];
    private readonly Dictionary<(int, int, CharDecoder), int> _ids = [];
    private readonly List<ulong> _labels = [];
    private ByteClasses? _bytes;
    private IReadOnlyCollection<ulong>? _allMatched;
    private bool _allPossible = true; // Every matched set has a value.

    /// <param name="matcher">The object.</param>
    /// <param name="sets">The sets of marks that undeclared names may have, a bit each.</param>
    public KeyMatcher(ObjectMatcher matcher, ulong sets)
        : base(matcher.Arena)
    {
        (_matcher, _sets) = (matcher, sets);
        _partition = matcher.Arena.Partition([matcher.KeyTerm, .. matcher.Patterns]);
        _trie.Add(([], -1, new ulong[matcher.Words]));
        for (int i = 0; i < matcher.Names.Length; i++)
        {
            int node = 0;
            Mark(0, i);
            foreach (byte b in JsonText.Escape(matcher.Names[i]))
            {
                if (!_trie[node].Next.TryGetValue(b, out int child))
                {
                    child = _trie.Count;
                    _trie[node].Next[b] = child;
                    _trie.Add(([], -1, new ulong[matcher.Words]));
                }

                Mark(node = child, i);
            }

            _trie[node] = _trie[node] with { End = i };
        }

        int vector = VectorOf([matcher.KeyTerm, .. matcher.Patterns]);
        Start = StateOf(0, IsLive(vector) ? vector : NoOthers, CharDecoder.Root);

        void Mark(int node, int name) => _trie[node].Names[name >> 6] |= 1UL << name;
    }

    public override bool IsQuoted => true;

    private ByteClasses Bytes => _bytes ??= ByteClasses.Of(_partition, CharSpelling.JsonName);

    /// <summary>
    /// The sets of patterns that undeclared names can match together. Computed when compiling, so that limits are hit before anything is generated.
    /// </summary>
    public IReadOnlyCollection<ulong> AllMatched()
    {
        if (_allMatched is not null)
        {
            return _allMatched;
        }

        if (!HasOthers(Start))
        {
            return _allMatched = [];
        }

        if (_matcher.Patterns.Length == 0)
        {
            return _allMatched = [0];
        }

        HashSet<ulong> matched = [];
        for (int vector = 0; vector < _vectors.Count; vector++)
        {
            if (!IsLive(vector))
            {
                _allPossible &= _vectors[vector][0] == _matcher.Arena.Empty;
                continue;
            }

            if (_vectors[vector][0].Nullable && matched.Add(Matched(vector)))
            {
                _allPossible &= Ends(vector);
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

        return _allMatched = matched;
    }

    private static GrammarComplexityException TooManyStates() => new("its patternProperties take more than " + MaxSearch + " automaton states");

    /// <summary>True if a declared name has this prefix.</summary>
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

    /// <summary>True if an undeclared name can have this prefix.</summary>
    public bool HasOthers(int state) => _states[state].Vector >= 0;

    /// <summary>True if an undeclared name may end here.</summary>
    public bool EndsOther(int state)
    {
        (int name, int vector, CharDecoder node) = _states[state];
        return vector >= 0 && node == CharDecoder.Root && (name < 0 || _trie[name].End < 0) && Ends(vector);
    }

    public bool IsName(int state) => _states[state].Name >= 0;

    /// <summary>The patterns matched by an undeclared name, from its final label.</summary>
    public ulong MatchedOf(int label) => _labels[label - _matcher.Names.Length];

    /// <summary>The part of the vocabulary that can continue a name as a whole. If every name has a value, any text is a prefix of one.</summary>
    public override SliceKind Slice(int state)
    {
        SliceKind slice = base.Slice(state);
        return slice == SliceKind.None && _states[state] is { Vector: >= 0 and int vector } s && s.Node == CharDecoder.Root && _vectors[vector].Length > 1 && RegexLexer.IsUnlimited(_matcher.Arena, _vectors[vector][0])
            && AllMatched().Count > 0 && _allPossible ? SliceKind.Safe : slice;
    }

    protected override int Compute(int state, byte b)
    {
        (int name, int vector, CharDecoder node) = _states[state];
        if (b == (byte)'"' && node == CharDecoder.Root && !(name >= 0 && _trie[name].Next.ContainsKey(b)))
        {
            return name >= 0 && _trie[name].End >= 0 ? FinalBase - _trie[name].End
                : vector >= 0 && Ends(vector) ? FinalBase - LabelOf(Matched(vector))
                : Dead;
        }

        int nextName = name >= 0 && _trie[name].Next.TryGetValue(b, out int child) ? child : -1;
        int nextVector = NoOthers;
        CharDecoder nextNode = CharDecoder.Root;
        if (vector >= 0)
        {
            switch (CharDecoder.Step(node, b, CharSpelling.JsonName, _partition, out CharDecoder partial, out int charClass))
            {
                case CharStep.Char:
                    int after = VectorAfter(vector, charClass);
                    nextVector = IsLive(after) ? after : NoOthers;
                    break;
                case CharStep.Partial:
                    if (Bytes.ClassesOf(partial).Any(c => IsLive(VectorAfter(vector, c))))
                    {
                        (nextVector, nextNode) = (vector, partial);
                    }

                    break;
            }
        }

        return nextName < 0 && nextVector < 0 ? Dead : StateOf(nextName, nextVector, nextNode);
    }

    protected override void Enter(int[] row, int state, byte b, int next)
    {
        (int name, int vector, CharDecoder node) = _states[state];
        if (name >= 0 && _trie[name].Next.ContainsKey(b))
        {
            row[b] = next;
            return;
        }

        if (vector < 0 && b != '"')
        {
            // Beside the declared names there is nothing.
            for (int i = 0; i < row.Length; i++)
            {
                row[i] = row[i] == Unknown && i != '"' && !_trie[name].Next.ContainsKey((byte)i) ? Dead : row[i];
            }

            return;
        }

        foreach (byte alike in Bytes.Alike(node, b))
        {
            if (name < 0 || !_trie[name].Next.ContainsKey(alike))
            {
                row[alike] = next;
            }
        }
    }

    protected override bool IsBetweenChars(int state) => _states[state] is { Name: < 0 } s && s.Node == CharDecoder.Root;

    protected override bool LeadsBeyondAscii(int state, int next)
    {
        foreach (int charClass in Bytes.BeyondAscii)
        {
            int after = VectorAfter(_states[state].Vector, charClass);
            if (!IsLive(after) || StateOf(-1, after, CharDecoder.Root) != next)
            {
                return false;
            }
        }

        return true;
    }

    private int StateOf(int name, int vector, CharDecoder node)
    {
        if (_ids.TryGetValue((name, vector, node), out int id))
        {
            return id;
        }

        (SliceKind slice, int limit) = vector >= 0 && node == CharDecoder.Root ? SliceOf(_vectors[vector]) : (SliceKind.None, 0);
        if (slice == SliceKind.Free && name >= 0)
        {
            slice = SliceKind.Safe;
        }

        id = AddState(false, slice, limit);
        _states.Add((name, vector, node));
        return _ids[(name, vector, node)] = id;
    }

    private (SliceKind, int) SliceOf(RegexTerm[] vector)
    {
        RegexArena arena = _matcher.Arena;
        return vector.Length == 1 ? RegexLexer.SliceOf(arena, vector[0])
            : vector[0] == arena.All && vector.AsSpan(1).IndexOfAnyExcept(arena.All, arena.Empty) < 0 ? (SliceKind.Free, 0)
            : (SliceKind.None, 0);
    }

    /// <summary>True if a name may end with one of the sets of marks.</summary>
    private bool Ends(int vector)
    {
        if (!_vectors[vector][0].Nullable)
        {
            return false;
        }

        ulong matched = Matched(vector);
        for (ulong rest = _sets; rest != 0; rest &= rest - 1)
        {
            int marks = System.Numerics.BitOperations.TrailingZeroCount(rest);
            if ((marks & ~_matcher.MarksOfOther(matched)) == 0 && !_matcher.OtherNode(matched, marks).IsEmpty)
            {
                return true;
            }
        }

        return false;
    }

    private ulong Matched(int vector)
    {
        ulong matched = 0;
        RegexTerm[] terms = _vectors[vector];
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

        return _matcher.Names.Length + index;
    }

    /// <summary>The number of undeclared names that have a value; null if practically unlimited. It is finite where all other names have no value.</summary>
    public int? CountOthers()
    {
        const int Many = 1_000;
        if (!HasOthers(Start) || _vectors[_states[Start].Vector].Length == 1)
        {
            return HasOthers(Start) ? null : 0;
        }

        Dictionary<int, int?> counts = [];
        HashSet<int> path = [];
        return Count(_states[Start].Vector);

        int? Count(int vector)
        {
            if (!IsLive(vector))
            {
                return 0;
            }

            if (counts.TryGetValue(vector, out int? known))
            {
                return known;
            }

            if (path.Count > 100 || !path.Add(vector))
            {
                return null; // A cycle: infinitely many names.
            }

            int count = Ends(vector) ? 1 : 0;
            for (int i = 0; i < _partition.Count; i++)
            {
                if (Count(VectorAfter(vector, i)) is not { } rest || count + (rest * _partition.SizeOf(i)) > Many)
                {
                    return null;
                }

                count += (int)(rest * _partition.SizeOf(i));
            }

            path.Remove(vector);
            counts[vector] = count;
            return count;
        }
    }

    private int VectorAfter(int vector, int charClass)
    {
        if (!_vectorAfter.TryGetValue((vector, charClass), out int after))
        {
            GrammarWork.Spend(GrammarWork.Term * _vectors[vector].Length);
            int c = _partition.Representative(charClass);
            after = _vectorAfter[(vector, charClass)] = VectorOf(Array.ConvertAll(_vectors[vector], t => _matcher.Arena.Derive(t, c)));
        }

        return after;
    }

    private int VectorOf(RegexTerm[] terms)
    {
        string key = string.Join(',', terms.Select(t => t.Id));
        if (!_vectorIds.TryGetValue(key, out int id))
        {
            _vectorIds[key] = id = _vectors.Count;
            _vectors.Add(terms);
        }

        return id;
    }

    /// <summary>True if a name with this prefix can be completed to one with a possible value.</summary>
    private bool IsLive(int vector)
    {
        if (_vectors[vector][0] == _matcher.Arena.Empty)
        {
            return false;
        }

        if (_vectorLive.TryGetValue(vector, out bool live))
        {
            return live;
        }

        if (_vectors[vector].Length == 1)
        {
            return _vectorLive[vector] = _sets == 1 && !_matcher.OtherNode(0).IsEmpty && _matcher.Arena.IsLive(_vectors[vector][0]);
        }

        HashSet<int> seen = [vector];
        Stack<(int Vector, int Next)> path = new([(vector, -1)]);
        while (path.TryPop(out (int Vector, int Next) top))
        {
            GrammarWork.Spend(20);
            if (top.Next == _partition.Count)
            {
                continue;
            }

            path.Push((top.Vector, top.Next + 1));
            int next = top.Next < 0 ? top.Vector : VectorAfter(top.Vector, top.Next);
            bool known = _vectorLive.TryGetValue(next, out bool nextLive);
            if ((known && nextLive) || (!known && _vectors[next][0] != _matcher.Arena.Empty && Ends(next)))
            {
                _vectorLive[next] = true;
                foreach ((int v, _) in path)
                {
                    _vectorLive[v] = true;
                }

                return true;
            }

            if (!known && _vectors[next][0] != _matcher.Arena.Empty && seen.Add(next))
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
