using System.Collections.Concurrent;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>A mistake of a kernel: memory that is not its own, a race, a barrier that not all threads reach.</summary>
internal sealed class PtxException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// 32 threads that run in step. Where a branch parts them, those at the lowest address go on until they meet the others again. Threads are never seen
/// in two places by an instruction that takes all 32: that is an error.
/// </summary>
internal sealed unsafe class PtxWarp : IDisposable
{
    /// <summary>Most words of registers and constants that a kernel may need.</summary>
    public const int MaxWords = 6144 * 32;

    private static readonly ConcurrentBag<nint> s_files = []; // memory for registers, used again and again

    private readonly PtxKernel _kernel;
    private readonly List<(int Pc, uint Mask)> _waiting = [];
    private int _pc, _nextPc = int.MaxValue;

    public PtxWarp(PtxKernel kernel, PtxBlock block, PtxMemory memory, int firstThread, int threads)
    {
        _kernel = kernel;
        Block = block;
        Memory = memory;
        Index = firstThread / 32;
        Alive = Mask = threads - firstThread >= 32 ? ~0u : (1u << (threads - firstThread)) - 1;
        P = new uint[Math.Max(1, kernel.Predicates)];
        Array.Fill(P, 0xA5A5A5A5); // so do predicates: neither true nor false for all
        R = s_files.TryTake(out nint file) ? (uint*)file : (uint*)NativeMemory.AlignedAlloc(MaxWords * sizeof(uint), 64);
        kernel.Registers.CopyTo(new Span<uint>(R, kernel.Registers.Length));
        foreach ((int place, string name) in kernel.Specials)
        {
            for (int lane = 0; lane < 32; lane++)
            {
                R[place + lane] = block.Special(name, firstThread + lane);
            }
        }
    }

    /// <summary>Registers.</summary>
    public uint* R { get; }

    /// <summary>Predicates, a bit for each lane.</summary>
    public uint[] P { get; }

    public PtxBlock Block { get; }

    public PtxMemory Memory { get; }

    public int Index { get; }

    /// <summary>Lanes that carry out the present instruction.</summary>
    public uint Mask { get; set; }

    /// <summary>Lanes that have not ended.</summary>
    public uint Alive { get; private set; }

    public bool AtBarrier { get; set; }

    public long Steps { get; private set; }

    /// <summary>Copies to shared memory that are under way, in groups in the order in which they were committed, and those that belong to no group yet.</summary>
    public List<List<PtxCopy>> Copies { get; } = [];

    public List<PtxCopy> OpenCopies { get; set; } = [];

    /// <summary>The allocation that was used last.</summary>
    public (ulong Start, ulong End) Last { get; set; }

    public void Branch(int target, uint taken)
    {
        if (taken == 0)
        {
            return;
        }

        uint rest = Mask & ~taken;
        if (rest == 0)
        {
            _pc = target;
        }
        else
        {
            _waiting.Add((target, taken));
            Mask = rest;
            _nextPc = Math.Min(_nextPc, target);
        }

        if (_pc >= _nextPc)
        {
            Switch();
        }
    }

    public void Exit()
    {
        Alive &= ~Mask;
        Mask = 0;
        Switch();
    }

    /// <summary>Carries out some instructions, until a barrier or the end.</summary>
    public void Run(int count, long limit)
    {
        PtxStep[] code = _kernel.Code;
        while (Alive != 0 && !AtBarrier && count-- > 0)
        {
            if (_pc >= _nextPc)
            {
                Switch();
            }

            int pc = _pc++;
            if (++Steps > limit)
            {
                throw new PtxException($"{_kernel.Name} does not end.");
            }

            try
            {
                code[pc](this);
            }
            catch (Exception exception) when (exception is not PtxException { InnerException: not null })
            {
                throw new PtxException($"{_kernel.Name}, instruction {pc}: {exception.Message}", exception);
            }
        }
    }

    public void RequireAll(string what) => Require(~0u, what);

    /// <summary>Throws where not just these lanes carry out an instruction.</summary>
    public void Require(uint lanes, string what)
    {
        if (Mask != lanes)
        {
            throw new PtxException($"{what} with lanes {Mask:x8} of {lanes:x8}.");
        }
    }

    public void Barrier()
    {
        Require(Alive, "bar.sync");
        AtBarrier = true;
    }

    public void Dispose() => s_files.Add((nint)R);

    private void Switch()
    {
        if (Mask != 0)
        {
            _waiting.Add((_pc, Mask));
        }

        Mask = 0;
        _pc = int.MaxValue;
        foreach ((int pc, _) in _waiting)
        {
            _pc = Math.Min(_pc, pc);
        }

        _nextPc = int.MaxValue;
        for (int i = _waiting.Count - 1; i >= 0; i--)
        {
            if (_waiting[i].Pc == _pc)
            {
                Mask |= _waiting[i].Mask;
                _waiting.RemoveAt(i);
            }
            else
            {
                _nextPc = Math.Min(_nextPc, _waiting[i].Pc);
            }
        }
    }
}

/// <summary>A block of threads with its shared memory, which starts as NaN.</summary>
internal sealed unsafe class PtxBlock : IDisposable
{
    private readonly (uint X, uint Y, uint Z) _index, _grid;
    private readonly int _threads;
    private readonly byte* _shared;
    private readonly int _sharedBytes;

