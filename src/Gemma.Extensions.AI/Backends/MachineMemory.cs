using System.Globalization;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends;

/// <summary>
/// Memory that this process can have: physical memory, or less where a control group (a container) sets a limit. The runtime's own number,
/// <see cref="GCMemoryInfo.TotalAvailableMemoryBytes"/>, is the limit of the managed heap, by default 75 % of a container's; mapped weights and
/// key/value memory are not on that heap.
/// </summary>
/// <param name="LimitBytes">Bytes that processes may use at most: the smallest of physical memory and of the limits of all control groups above this process.</param>
/// <param name="FreeBytes">Bytes of these that nothing holds now. Page cache counts as free: the kernel drops it when memory is asked for.</param>
/// <param name="IsContainer">Whether a control group sets the limit, not the machine.</param>
internal readonly record struct MachineMemory(long LimitBytes, long FreeBytes, bool IsContainer)
{
    /// <summary>The state at this moment.</summary>
    public static MachineMemory Read() => OperatingSystem.IsLinux() ? ReadLinux("/") : ReadElsewhere();

    /// <summary>
    /// Reads Linux's files: <c>/proc/meminfo</c>, and for each control group from this process's up to the mount point <c>memory.max</c>, <c>memory.current</c> and
    /// <c>memory.stat</c> (version 2) or <c>memory.limit_in_bytes</c>, <c>memory.usage_in_bytes</c> and <c>memory.stat</c> (version 1).
    /// </summary>
    /// <param name="root">Directory that stands for <c>/</c>; tests give another.</param>
    internal static MachineMemory ReadLinux(string root)
    {
        Dictionary<string, long> machine = ReadTable(Path.Combine(root, "proc/meminfo"), kilobytes: true);
        long limit = machine.TryGetValue("MemTotal", out long total) && total > 0 ? total : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        MachineMemory memory = new(limit, machine.TryGetValue("MemAvailable", out long free) ? free : limit, IsContainer: false);
        foreach (string group in ControlGroups(root))
        {
            memory = memory.Within(group);
        }

        return memory;
    }

    /// <summary>The directories of the control groups that limit this process's memory, from its own up to the root of what is mounted.</summary>
    private static IEnumerable<string> ControlGroups(string root)
    {
        string[] memberships = ReadLines(Path.Combine(root, "proc/self/cgroup"));
        foreach (string line in ReadLines(Path.Combine(root, "proc/self/mountinfo")))
        {
            // 31 23 0:28 ROOT MOUNTPOINT OPTIONS … - TYPE SOURCE SUPEROPTIONS
            string[] halves = line.Split(" - ", 2);
            string[] mount = halves[0].Split(' ');
            string[] kind = halves.Length == 2 ? halves[1].Split(' ') : [];
            bool second = kind is ["cgroup2", ..];
            if (mount.Length < 5 || !(second || (kind is ["cgroup", _, var options, ..] && options.Split(',').Contains("memory"))))
            {
                continue;
            }

            foreach (string membership in memberships)
            {
                // 0::PATH in version 2, NUMBER:CONTROLLERS:PATH in version 1
                string[] parts = membership.Split(':', 3);
                if (parts.Length == 3 && (second ? parts[0] == "0" && parts[1].Length == 0 : parts[1].Split(',').Contains("memory")))
                {
                    string mountPoint = Path.Combine(root, Unescape(mount[4]).TrimStart('/'));
                    for (string path = Below(parts[2], Unescape(mount[3])); ; path = Path.GetDirectoryName(path) ?? "")
                    {
                        yield return Path.Combine(mountPoint, path);
                        if (path.Length == 0)
                        {
                            break;
                        }
                    }
                }
            }
        }
    }

    /// <summary>The path of a group relative to the part of the hierarchy that is mounted; the mount point itself where the group lies outside of it, as it does in some containers.</summary>
    private static string Below(string path, string mountedRoot)
    {
        path = path.Trim('/');
        string prefix = mountedRoot.Trim('/');
        string relative = prefix.Length == 0 ? path
            : path == prefix ? ""
            : path.StartsWith(prefix + "/", StringComparison.Ordinal) ? path[(prefix.Length + 1)..]
            : "";
        return relative.Split('/').Contains("..") ? "" : relative;
    }

    /// <summary>Takes over a group's limit where it is the tighter one, and what is free in it where that is less.</summary>
    private MachineMemory Within(string group)
    {
        long limit = ReadNumber(Path.Combine(group, "memory.max")) ?? ReadNumber(Path.Combine(group, "memory.limit_in_bytes")) ?? long.MaxValue;
        if (limit >= LimitBytes)
        {
            return this; // "max" in version 2, a number near 2^63 in version 1, or more than there is
        }

        long used = ReadNumber(Path.Combine(group, "memory.current")) ?? ReadNumber(Path.Combine(group, "memory.usage_in_bytes")) ?? 0;
        Dictionary<string, long> parts = ReadTable(Path.Combine(group, "memory.stat"), kilobytes: false);
        long cache = Part("inactive_file") + Part("active_file");
        return new MachineMemory(limit, Math.Clamp(limit - Math.Max(0, used - cache), 0, FreeBytes), IsContainer: true);

        // In version 1 the plain names leave out the groups below.
        long Part(string name) => parts.TryGetValue("total_" + name, out long value) || parts.TryGetValue(name, out value) ? value : 0;
    }

    private static MachineMemory ReadElsewhere()
    {
        try
        {
            if (OperatingSystem.IsWindows())
            {
                MemoryStatus status = new() { Length = (uint)Marshal.SizeOf<MemoryStatus>() };
                if (GlobalMemoryStatusEx(ref status))
                {
                    return new MachineMemory((long)status.TotalPhysical, (long)status.AvailablePhysical, IsContainer: false);
                }
            }
            else if (OperatingSystem.IsMacOS())
            {
                nint size = sizeof(long);
                if (SysctlByName("hw.memsize", out long bytes, ref size, 0, 0) == 0)
                {
                    return new MachineMemory(bytes, bytes, IsContainer: false); // What is free is not told in one number there.
                }
            }
        }
        catch (Exception exception) when (exception is DllNotFoundException or EntryPointNotFoundException)
        {
            // The runtime's number follows.
        }

        long total = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        return new MachineMemory(total, total, IsContainer: false);
    }

    /// <summary>Lines "name: number kB" or "name number", in bytes.</summary>
    private static Dictionary<string, long> ReadTable(string path, bool kilobytes)
    {
        Dictionary<string, long> values = new(StringComparer.Ordinal);
        foreach (string line in ReadLines(path))
        {
            string[] words = line.Split([' ', ':', '\t'], StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 2 && TryParse(words[1], out long value))
            {
                values.TryAdd(words[0], kilobytes ? value > long.MaxValue / 1024 ? long.MaxValue : value * 1024 : value);
            }
        }

        return values;
    }

    private static long? ReadNumber(string path) => ReadLines(path) is [var line, ..] && TryParse(line.Trim(), out long value) ? value : null;

    private static bool TryParse(string text, out long value)
    {
        bool parsed = ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong bytes);
        value = (long)Math.Min(bytes, long.MaxValue);
        return parsed;
    }

    /// <summary>The lines of a file; none where it is not there or may not be read, as the files of control groups often are not.</summary>
    private static string[] ReadLines(string path)
    {
        try
        {
            return File.ReadAllLines(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>mountinfo writes space, tab, newline and backslash as three octal digits.</summary>
    private static string Unescape(string path) => path
        .Replace(@"\040", " ", StringComparison.Ordinal).Replace(@"\011", "\t", StringComparison.Ordinal)
        .Replace(@"\012", "\n", StringComparison.Ordinal).Replace(@"\134", @"\", StringComparison.Ordinal);

    [DllImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static extern bool GlobalMemoryStatusEx(ref MemoryStatus status);

    [DllImport("libSystem", EntryPoint = "sysctlbyname")]
    private static extern int SysctlByName([MarshalAs(UnmanagedType.LPUTF8Str)] string name, out long value, ref nint size, nint newValue, nint newSize);

    [StructLayout(LayoutKind.Sequential)]
    private struct MemoryStatus
    {
        public uint Length, MemoryLoad;
        public ulong TotalPhysical, AvailablePhysical, TotalPageFile, AvailablePageFile, TotalVirtual, AvailableVirtual, AvailableExtendedVirtual;
    }
}
