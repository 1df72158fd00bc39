namespace Gemma.Extensions.AI.Files;

/// <summary>A disk without room, as an exception says it.</summary>
internal static class DiskFull
{
    // ENOSPC, which is the same on every Unix, and EDQUOT, which is not; ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL.
    private const int NoSpace = 28, Quota = 122, QuotaOnMac = 69, HandleDiskFull = unchecked((int)0x80070027), Full = unchecked((int)0x80070070);

    /// <summary>True if the disk, or the user's quota, is full.</summary>
    public static bool Is(Exception exception) => exception is IOException && (OperatingSystem.IsWindows()
        ? exception.HResult is HandleDiskFull or Full
        : exception.HResult is NoSpace || exception.HResult == (OperatingSystem.IsMacOS() ? QuotaOnMac : Quota));

    /// <summary>The exception to throw, which says what could not be written and what to do.</summary>
    /// <param name="path">What was to be written.</param>
    /// <param name="exception">An exception that <see cref="Is"/> accepts.</param>
    public static IOException At(string path, Exception exception) =>
        new($"'{path}' cannot be written: the disk is full. Free some room there, or write to another place.", exception) { HResult = exception.HResult };
}
