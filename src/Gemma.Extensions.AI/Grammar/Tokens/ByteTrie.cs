using Gemma.Extensions.AI.Grammar.Automaton;

namespace Gemma.Extensions.AI.Grammar.Tokens;

/// <summary>Tokens by their bytes, as a trie in preorder: a subtree is a range, and skipping it is one jump.</summary>
internal sealed class ByteTrie
{
    private readonly ulong[] _kinds; // By node: what stands below it is written in these; 0 for nothing below.
    private readonly byte[] _lengths; // By node: characters of the longest text below it.

    private ByteTrie(byte[] bytes, byte[] depths, int[] skips, int[] groups, int[] groupStarts, int[] tokens, ulong[] kinds, byte[] lengths) =>
        (Bytes, Depths, Skips, Groups, GroupStarts, Tokens, _kinds, _lengths) = (bytes, depths, skips, groups, groupStarts, tokens, kinds, lengths);

    /// <summary>The last byte of a node's text.</summary>
    public byte[] Bytes { get; }

    /// <summary>The length of a node's text, from 1.</summary>
    public byte[] Depths { get; }

    /// <summary>The node after the node's subtree.</summary>
    public int[] Skips { get; }

    /// <summary>The group of tokens with exactly a node's text; for none -1 - the next group.</summary>
    public int[] Groups { get; }

    public int[] GroupStarts { get; }

    public int[] Tokens { get; }

    public int Count => Bytes.Length;

    public static ByteTrie Build(IReadOnlyList<(byte[] Text, int Token)> tokens)
    {
        int[] order = [.. Enumerable.Range(0, tokens.Count)];
        Array.Sort(order, (a, b) => tokens[a].Text.AsSpan().SequenceCompareTo(tokens[b].Text) is not 0 and int c ? c : tokens[a].Token.CompareTo(tokens[b].Token));
        Builder builder = new();
        foreach (int index in order)
        {
            builder.Add(tokens[index].Text, tokens[index].Token);
        }

        return builder.Complete();
    }

    /// <summary>True if a lexer reads everything below a node.</summary>
    /// <param name="node">The node.</param>
    /// <param name="lexer">The lexer.</param>
    /// <param name="state">Its state after the node's text.</param>
    public bool IsReadBelow(int node, Lexer lexer, int state)
    {
        if (!lexer.KnowsOnward(state))
        {
            // Not worth checking for states that read little.
            for (int i = node + 1; i < Skips[node]; i = Skips[i])
            {
                if (lexer.Next(state, Bytes[i]) < 0)
                {
                    return false;
                }
            }
        }

        return lexer.Reads(state, _kinds[node], _lengths[node]);
    }

    /// <summary>Marks the tokens of a node and of what is below it.</summary>
    public void SetAll(int node, Span<ulong> mask)
    {
        foreach (int token in TokensFrom(node))
        {
            mask[token >> 6] |= 1UL << token;
        }
    }

    /// <summary>Takes away the tokens of a node and of what is below it.</summary>
    public void ClearAll(int node, Span<ulong> mask)
    {
        foreach (int token in TokensFrom(node))
        {
            mask[token >> 6] &= ~(1UL << token);
        }
    }

    public void SetGroup(int group, Span<ulong> mask)
    {
        for (int i = GroupStarts[group]; i < GroupStarts[group + 1]; i++)
        {
            int token = Tokens[i];
            mask[token >> 6] |= 1UL << token;
        }
    }

    /// <summary>The tokens of a node and of what is below it: groups are numbered as their nodes are.</summary>
    private ReadOnlySpan<int> TokensFrom(int node)
    {
        int end = Skips[node];
        return Tokens.AsSpan(GroupStarts[NextGroup(node)]..(end < Count ? GroupStarts[NextGroup(end)] : Tokens.Length));
    }

    private int NextGroup(int node) => Groups[node] >= 0 ? Groups[node] : -1 - Groups[node];

    /// <summary>Takes tokens in the order of their bytes.</summary>
    private sealed class Builder
    {
        private readonly List<byte> _bytes = [], _depths = [], _lengths = [];
        private readonly List<int> _skips = [], _groups = [], _groupStarts = [], _tokens = [];
        private readonly List<ulong> _kinds = [];
        private readonly List<int> _path = []; // the nodes of the text before, from the root
        private byte[] _previous = [];

        public void Add(byte[] text, int token)
        {
            if (text.AsSpan().SequenceEqual(_previous))
            {
                _tokens.Add(token);
                return;
            }

            int common = text.AsSpan().CommonPrefixLength(_previous);
            Leave(common);
            for (int i = common; i < text.Length; i++)
            {
                _path.Add(_bytes.Count);
                _bytes.Add(text[i]);
                _depths.Add((byte)(i + 1));
                _skips.Add(0);
                _groups.Add(-1 - _groupStarts.Count);
                _kinds.Add(0);
                _lengths.Add(0);
            }

            AddKinds(text);
            _groups[^1] = _groupStarts.Count;
            _groupStarts.Add(_tokens.Count);
            _tokens.Add(token);
            _previous = text;
        }

        public ByteTrie Complete()
        {
            Leave(0);
            _groupStarts.Add(_tokens.Count);
            return new ByteTrie([.. _bytes], [.. _depths], [.. _skips], [.. _groups], [.. _groupStarts], [.. _tokens], [.. _kinds], [.. _lengths]);
        }

        /// <summary>Ends the subtrees of the path below a depth.</summary>
        private void Leave(int depth)
        {
            for (int i = depth; i < _path.Count; i++)
            {
                _skips[_path[i]] = _bytes.Count;
            }

            _path.RemoveRange(depth, _path.Count - depth);
        }

        /// <summary>Records what follows each node of the path.</summary>
        private void AddKinds(byte[] text)
        {
            Span<byte> firsts = stackalloc byte[text.Length]; // of characters
            Span<ulong> kindsOf = stackalloc ulong[text.Length];
            int count = 0;
            for (int i = 0, length; i < text.Length; i += length)
            {
                firsts[count] = (byte)i;
                kindsOf[count++] = TextKinds.OfFirst(text.AsSpan(i), out length);
            }

            ulong below = 0;
            for (int c = count - 1, end = text.Length; c >= 0; end = firsts[c--])
            {
                // Inside a character the rest is unknown.
                for (int i = firsts[c]; i < end; i++)
                {
                    int node = _path[i];
                    _kinds[node] |= i == end - 1 ? below : TextKinds.Invalid;
                    _lengths[node] = Math.Max(_lengths[node], i == end - 1 ? (byte)(count - 1 - c) : (byte)1);
                }

                below |= kindsOf[c];
            }
        }
    }
}
