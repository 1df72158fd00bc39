using System.Diagnostics;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Token prefixes whose keys and values are in memory, as a tree of blocks. A node is numbered by the block that holds its tokens for the global
/// layers; the block of the local layers may be missing, for those are worth keeping only near the places where prefixes part. Full nodes are
/// found by a hash chained over their ancestors, and their tokens are compared on every hit; a node that is not full has no children.
/// All memory is allocated at construction, so that growing the tree allocates nothing.
/// </summary>
internal sealed class PrefixTree
{
    /// <summary>No node.</summary>
    public const int None = -2;

    private readonly KvBlocks _blocks;
    private readonly int _blockTokens;
    private readonly int[] _tokens;
    private readonly bool[] _generated; // kinds of the tokens, where they make a difference
    private readonly int[] _filled;
    private readonly int[] _local;
    private readonly int[] _parent;
    private readonly int[] _firstChild;
    private int[] _firstOfRoot = [None]; // by adapter
    private readonly int[] _nextSibling;
    private readonly int[] _previousSibling;
    private readonly ulong[] _hash;
    private readonly Dictionary<ulong, int> _byHash;
    private readonly RecencyList _nodes;
    private readonly RecencyList _locals;
    private long _clock;

    public PrefixTree(KvBlocks blocks, int blockTokens)
    {
        int count = blocks.Count;
        _blocks = blocks;
        _blockTokens = blockTokens;
        _tokens = new int[(long)count * blockTokens];
        _generated = new bool[(long)count * blockTokens];
        _filled = new int[count];
        _local = new int[count];
        _parent = new int[count];
        _firstChild = new int[count];
        _nextSibling = new int[count];
        _previousSibling = new int[count];
        _hash = new ulong[count];
        _byHash = new Dictionary<ulong, int>(count);
        _nodes = new RecencyList(count);
        _locals = new RecencyList(count);
        Array.Fill(_firstChild, None);
    }

    /// <summary>Nodes in the tree.</summary>
    public int Count { get; private set; }

    /// <summary>Leaves first, most recently used last.</summary>
    public int Oldest => _nodes.First;

    /// <summary>
    /// Parent of the first nodes of an adapter, 0 for the base model: keys and values that one adapter's weights computed are of no use to another,
    /// so each has a tree of its own over the same blocks. Roots are numbered -1, -3, -4, …
    /// </summary>
    public static int Root(int adapter) => adapter == 0 ? -1 : None - adapter;

    /// <summary>Block of the local layers; -1 where it was let go.</summary>
    public int Local(int node) => _local[node];

    public int Parent(int node) => _parent[node];

    public ReadOnlySpan<int> Tokens(int node) => _tokens.AsSpan(node * _blockTokens, _filled[node]);

    /// <summary>Kinds of a node's tokens: see <see cref="TokenKinds"/>.</summary>
    public ReadOnlySpan<bool> Kinds(int node) => _generated.AsSpan(node * _blockTokens, _filled[node]);

    /// <summary>The full child of <paramref name="parent"/> with exactly these tokens, or <see cref="None"/>.</summary>
    public int FindFull(int parent, ReadOnlySpan<int> tokens) =>
        _byHash.TryGetValue(Hash(parent, tokens), out int node) && _parent[node] == parent && Tokens(node).SequenceEqual(tokens) ? node : None;

    /// <summary>The child of <paramref name="parent"/> that shares most of its first tokens with <paramref name="tokens"/> and still has its local block.</summary>
    public int FindLongest(int parent, ReadOnlySpan<int> tokens, out int length)
    {
        int best = None;
        length = 0;
        for (int child = FirstChild(parent); child != None; child = _nextSibling[child])
        {
            if (_local[child] >= 0 && Tokens(child).CommonPrefixLength(tokens) is int common && common > length)
            {
                best = child;
                length = common;
            }
        }

        return best;
    }

