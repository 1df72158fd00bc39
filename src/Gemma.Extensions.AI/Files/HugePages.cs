using System.Collections.Concurrent;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Files;

/// <summary>Asks the system for pages of 2 MB where much memory is read again and again: fewer walks of the page tables, which cost twice in a virtual machine.</summary>
internal static unsafe partial class HugePages
{
    /// <summary>Bytes of one.</summary>
    public const int Size = 2 << 20;

    /// <summary>Bytes that are moved in one step; as much memory again is needed while a thread does it.</summary>
    internal const int Piece = 32 << 20;

    private const int Advice = 14;

    /// <summary>MADV_POPULATE_READ, since Linux 5.14: reads all pages in one call.</summary>
    private const int Populate = 22;

    private const int ReadOnly = 1, ReadWrite = 3;

    private const int PrivateAnonymous = 0x22;

    /// <summary>MREMAP_MAYMOVE and MREMAP_FIXED.</summary>
    private const int MoveToAddress = 3;

    /// <summary>The file that says when the system gives out pages of 2 MB: always, to those who ask, or never.</summary>
    private const string Setting = "/sys/kernel/mm/transparent_hugepage/enabled";

    /// <summary>Null where <see cref="Replace"/> can put memory in pages of 2 MB under a mapping, else why it cannot.</summary>
    public static string? Unsupported()
    {
        if (!OperatingSystem.IsLinux())
        {
            return "only Linux lets memory be put under a mapped file";
        }

        try
        {
            return File.ReadAllText(Setting).Contains("[never]", StringComparison.Ordinal) ? $"the system gives out none ({Setting} says never)" : null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return $"the kernel has none, or does not say so ({Setting} cannot be read)";
        }
    }

    /// <summary>
    /// Advises Linux. Anonymous memory gets them on first touch. Of a mapped file what is not in memory yet is read in such pieces, by file systems that can (ext4 since 6.16, XFS, Btrfs); what is
    /// there stays as it is. If the system has none, small pages do.
    /// </summary>
    /// <param name="data">The memory, at a multiple of the page size.</param>
    /// <param name="bytes">Length.</param>
    public static void Advise(void* data, long bytes)
    {
        if (OperatingSystem.IsLinux() && bytes >= Size)
        {
            _ = MAdvise(data, (nuint)bytes, Advice);
        }
    }

    /// <summary>
    /// Puts private memory in pages of 2 MB under a read-only mapping of a file, with the same bytes. Addresses stay what they are, and others may read meanwhile: <c>mremap</c> exchanges pages in one step.
    /// What lies before the first multiple of 2 MB and after the last one stays mapped, as do pieces for which the system has no memory.
    /// </summary>
    /// <param name="data">Address of the first byte of the file.</param>
    /// <param name="length">Bytes that are mapped.</param>
    /// <param name="cancellationToken">Stops before the next piece; what was moved stays.</param>
    /// <returns>Where private memory lies now: areas one after the other, of which none touches the next.</returns>
    /// <exception cref="OperationCanceledException">The token was cancelled.</exception>
    public static IReadOnlyList<MemoryArea> Replace(byte* data, long length, CancellationToken cancellationToken)
    {
        nint first = ((nint)data + Size - 1) & -Size, end = ((nint)data + (nint)length) & -Size;
        ConcurrentBag<MemoryArea> moved = [];
        Parallel.For(0L, Math.Max(0, (end - first + Piece - 1) / Piece), new ParallelOptions { CancellationToken = cancellationToken }, (index, state) =>
        {
            nint target = first + (nint)index * Piece;
            nint bytes = Math.Min(Piece, end - target);
            if (Move((byte*)target, bytes))
            {
                moved.Add(new MemoryArea((byte*)target, bytes));
            }
            else
            {
                state.Stop();
            }
        });
        List<MemoryArea> areas = [];
        foreach (MemoryArea area in moved.OrderBy(area => (nint)area.Data))
        {
            if (areas.Count > 0 && areas[^1].End == area.Data)
            {
                areas[^1] = new MemoryArea(areas[^1].Data, areas[^1].Length + area.Length);
            }
            else
            {
                areas.Add(area);
            }
        }

        return areas;
    }

    /// <summary>Lets memory that <see cref="Replace"/> put there be written, or protects it again.</summary>
    /// <returns>False if the system does not.</returns>
    public static bool Protect(in MemoryArea area, bool isWritable) => MProtect(area.Data, area.Length, isWritable ? ReadWrite : ReadOnly) == 0;

    private static bool Move(byte* target, nint bytes)
    {
        nint area = bytes + Size;
        byte* begin = MMap(null, area, ReadWrite, PrivateAnonymous, -1, 0);
        if (begin == (byte*)-1)
        {
            return false;
        }

        byte* filled = (byte*)(((nint)begin + Size - 1) & -Size);
        _ = MAdvise(filled, (nuint)bytes, Advice);
        _ = MAdvise(target, (nuint)bytes, Populate);
        Buffer.MemoryCopy(target, filled, bytes, bytes);
        if (MProtect(filled, bytes, ReadOnly) == 0 && MRemap(filled, bytes, bytes, MoveToAddress, target) == target)
        {
            // The rest of the area, around the pages that have gone: another thread may be given their addresses from now on.
            Unmap(begin, filled);
            Unmap(filled + bytes, begin + area);
            return true;
        }

        Unmap(begin, begin + area);
        return false;
    }

    private static void Unmap(byte* from, byte* to)
    {
        if (to > from)
        {
            _ = MUnmap(from, (nint)(to - from));
        }
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial byte* MMap(void* address, nint length, int protection, int flags, int file, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int MUnmap(void* address, nint length);

    [LibraryImport("libc", EntryPoint = "mprotect")]
    private static partial int MProtect(void* address, nint length, int protection);

    [LibraryImport("libc", EntryPoint = "mremap")]
    private static partial byte* MRemap(void* address, nint oldLength, nint newLength, int flags, void* newAddress);

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MAdvise(void* address, nuint length, int advice);
}

/// <summary>A stretch of memory.</summary>
/// <param name="data">First byte.</param>
/// <param name="length">Bytes.</param>
internal readonly unsafe struct MemoryArea(byte* data, nint length)
{
    public byte* Data { get; } = data;

    public nint Length { get; } = length;

    /// <summary>Behind the last byte.</summary>
    public byte* End => Data + Length;
}
