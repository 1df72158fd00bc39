using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Files;

/// <summary>Asks the system for pages of 2 MB where much memory is read again and again: fewer walks of the page tables, which cost twice in a virtual machine.</summary>
internal static unsafe partial class HugePages
{
    /// <summary>Bytes of one.</summary>
    public const int Size = 2 << 20;

    private const int Advice = 14;

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

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int MAdvise(void* address, nuint length, int advice);
}