    /// <summary>Adds a node and takes references on its blocks. False where another node has the same hash: such a prefix cannot be cached.</summary>
    public bool TryAdd(int parent, ReadOnlySpan<int> tokens, ReadOnlySpan<bool> kinds, int global, int local)
    {
        bool full = tokens.Length == _blockTokens;
        ulong hash = full ? Hash(parent, tokens) : 0;
        if (full && !_byHash.TryAdd(hash, global))
        {
            return false;
        }

        RemovePrefixesOf(parent, tokens);
        tokens.CopyTo(_tokens.AsSpan(global * _blockTokens));
        kinds.CopyTo(_generated.AsSpan(global * _blockTokens));
        _filled[global] = tokens.Length;
        _hash[global] = hash;
        _local[global] = -1;
        _blocks.Cache(global);
        Link(parent, global);
        _nodes.Touch(global, ++_clock);
        Count++;
        if (local >= 0)
        {
            AttachLocal(global, local);
        }

        return true;
    }

    /// <summary>Gives a node the local block that it lacks.</summary>
    public void AttachLocal(int node, int local)
    {
        Debug.Assert(_local[node] < 0);
        _blocks.Cache(local);
        _local[node] = local;
        _locals.Touch(node, ++_clock);
    }

    /// <summary>Hashes of full nodes, most recently used first.</summary>
    public ulong[] Hashes(int most)
    {
        List<ulong> hashes = new(Math.Min(most, Count));
        for (int node = _nodes.Last; node >= 0 && hashes.Count < most; node = _nodes.Previous(node))
        {
            if (_filled[node] == _blockTokens)
            {
                hashes.Add(_hash[node]);
            }
        }

        return [.. hashes];
    }

    /// <summary>The hashes that the full blocks of a prompt have as nodes of a tree, from its first block on.</summary>
    public static ulong[] HashBlocks(ReadOnlySpan<int> prompt, int blockTokens, int adapter)
    {
        ulong[] hashes = new ulong[prompt.Length / blockTokens];
        ulong hash = HashOfRoot(adapter);
        for (int i = 0; i < hashes.Length; i++)
        {
            hashes[i] = hash = Hash(hash, prompt.Slice(i * blockTokens, blockTokens));
        }

        return hashes;
    }

    /// <summary>Marks a node as just used; its local block too, where <paramref name="withLocal"/>.</summary>
    public void Touch(int node, bool withLocal)
    {
        _nodes.Touch(node, ++_clock);
        if (withLocal && _local[node] >= 0)
        {
            _locals.Touch(node, _clock);
        }
    }

    /// <summary>Lets go of the least recently used node without children, or local block, that no sequence uses. False: there is none.</summary>
    public bool EvictOne()
    {
        int node = _nodes.First;
        while (node >= 0 && !IsRemovable(node))
        {
            node = _nodes.Next(node);
        }

        int owner = _locals.First;
        while (owner >= 0 && !_blocks.IsIdle(_local[owner]))
        {
            owner = _locals.Next(owner);
        }

        if (node >= 0 && (owner < 0 || _nodes.Stamp(node) <= _locals.Stamp(owner)))
        {
            Remove(node);
            return true;
        }

        if (owner >= 0)
        {
            DetachLocal(owner);
        }

        return owner >= 0;
    }

    /// <summary>Removes every node that no sequence uses.</summary>
    public void Clear()
    {
        while (EvictOne())
        {
        }
    }

    public int Newer(int node) => _nodes.Next(node);

    private bool IsRemovable(int node) =>
        _firstChild[node] == None && _blocks.IsIdle(node) && (_local[node] < 0 || _blocks.IsIdle(_local[node]));

    private void Remove(int node)
    {
        if (_local[node] >= 0)
        {
            DetachLocal(node);
        }

        if (_filled[node] == _blockTokens)
        {
            _byHash.Remove(_hash[node]);
        }

        Unlink(node);
        _nodes.Remove(node);
        _filled[node] = 0;
        Count--;
        _blocks.Uncache(node);
    }

