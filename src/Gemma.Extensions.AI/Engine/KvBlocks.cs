using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Reference counts and the free list of the blocks of a <see cref="KvPool"/>. A block that only the prefix cache refers to is idle: it keeps its contents
/// but can be reclaimed.
/// </summary>
internal sealed class KvBlocks
{
    private readonly int[] _references;
    private readonly bool[] _cached;
    private readonly int[] _free;

    public KvBlocks(int count)
    {
        _references = new int[count];
        _cached = new bool[count];
        _free = new int[count];
        for (int i = 0; i < count; i++)
        {
            _free[i] = count - 1 - i;
        }

        FreeCount = count;
    }

    public int Count => _free.Length;

    /// <summary>Blocks without references.</summary>
    public int FreeCount { get; private set; }

    /// <summary>Blocks that only the prefix cache refers to.</summary>
    public int IdleCount { get; private set; }

    public int AvailableCount => FreeCount + IdleCount;

    public bool IsIdle(int block) => _cached[block] && _references[block] == 1;

    /// <summary>A free block with one reference; -1 where there is none.</summary>
    public int TryTake()
    {
        if (FreeCount == 0)
        {
            return -1;
        }

        int block = _free[--FreeCount];
        _references[block] = 1;
        return block;
    }

    public void AddReference(int block)
    {
        if (IsIdle(block))
        {
            IdleCount--;
        }

        _references[block]++;
    }

    public void Release(int block)
    {
        if (--_references[block] == 0)
        {
            _free[FreeCount++] = block;
        }
        else if (IsIdle(block))
        {
            IdleCount++;
        }
    }

    /// <summary>The prefix cache takes a reference.</summary>
    public void Cache(int block)
    {
        AddReference(block);
        _cached[block] = true;
    }

    /// <summary>The prefix cache gives its reference back.</summary>
    public void Uncache(int block)
    {
        if (IsIdle(block))
        {
            IdleCount--;
        }

        _cached[block] = false;
        Release(block);
    }
}