    // For each word of shared memory who wrote it and who read it since the last barrier: epoch * 64 + warp, or + 63 where several read.
    private readonly int[] _written, _read;
    private int _epoch = 64;

    public PtxBlock(PtxKernel kernel, byte[] parameters, (uint X, uint Y, uint Z) index, (uint X, uint Y, uint Z) grid, int threads)
    {
        Parameters = parameters;
        _index = index;
        _grid = grid;
        _threads = threads;
        _sharedBytes = kernel.SharedBytes;
        _shared = (byte*)NativeMemory.AlignedAlloc((nuint)Math.Max(16, _sharedBytes), 128);
        new Span<byte>(_shared, _sharedBytes).Fill(0xFF);
        _written = new int[_sharedBytes / 4 + 1];
        _read = new int[_sharedBytes / 4 + 1];
    }

    public byte[] Parameters { get; }

    /// <summary>All warps have met: what was written before may be read now.</summary>
    public void NextEpoch() => _epoch += 64;

    public uint Special(string name, int thread) => name switch
    {
        "%tid.x" => (uint)thread,
        "%ntid.x" => (uint)_threads,
        "%ctaid.x" => _index.X,
        "%ctaid.y" => _index.Y,
        "%ctaid.z" => _index.Z,
        "%nctaid.x" => _grid.X,
        "%nctaid.y" => _grid.Y,
        "%nctaid.z" => _grid.Z,
        _ => throw new NotSupportedException(name),
    };

    /// <summary>Address of shared memory. Between two barriers two warps may touch a word only if both read it.</summary>
    public byte* Shared(ulong address, int size, int warp, bool write)
    {
        ulong at = address - PtxModule.SharedBase;
        if (at + (ulong)size > (ulong)_sharedBytes || at > (ulong)_sharedBytes || at % (ulong)size != 0)
        {
            throw new PtxException($"shared address {(long)at}, {size} bytes of {_sharedBytes}, is outside or not aligned.");
        }

        int own = _epoch + warp, many = _epoch + 63;
        for (int i = (int)at / 4; i < ((int)at + size + 3) / 4; i++)
        {
            bool otherWrote = _written[i] >= _epoch && _written[i] != own, otherRead = _read[i] >= _epoch && _read[i] != own;
            if (otherWrote || (write && otherRead))
            {
                throw new PtxException($"race on shared word {i}: warp {warp} {(write ? "writes" : "reads")} what another used since the last barrier.");
            }

            if (write)
            {
                _written[i] = own;
            }
            else
            {
                _read[i] = otherRead ? many : own;
            }
        }

        return _shared + at;
    }

    public void Dispose() => NativeMemory.AlignedFree(_shared);
}

/// <summary>Device memory: every access must lie in one allocation and be aligned to its size. Starts as NaN.</summary>
internal sealed unsafe class PtxMemory : IDisposable
{
    private readonly Lock _gate = new();
    private (ulong Start, ulong End)[] _allocations = [];

    /// <summary>Bytes that may be allocated together.</summary>
    public long Limit { get; set; } = long.MaxValue;

    public long Used { get; private set; }

    /// <summary>0 where there is no memory left.</summary>
    public ulong Allocate(long bytes)
    {
        lock (_gate)
        {
            if (bytes > Limit - Used)
            {
                return 0;
            }

            ulong start = (ulong)NativeMemory.AlignedAlloc((nuint)bytes, 256);
            NativeMemory.Fill((void*)start, (nuint)bytes, 0xFF);
            Used += bytes;
            _allocations = [.. _allocations.Append((start, start + (ulong)bytes)).OrderBy(allocation => allocation.Item1)];
            return start;
        }
    }

    public bool Free(ulong start)
    {
        lock (_gate)
        {
            int i = Array.FindIndex(_allocations, allocation => allocation.Start == start);
            if (i < 0)
            {
                return false;
            }

            Used -= (long)(_allocations[i].End - start);
            _allocations = [.. _allocations.Where(allocation => allocation.Start != start)];
            NativeMemory.AlignedFree((void*)start);
            return true;
        }
    }

    public byte* At(ulong address, int size, PtxWarp warp)
    {
        if (BitOperations.PopCount((uint)size) == 1 && address % (ulong)size != 0)
        {
            throw new PtxException($"address {address:x} is not aligned to {size}.");
        }

        if (address < warp.Last.Start || address + (ulong)size > warp.Last.End)
        {
            warp.Last = Find(address, (ulong)size) ?? throw new PtxException($"no memory at {address:x}, {size} bytes.");
        }

        return (byte*)address;
    }

    public bool Contains(ulong address, ulong size) => Find(address, size) is not null;

    public void Dispose() => Array.ForEach(_allocations, allocation => NativeMemory.AlignedFree((void*)allocation.Start));

    private (ulong Start, ulong End)? Find(ulong address, ulong size)
    {
        (ulong Start, ulong End)[] all = _allocations;
        int low = 0, high = all.Length;
        while (low < high)
        {
            int middle = (low + high) / 2;
            (low, high) = all[middle].Start <= address ? (middle + 1, high) : (low, middle);
        }

        return low > 0 && address < all[low - 1].End && size <= all[low - 1].End - address ? all[low - 1] : null;
    }
}