    private void DetachLocal(int node)
    {
        _locals.Remove(node);
        _blocks.Uncache(_local[node]);
        _local[node] = -1;
    }

    /// <summary>A block that was not full when its sequence ended is of no use once a longer one begins with the same tokens.</summary>
    private void RemovePrefixesOf(int parent, ReadOnlySpan<int> tokens)
    {
        int next;
        for (int child = FirstChild(parent); child != None; child = next)
        {
            next = _nextSibling[child];
            if (_filled[child] < tokens.Length && tokens.StartsWith(Tokens(child)) && IsRemovable(child))
            {
                Remove(child);
            }
        }
    }

    private static int AdapterOf(int root) => root == -1 ? 0 : None - root;

    private int FirstChild(int parent) =>
        parent >= 0 ? _firstChild[parent] : AdapterOf(parent) is var adapter && adapter < _firstOfRoot.Length ? _firstOfRoot[adapter] : None;

    private void SetFirstChild(int parent, int child)
    {
        if (parent >= 0)
        {
            _firstChild[parent] = child;
            return;
        }

        int adapter = AdapterOf(parent);
        if (adapter >= _firstOfRoot.Length)
        {
            int known = _firstOfRoot.Length;
            Array.Resize(ref _firstOfRoot, Math.Max(adapter + 1, 2 * known));
            _firstOfRoot.AsSpan(known).Fill(None);
        }

        _firstOfRoot[adapter] = child;
    }

    private void Link(int parent, int node)
    {
        int sibling = FirstChild(parent);
        _parent[node] = parent;
        _nextSibling[node] = sibling;
        _previousSibling[node] = None;
        _firstChild[node] = None;
        SetFirstChild(parent, node);
        if (sibling != None)
        {
            _previousSibling[sibling] = node;
        }
    }

    private void Unlink(int node)
    {
        int next = _nextSibling[node];
        int previous = _previousSibling[node];
        if (previous == None)
        {
            SetFirstChild(_parent[node], next);
        }
        else
        {
            _nextSibling[previous] = next;
        }

        if (next != None)
        {
            _previousSibling[next] = previous;
        }
    }

    private ulong Hash(int parent, ReadOnlySpan<int> tokens) => Hash(parent >= 0 ? _hash[parent] : HashOfRoot(AdapterOf(parent)), tokens);

    private static ulong HashOfRoot(int adapter) => 0xcbf29ce484222325 ^ ((uint)adapter * 0x9e3779b97f4a7c15);

    // FNV-1a over whole tokens with a final mix; a collision costs a cache miss, never a wrong hit.
    private static ulong Hash(ulong hash, ReadOnlySpan<int> tokens)
    {
        foreach (int token in tokens)
        {
            hash = (hash ^ (uint)token) * 0x100000001b3;
            hash ^= hash >> 29;
        }

        return hash;
    }

    /// <summary>Numbers in the order of their last use, linked through arrays.</summary>
    private sealed class RecencyList(int count)
    {
        private readonly int[] _next = new int[count];
        private readonly int[] _previous = new int[count];
        private readonly long[] _stamp = new long[count];
        private int _last = -1;

        public int First { get; private set; } = -1;

        public int Last => _last;

        public int Next(int item) => _next[item];

        public int Previous(int item) => _previous[item];

        public long Stamp(int item) => _stamp[item];

        public void Touch(int item, long clock)
        {
            if (_stamp[item] != 0)
            {
                Remove(item);
            }

            _stamp[item] = clock;
            _previous[item] = _last;
            _next[item] = -1;
            if (_last >= 0)
            {
                _next[_last] = item;
            }
            else
            {
                First = item;
            }

            _last = item;
        }

        public void Remove(int item)
        {
            int next = _next[item];
            int previous = _previous[item];
            if (previous >= 0)
            {
                _next[previous] = next;
            }
            else
            {
                First = next;
            }

            if (next >= 0)
            {
                _previous[next] = previous;
            }
            else
            {
                _last = previous;
            }

            _stamp[item] = 0;
        }
    }
}
