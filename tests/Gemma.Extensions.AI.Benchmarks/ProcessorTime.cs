using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Benchmarks;

/// <summary>Time that a thread has computed, where the system tells: other processes and threads do not count.</summary>
internal static partial class ProcessorTime
{
    /// <summary>Microseconds of the calling thread.</summary>
    public static double Microseconds() => OperatingSystem.IsLinux() && ClockGetTime(3, out TimeSpec time) == 0
        ? (time.Seconds * 1e6) + (time.Nanoseconds / 1e3)
        : Stopwatch.GetTimestamp() * 1e6 / Stopwatch.Frequency;

    [LibraryImport("libc", EntryPoint = "clock_gettime")]
    private static partial int ClockGetTime(int clock, out TimeSpec time);

    private struct TimeSpec
    {
        public nint Seconds;
        public nint Nanoseconds;
    }
}
