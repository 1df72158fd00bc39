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
    public void Extend(Sequence sequence, int limit)
    {
        int start = sequence.HeldBlocks;
        if (!_keepPrefixes || sequence.Node == PrefixTree.None || start * BlockTokens != sequence.Computed || sequence.PublishedBlocks != start)
        {
            return;
        }

        int usable = FollowFullBlocks(sequence, limit, out int end, out int lastWithoutLocal);
        int node = end == 0 ? sequence.Root : end == start ? sequence.Node : sequence.GlobalBlocks[end - 1];
        int partial = _tree.FindLongest(node, sequence.Tokens[(end * BlockTokens)..Math.Max(limit, end * BlockTokens)], out int length);
        bool partialUsable = partial >= 0 && lastWithoutLocal < FirstVisibleBlock(end * BlockTokens + length) && HasRoomForCopy(sequence, end, partial, length);
        Array.Fill(sequence.GlobalBlocks, -1, partialUsable ? end : usable, end - (partialUsable ? end : usable));
        AdoptFullBlocks(sequence, partialUsable ? end : usable, partialUsable ? length : 0);
        if (partialUsable)
        {
            AdoptCopy(sequence, partial, length);
        }
    }

    /// <summary>Holds blocks so that the first <paramref name="tokens"/> tokens can be computed. False: memory is short; what was had is kept.</summary>
    public bool TryHold(Sequence sequence, int tokens)
    {
        while (sequence.HeldBlocks * BlockTokens < tokens)
        {
            if (_blocks.AvailableCount < 2)
            {
                return false;
            }

            sequence.GlobalBlocks[sequence.HeldBlocks] = Take();
            sequence.LocalBlocks[sequence.HeldBlocks] = Take();
            sequence.HeldBlocks++;
        }

        return true;
    }

    /// <summary>Reads the sequence's tokens from the blocks of a file, the local layers' from block <paramref name="firstLocalBlock"/> on. False: memory is short.</summary>
    public bool TryRestore(Sequence sequence, Stream blocks, int firstLocalBlock)
    {
        byte[] block = new byte[Pool.Layout.BlockBytes];
        long localBlocks = blocks.Position + (long)((sequence.Count + BlockTokens - 1) / BlockTokens) * Pool.Layout.BlockBytes;
        for (int i = 0; i * BlockTokens < sequence.Count; i++)
        {
            if (!TryHold(sequence, Math.Min((i + 1) * BlockTokens, sequence.Count)))
            {
                return false;
            }

            long next = blocks.Position + Pool.Layout.BlockBytes;
            Restore(sequence.GlobalBlocks[i]);
            if (i >= firstLocalBlock)
            {
                blocks.Position = localBlocks + (i - firstLocalBlock) * Pool.Layout.BlockBytes;
                Restore(sequence.LocalBlocks[i]);
                blocks.Position = next;
            }
            else
            {
                ReleaseLocal(sequence, i);
            }

            Commit(sequence, Math.Min((i + 1) * BlockTokens, sequence.Count));
        }

        return true;

        void Restore(int number)
        {
            blocks.ReadExactly(block);
            Pool.WriteBlock(number, block);
        }
    }

    /// <summary>The first <paramref name="computed"/> tokens of the sequence are in memory: full blocks become prefixes, blocks behind the window are let go.</summary>
    public void Commit(Sequence sequence, int computed)
    {
        sequence.Computed = computed;
        PublishFullBlocks(sequence);
        for (int first = FirstVisibleBlock(computed); sequence.FirstLocalBlock < first; sequence.FirstLocalBlock++)
        {
            ReleaseLocal(sequence, sequence.FirstLocalBlock);
        }
    }

    /// <summary>Takes all blocks from the sequence, which must compute everything again to go on. What it computed stays as a prefix for others.</summary>
    public void Release(Sequence sequence)
    {
        PublishRest(sequence);
        TouchPath(sequence);
        for (int i = 0; i < sequence.HeldBlocks; i++)
        {
            _blocks.Release(sequence.GlobalBlocks[i]);
            sequence.GlobalBlocks[i] = -1;
            ReleaseLocal(sequence, i);
        }

        sequence.Computed = 0;
        sequence.HeldBlocks = 0;
        sequence.PublishedBlocks = 0;
        sequence.FirstLocalBlock = 0;
        sequence.Node = sequence.Root;
    }

    public void Dispose() => Pool.Dispose();

    /// <summary>Writes the nodes that continue the sequence to its table. Returns how many blocks could be adopted: where the next token would see a local block that is gone, the hit is too long.</summary>
    private int FollowFullBlocks(Sequence sequence, int limit, out int end, out int lastWithoutLocal)
    {
        int usable = end = sequence.HeldBlocks;
        int node = sequence.Node;
        lastWithoutLocal = -1;
        while ((end + 1) * BlockTokens <= limit)
        {
            node = _tree.FindFull(node, sequence.Tokens.Slice(end * BlockTokens, BlockTokens));
            if (node < 0)
            {
                break;
            }

            sequence.GlobalBlocks[end] = node;
            lastWithoutLocal = _tree.Local(node) < 0 ? end : lastWithoutLocal;
            end++;
            usable = lastWithoutLocal < FirstVisibleBlock(end * BlockTokens) ? end : usable;
        }

        return usable;
    }

    private void AdoptFullBlocks(Sequence sequence, int end, int extraTokens)
    {
        int start = sequence.HeldBlocks;
        int firstVisible = FirstVisibleBlock(end * BlockTokens + extraTokens);
        for (int i = end - 1; i >= start; i--)
        {
            int node = sequence.GlobalBlocks[i];
            _blocks.AddReference(node);
            if (i >= firstVisible)
            {
                _blocks.AddReference(_tree.Local(node));
                sequence.LocalBlocks[i] = _tree.Local(node);
            }

            _tree.Touch(node, withLocal: i >= firstVisible);
        }

        if (end > start)
        {
            sequence.Node = sequence.GlobalBlocks[end - 1];
            sequence.HeldBlocks = end;
            sequence.PublishedBlocks = end;
            Commit(sequence, end * BlockTokens);
        }
    }

    /// <summary>Continues within a block that others also continue: on a copy.</summary>
    private void AdoptCopy(Sequence sequence, int node, int length)
    {
        int local = _tree.Local(node);
        _blocks.AddReference(node); // holds the source while room is made
        _blocks.AddReference(local);
        _tree.Touch(node, withLocal: true);
        int computed = sequence.Computed;
        if (!TryHold(sequence, computed + length))
        {
            throw new InvalidOperationException("There was room for a copy of a key/value block, but it could not be had.");
        }

        Pool.CopyBlock(node, sequence.GlobalBlocks[sequence.HeldBlocks - 1]);
        Pool.CopyBlock(local, sequence.LocalBlocks[sequence.HeldBlocks - 1]);
        Commit(sequence, computed + length);
        _blocks.Release(node);
        _blocks.Release(local);
    }

    /// <summary>
    /// Whether two blocks are left for the copy while the sequence holds what it adopts and the original too. To be known before: behind the copied tokens the window
    /// may begin later than behind the full blocks, whose local blocks are then not adopted.
    /// </summary>
    private bool HasRoomForCopy(Sequence sequence, int end, int partial, int length)
    {
        int adopted = Idle(partial) + Idle(_tree.Local(partial));
        int firstVisible = FirstVisibleBlock(end * BlockTokens + length);
        for (int i = sequence.HeldBlocks; i < end; i++)
        {
            int node = sequence.GlobalBlocks[i];
            adopted += Idle(node) + (i >= firstVisible ? Idle(_tree.Local(node)) : 0);
        }

        return _blocks.AvailableCount - adopted >= 2;

        int Idle(int block) => _blocks.IsIdle(block) ? 1 : 0;
    }

    private void PublishFullBlocks(Sequence sequence)
    {
        while (_keepPrefixes && sequence.Node != PrefixTree.None && (sequence.PublishedBlocks + 1) * BlockTokens <= sequence.Computed)
        {
            int i = sequence.PublishedBlocks++;
            var tokens = sequence.Tokens.Slice(i * BlockTokens, BlockTokens);
            int node = _tree.FindFull(sequence.Node, tokens);
            if (node >= 0)
            {
                ShareBlock(sequence, i, node);
            }
            else if (_tree.TryAdd(sequence.Node, tokens, sequence.GlobalBlocks[i], sequence.LocalBlocks[i]))
            {
                node = sequence.GlobalBlocks[i];
            }

            sequence.Node = node;
        }
    }

    /// <summary>Another sequence computed the same block first: uses that one and gives the own one back.</summary>
    private void ShareBlock(Sequence sequence, int i, int node)
    {
        if (sequence.GlobalBlocks[i] != node)
        {
            _blocks.AddReference(node);
            _blocks.Release(sequence.GlobalBlocks[i]);
            sequence.GlobalBlocks[i] = node;
        }

        if (sequence.LocalBlocks[i] < 0)
        {
            return;
        }

        if (_tree.Local(node) < 0)
        {
            _tree.AttachLocal(node, sequence.LocalBlocks[i]);
        }
        else if (sequence.LocalBlocks[i] != _tree.Local(node))
        {
            _blocks.AddReference(_tree.Local(node));
            _blocks.Release(sequence.LocalBlocks[i]);
            sequence.LocalBlocks[i] = _tree.Local(node);
        }
    }

    /// <summary>The tokens after the last full block become a prefix too: the next turn of a chat goes on from there.</summary>
    private void PublishRest(Sequence sequence)
    {
        int start = sequence.PublishedBlocks * BlockTokens;
        if (!_keepPrefixes || sequence.Node == PrefixTree.None || sequence.Computed <= start || sequence.Computed >= start + BlockTokens)
        {
            return;
        }

        var rest = sequence.Tokens[start..sequence.Computed];
        _tree.FindLongest(sequence.Node, rest, out int known);
        if (known < rest.Length)
        {
            _tree.TryAdd(sequence.Node, rest, sequence.GlobalBlocks[sequence.PublishedBlocks], sequence.LocalBlocks[sequence.PublishedBlocks]);
        }
    }

    private void TouchPath(Sequence sequence)
    {
        if (sequence.Node != PrefixTree.None)
        {
            for (int i = sequence.PublishedBlocks - 1; i >= 0; i--)
            {
                _tree.Touch(sequence.GlobalBlocks[i], withLocal: i >= sequence.FirstLocalBlock);
            }
        }
    }

    private void ReleaseLocal(Sequence sequence, int i)
    {
        if (sequence.LocalBlocks[i] >= 0)
        {
            _blocks.Release(sequence.LocalBlocks[i]);
            sequence.LocalBlocks[i] = -1;
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
