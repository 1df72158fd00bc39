using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>Bytes of a process.</summary>
/// <param name="Resident">All that it has in memory, pages of files included.</param>
/// <param name="Managed">Managed and in use.</param>
/// <param name="Committed">What the garbage collector holds.</param>
/// <param name="Native">What <c>malloc</c> gave out and has not got back (glibc).</param>
/// <param name="NativeFree">What <c>malloc</c> holds and could give out.</param>
internal readonly partial record struct NodeMemory(long Resident, long Managed, long Committed, long Native, long NativeFree)
{
    public static NodeMemory OfThisProcess(bool collect)
    {
        long managed = GC.GetTotalMemory(forceFullCollection: collect);
        AllocatorInfo allocator = AllocatorInfo.Read();
        using Process own = Process.GetCurrentProcess();
        return new NodeMemory(own.WorkingSet64, managed, GC.GetGCMemoryInfo().TotalCommittedBytes, (long)(allocator.InUse + allocator.MappedBytes), (long)allocator.Free);
    }

    public static NodeMemory Parse(string text) => text.Split(' ') is [string resident, string managed, string committed, string native, string free]
        ? new NodeMemory(long.Parse(resident), long.Parse(managed), long.Parse(committed), long.Parse(native), long.Parse(free))
        : throw new FormatException($"'{text}' is no memory of a node.");

    public override string ToString() => $"{Resident} {Managed} {Committed} {Native} {NativeFree}";

    /// <summary><c>struct mallinfo2</c>, over all arenas; zeros where the C library has none.</summary>
    private readonly partial record struct AllocatorInfo(
        nuint Arenas, nuint FreeChunks, nuint FastChunks, nuint Mapped, nuint MappedBytes, nuint Unused, nuint FastBytes, nuint InUse, nuint Free, nuint Trimmable)
    {
        public static AllocatorInfo Read()
        {
            try
            {
                return MallInfo2();
            }
            catch (Exception e) when (e is EntryPointNotFoundException or DllNotFoundException)
            {
                return default;
            }
        }

        [LibraryImport("libc", EntryPoint = "mallinfo2")]
        private static partial AllocatorInfo MallInfo2();
    }
}
