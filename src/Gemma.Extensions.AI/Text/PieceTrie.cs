using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Text;

/// <summary>The few hundred pieces that are matched before merging, as a trie over bytes.</summary>
internal sealed class PieceTrie
{
    private readonly List<Node> _nodes = [new Node()];
    private readonly int[] _roots = new int[256]; // the first step, the only one that most text takes; 0: none

    /// <summary>True if some piece begins with the byte.</summary>
    public bool Begins(byte first) => _roots[first] != 0;

    /// <summary>Adds a piece of at least one byte; of equal pieces the first counts.</summary>
    public void Add(ReadOnlySpan<byte> piece, int id)
    {
        int node = 0;
        foreach (byte value in piece)
        {
            int next = Child(node, value);
            if (next == 0)
            {
                next = _nodes.Count;
                _nodes.Add(new Node { Value = value, Sibling = _nodes[node].Child });
                _nodes[node] = _nodes[node] with { Child = next };
                if (node == 0)
                {
                    _roots[value] = next;
                }
            }

            node = next;
        }

        if (_nodes[node].Id < 0)
        {
            _nodes[node] = _nodes[node] with { Id = id };
        }
    }

    /// <summary>Length of the longest piece that the text begins with, 0 if none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public int Match(ReadOnlySpan<byte> text, bool matchSpecial, TokenizerVocabulary vocabulary, out int id)
    {
        id = -1;
        int length = 0;
        int node = 0;
        for (int at = 0; at < text.Length && (node = Child(node, text[at])) != 0; at++)
        {
            int candidate = _nodes[node].Id;
            if (candidate >= 0 && (matchSpecial || vocabulary.GetKind(candidate) != TokenKind.Control))
            {
                id = candidate;
                length = at + 1;
            }
        }

        return length;
    }

    private int Child(int node, byte value)
    {
        if (node == 0)
        {
            return _roots[value];
        }

        int child = _nodes[node].Child;
        while (child != 0 && _nodes[child].Value != value)
        {
            child = _nodes[child].Sibling;
        }

        return child;
    }

    private readonly record struct Node()
    {
        public byte Value { get; init; }
        public int Child { get; init; }
        public int Sibling { get; init; }
        public int Id { get; init; } = -1;
    }
}
