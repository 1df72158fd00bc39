using Gemma.Extensions.AI.Grammar.Budget;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>An immutable set of texts as spelled (undeclared keys of an object) that must not repeat.</summary>
internal sealed class SeenStrings
{
    private readonly byte[][] _texts; // Sorted.
    private List<(SortedList<byte, int> Next, bool End)>? _trie;

    private SeenStrings(byte[][] texts)
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

    public static SeenStrings Add(SeenStrings? used, byte[] text)
    {
        byte[][] texts = [.. used?._texts ?? [], text];
        Array.Sort(texts, static (a, b) => a.AsSpan().SequenceCompareTo(b));
        return new SeenStrings(texts);
    }

    public static bool Same(SeenStrings? a, SeenStrings? b)
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

    /// <summary>The trie node after one more byte, -1 once the text differs from all. Node 0 is the empty text.</summary>
    public int Child(int node, byte b) => Trie()[node].Next.TryGetValue(b, out int child) ? child : -1;

    public bool IsEnd(int node) => Trie()[node].End;

    /// <summary>True if a text with this prefix can still become a new one.</summary>
    public bool CanDiffer(KeyMatcher lexer, int state, int node)
    {
        if (lexer.EndsOther(state) && !IsEnd(node))
        {
            return true;
        }

        GrammarWork.Spend(50);
        for (int i = 0; i < 256; i++)
        {
            byte b = (byte)(i ^ 0x61); // Letters first: most key languages contain them.
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
