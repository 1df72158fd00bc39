namespace Gemma.Extensions.AI.Grammar;

/// <summary>An immutable set of spelled texts (keys of an object outside its schema, items of a unique array) that must not come again.</summary>
internal sealed class UsedTexts
{
    private readonly byte[][] _texts; // Sorted.
    private List<(SortedList<byte, int> Next, bool End)>? _trie;

    private UsedTexts(byte[][] texts)
    {
        _texts = texts;
        HashCode hash = new();
        foreach (byte[] text in texts)
        {
            hash.AddBytes(text);
            hash.Add(-1);
        }

        Hash = hash.ToHashCode();
    }

    public int Hash { get; }

    public int Count => _texts.Length;

    public static UsedTexts Add(UsedTexts? used, byte[] text)
    {
        byte[][] texts = [.. used?._texts ?? [], text];
        Array.Sort(texts, static (a, b) => a.AsSpan().SequenceCompareTo(b));
        return new UsedTexts(texts);
    }

    public static bool Same(UsedTexts? a, UsedTexts? b)
    {
        if (ReferenceEquals(a, b))
        {
            return true;
        }

        if (a is null || b is null || a.Hash != b.Hash || a._texts.Length != b._texts.Length)
        {
            return false;
        }

        for (int i = 0; i < a._texts.Length; i++)
        {
            if (!a._texts[i].AsSpan().SequenceEqual(b._texts[i]))
            {
                return false;
            }
        }

        return true;
    }

    public bool Contains(ReadOnlySpan<byte> text)
    {
        foreach (byte[] t in _texts)
        {
            if (text.SequenceEqual(t))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>The trie node after one more byte, -1 once the text differs from all. Node 0 is the empty text.</summary>
    public int Child(int node, byte b) => Trie()[node].Next.TryGetValue(b, out int child) ? child : -1;

    public bool IsEnd(int node) => Trie()[node].End;

    /// <summary>Whether a text that begins like this can still become one that was not used.</summary>
    public bool CanDiffer(KeyLexer lexer, int state, int node)
    {
        if (lexer.EndsOther(state) && !IsEnd(node))
        {
            return true;
        }

        GrammarWork.Spend(50);
        for (int i = 0; i < 256; i++)
        {
            byte b = (byte)(i ^ 0x61); // Letters first: most languages have them.
            int next = lexer.Next(state, b);
            if (next >= 0 && lexer.HasOthers(next) && (Child(node, b) is var child && (child < 0 || CanDiffer(lexer, next, child))))
            {
                return true;
            }
        }

        return false;
    }

    private List<(SortedList<byte, int> Next, bool End)> Trie()
    {
        if (_trie is not null)
        {
            return _trie;
        }

        List<(SortedList<byte, int> Next, bool End)> trie = [([], false)];
        foreach (byte[] text in _texts)
        {
            int node = 0;
            foreach (byte b in text)
            {
                if (!trie[node].Next.TryGetValue(b, out int child))
                {
                    child = trie.Count;
                    trie[node].Next[b] = child;
                    trie.Add(([], false));
                }

                node = child;
            }

            trie[node] = (trie[node].Next, true);
        }

        return _trie = trie;
    }
}

/// <summary>Finitely many texts as a trie over bytes.</summary>
internal sealed class TextChoice
{
    private readonly List<SortedList<byte, int>> _next = [[]];
    private readonly List<byte[]?> _texts = [null];
    private readonly List<List<int>> _below = [[]];
    private readonly List<byte[]> _all = [];

    public TextChoice(IEnumerable<byte[]> texts)
    {
        foreach (byte[] text in texts)
        {
            int node = 0;
            _below[0].Add(_all.Count);
            foreach (byte b in text)
            {
                if (!_next[node].TryGetValue(b, out int child))
                {
                    child = _next.Count;
                    _next[node][b] = child;
                    _next.Add([]);
                    _texts.Add(null);
                    _below.Add([]);
                }

                node = child;
                _below[node].Add(_all.Count);
            }

            _texts[node] = text;
            _all.Add(text);
        }
    }

    public int Count => _all.Count;

    public int Child(int node, byte b) => _next[node].TryGetValue(b, out int child) ? child : -1;

    public bool IsLeaf(int node) => _next[node].Count == 0;

    public byte[]? TextAt(int node) => _texts[node];

    public bool HasUnused(int node, UsedTexts? used) => used is null || _below[node].Any(i =>
    {
        GrammarWork.Spend(2 * used.Count);
        return !used.Contains(_all[i]);
    });
}
