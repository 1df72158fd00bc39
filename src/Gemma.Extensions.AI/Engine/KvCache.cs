using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Key/value memory of all sequences and of cached prefixes. Local and global layers take blocks from one pool (Gemma 2 has as many of the one
/// as of the other), so that no budget has to be split between them. A sequence holds blocks of the global layers for all its tokens, blocks of
/// the local layers for those in the window.
/// </summary>
internal sealed class KvCache : IDisposable
{
    private readonly KvBlocks _blocks;
    private readonly PrefixTree _tree;
    private readonly int _window;
    private readonly bool _keepPrefixes;

    public KvCache(KvPool pool, int window, bool keepPrefixes)
    {
        Pool = pool;
        _window = window;
        _keepPrefixes = keepPrefixes;
        _blocks = new KvBlocks(pool.BlockCount);
        _tree = new PrefixTree(_blocks, pool.Layout.BlockTokens);
    }

    public KvPool Pool { get; }
    public KvBlocks Blocks => _blocks;
    public PrefixTree Tree => _tree;
    public int BlockTokens => Pool.Layout.BlockTokens;

    /// <summary>Blocks that one sequence of some tokens needs at most, computed <paramref name="chunk"/> tokens at a time.</summary>
    public static int BlocksFor(int tokens, int chunk, int window, int blockTokens)
    {
        int global = Blocks(tokens);
        return global + Math.Min(global, Blocks((int)Math.Min(tokens, (long)window + chunk)) + 1);

        int Blocks(int count) => (count + blockTokens - 1) / blockTokens;
    }

    public int BlocksFor(int tokens, int chunk) => BlocksFor(tokens, chunk, _window, BlockTokens);

    /// <summary>Adopts cached blocks that continue the sequence; at most <paramref name="limit"/> of its tokens count as computed afterwards.</summary>
    public void Extend(BlockTable table, ReadOnlySpan<int> tokens, int limit)
    {
        int start = table.Held;
        if (!_keepPrefixes || table.Node == PrefixTree.None || start * BlockTokens != table.Computed || table.Published != start)
        {
            return;
        }

        int usable = FollowFullBlocks(table, tokens, limit, out int end, out int lastWithoutLocal);
        int node = end == 0 ? table.Root : end == start ? table.Node : table.Global[end - 1];
        int partial = _tree.FindLongest(node, tokens[(end * BlockTokens)..Math.Max(limit, end * BlockTokens)], out int length);
        length = partial < 0 ? 0 : table.Kinds.Usable(end * BlockTokens, _tree.Kinds(partial)[..length]);
        bool partialUsable = length > 0 && lastWithoutLocal < FirstVisibleBlock(end * BlockTokens + length) && HasRoomForCopy(table, end, partial, length);
        Array.Fill(table.Global, -1, partialUsable ? end : usable, end - (partialUsable ? end : usable));
        AdoptFullBlocks(table, tokens, partialUsable ? end : usable, partialUsable ? length : 0);
        if (partialUsable)
        {
            AdoptCopy(table, tokens, partial, length);
        }
    }

    /// <summary>Allocates blocks for the first <paramref name="tokens"/> tokens. False: memory is short; blocks allocated so far are kept.</summary>
    public bool TryHold(BlockTable table, int tokens)
    {
        while (table.Held * BlockTokens < tokens)
        {
            if (_blocks.AvailableCount < 2)
            {
                return false;
            }

            table.Global[table.Held] = Take();
            table.Local[table.Held] = Take();
            table.Held++;
        }

        return true;
    }

    /// <summary>Reads the sequence's tokens from the blocks of a file, the local layers' from block <paramref name="firstLocalBlock"/> on. False: memory is short.</summary>
    public bool TryRestore(BlockTable table, ReadOnlySpan<int> tokens, Stream blocks, int firstLocalBlock)
    {
        byte[] block = new byte[Pool.Layout.BlockBytes];
        long localBlocks = blocks.Position + (long)((tokens.Length + BlockTokens - 1) / BlockTokens) * Pool.Layout.BlockBytes;
        for (int i = 0; i * BlockTokens < tokens.Length; i++)
        {
            if (!TryHold(table, Math.Min((i + 1) * BlockTokens, tokens.Length)))
            {
                return false;
            }

            long next = blocks.Position + Pool.Layout.BlockBytes;
            Restore(table.Global[i]);
            if (i >= firstLocalBlock)
            {
                blocks.Position = localBlocks + (i - firstLocalBlock) * Pool.Layout.BlockBytes;
                Restore(table.Local[i]);
                blocks.Position = next;
            }
            else
            {
                ReleaseLocal(table, i);
            }

            Commit(table, tokens[..Math.Min((i + 1) * BlockTokens, tokens.Length)]);
        }

        return true;

        void Restore(int number)
        {
            blocks.ReadExactly(block);
            Pool.WriteBlock(number, block);
        }
    }

    /// <summary>Records that the keys and values of <paramref name="computed"/>, the first tokens of the sequence, are in memory: publishes full blocks as prefixes and
    /// releases blocks behind the window.</summary>
    public void Commit(BlockTable table, ReadOnlySpan<int> computed)
    {
        table.Computed = computed.Length;
        table.Kinds.Settle(computed.Length);
        PublishFullBlocks(table, computed);
        for (int first = FirstVisibleBlock(computed.Length); table.FirstLocal < first; table.FirstLocal++)
        {
            ReleaseLocal(table, table.FirstLocal);
        }
    }

    /// <summary>Releases all blocks of a sequence, which must be recomputed to go on. They stay in the prefix cache until they are needed.</summary>
    public void Release(BlockTable table, ReadOnlySpan<int> tokens)
    {
        PublishRest(table, tokens);
        TouchPath(table);
        for (int i = 0; i < table.Held; i++)
        {
            _blocks.Release(table.Global[i]);
            table.Global[i] = -1;
            ReleaseLocal(table, i);
        }

        table.Computed = 0;
        table.Held = 0;
        table.Published = 0;
        table.FirstLocal = 0;
        table.Node = table.Root;
    }

    public void Dispose() => Pool.Dispose();

    /// <summary>Writes the nodes that continue the sequence to its table. Returns how many blocks could be adopted: where the next token would see a local block that is gone, the hit is too long.</summary>
    private int FollowFullBlocks(BlockTable table, ReadOnlySpan<int> tokens, int limit, out int end, out int lastWithoutLocal)
    {
        int usable = end = table.Held;
        int node = table.Node;
        lastWithoutLocal = -1;
        while ((end + 1) * BlockTokens <= limit)
        {
            node = _tree.FindFull(node, tokens.Slice(end * BlockTokens, BlockTokens));
            if (node < 0 || table.Kinds.Usable(end * BlockTokens, _tree.Kinds(node)) < BlockTokens)
            {
                break;
            }

            table.Global[end] = node;
            lastWithoutLocal = _tree.Local(node) < 0 ? end : lastWithoutLocal;
            end++;
            usable = lastWithoutLocal < FirstVisibleBlock(end * BlockTokens) ? end : usable;
        }

        return usable;
    }

    private void AdoptFullBlocks(BlockTable table, ReadOnlySpan<int> tokens, int end, int extraTokens)
    {
        int start = table.Held;
        int firstVisible = FirstVisibleBlock(end * BlockTokens + extraTokens);
        for (int i = end - 1; i >= start; i--)
        {
            int node = table.Global[i];
            _blocks.AddReference(node);
            if (i >= firstVisible)
            {
                _blocks.AddReference(_tree.Local(node));
                table.Local[i] = _tree.Local(node);
            }

            _tree.Touch(node, withLocal: i >= firstVisible);
            table.Kinds.Adopt(i * BlockTokens, _tree.Kinds(node));
        }

        if (end > start)
        {
            table.Node = table.Global[end - 1];
            table.Held = end;
            table.Published = end;
            Commit(table, tokens[..(end * BlockTokens)]);
        }
    }

    /// <summary>Continues within a block that others also continue: on a copy.</summary>
    private void AdoptCopy(BlockTable table, ReadOnlySpan<int> tokens, int node, int length)
    {
        int local = _tree.Local(node);
        _blocks.AddReference(node); // holds the source while room is made
        _blocks.AddReference(local);
        _tree.Touch(node, withLocal: true);
        int computed = table.Computed;
        if (!TryHold(table, computed + length))
        {
            throw new InvalidOperationException("There was room for a copy of a key/value block, but it could not be had.");
        }

        Pool.CopyBlock(node, table.Global[table.Held - 1]);
        Pool.CopyBlock(local, table.Local[table.Held - 1]);
        table.Kinds.Adopt(computed, _tree.Kinds(node)[..length]);
        Commit(table, tokens[..(computed + length)]);
        _blocks.Release(node);
        _blocks.Release(local);
    }

    /// <summary>
    /// True if two blocks are left for the copy while the sequence holds the adopted blocks and the original. Must be known before adopting: behind the copied
    /// tokens the window may begin later than behind the full blocks, whose local blocks are then not adopted.
    /// </summary>
    private bool HasRoomForCopy(BlockTable table, int end, int partial, int length)
    {
        int adopted = Idle(partial) + Idle(_tree.Local(partial));
        int firstVisible = FirstVisibleBlock(end * BlockTokens + length);
        for (int i = table.Held; i < end; i++)
        {
            int node = table.Global[i];
            adopted += Idle(node) + (i >= firstVisible ? Idle(_tree.Local(node)) : 0);
        }

        return _blocks.AvailableCount - adopted >= 2;

        int Idle(int block) => _blocks.IsIdle(block) ? 1 : 0;
    }

    private void PublishFullBlocks(BlockTable table, ReadOnlySpan<int> tokens)
    {
        while (_keepPrefixes && table.Node != PrefixTree.None && (table.Published + 1) * BlockTokens <= table.Computed)
        {
            int i = table.Published++;
            ReadOnlySpan<int> block = tokens.Slice(i * BlockTokens, BlockTokens);
            int node = _tree.FindFull(table.Node, block);
            if (node >= 0 && !table.Kinds.Equal(i * BlockTokens, _tree.Kinds(node)))
            {
                node = PrefixTree.None; // the same text, computed otherwise: one of the two can be cached
            }
            else if (node >= 0)
            {
                ShareBlock(table, i, node);
            }
            else if (_tree.TryAdd(table.Node, block, table.Kinds.Slice(i * BlockTokens, BlockTokens), table.Global[i], table.Local[i]))
            {
                node = table.Global[i];
            }

            table.Node = node;
        }
    }

    /// <summary>Another sequence computed the same block first: uses that one and gives the own one back.</summary>
    private void ShareBlock(BlockTable table, int i, int node)
    {
        if (table.Global[i] != node)
        {
            _blocks.AddReference(node);
            _blocks.Release(table.Global[i]);
            table.Global[i] = node;
        }

        if (table.Local[i] < 0)
        {
            return;
        }

        if (_tree.Local(node) < 0)
        {
            _tree.AttachLocal(node, table.Local[i]);
        }
        else if (table.Local[i] != _tree.Local(node))
        {
            _blocks.AddReference(_tree.Local(node));
            _blocks.Release(table.Local[i]);
            table.Local[i] = _tree.Local(node);
        }
    }

    /// <summary>The tokens after the last full block become a prefix too: the next turn of a chat goes on from there.</summary>
    private void PublishRest(BlockTable table, ReadOnlySpan<int> tokens)
    {
        int start = table.Published * BlockTokens;
        if (!_keepPrefixes || table.Node == PrefixTree.None || table.Computed <= start || table.Computed >= start + BlockTokens)
        {
            return;
        }

        ReadOnlySpan<int> rest = tokens[start..table.Computed];
        _tree.FindLongest(table.Node, rest, out int known);
        if (known < rest.Length)
        {
            _tree.TryAdd(table.Node, rest, table.Kinds.Slice(start, rest.Length), table.Global[table.Published], table.Local[table.Published]);
        }
    }

    private void TouchPath(BlockTable table)
    {
        if (table.Node != PrefixTree.None)
        {
            for (int i = table.Published - 1; i >= 0; i--)
            {
                _tree.Touch(table.Global[i], withLocal: i >= table.FirstLocal);
            }
        }
    }

    private void ReleaseLocal(BlockTable table, int i)
    {
        if (table.Local[i] >= 0)
        {
            _blocks.Release(table.Local[i]);
            table.Local[i] = -1;
        }
    }

    private int Take()
    {
        int block = _blocks.TryTake();
        while (block < 0 && _tree.EvictOne())
        {
            block = _blocks.TryTake();
        }

        return block >= 0 ? block : throw new InvalidOperationException("Key/value blocks were counted as available but none could be had.");
    }

    /// <summary>First block that the token at <paramref name="position"/> sees in local layers.</summary>
    private int FirstVisibleBlock(int position) => Math.Max(0, position - _window + 1) / BlockTokens;
}
