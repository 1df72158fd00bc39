using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI.Backends;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Backends;

/// <summary>Directories that stand for a Linux system, with the files that control groups of both versions have.</summary>
public sealed class MachineMemoryTests : IDisposable
{
    private const long Gigabyte = 1_000_000_000;
    private const string SecondMount = "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate";
    private const string FirstMount = "32 31 0:29 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory";
    private readonly TempDirectory _root = new();

    public MachineMemoryTests() => Write("proc/meminfo", "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:   12000000 kB\n");

    public void Dispose() => _root.Dispose();

    [Fact]
    public void WithoutControlGroupsPhysicalMemoryCounts() => Expect(16_384_000_000, 12_288_000_000, isContainer: false);

    [Fact]
    public void TheLimitOfAContainerOfVersion2()
    {
        Write("proc/self/cgroup", "0::/\n");
        Write("proc/self/mountinfo", SecondMount + "\n");
        Group("sys/fs/cgroup", "3000000000", current: 900_000_000, stat: "anon 150000000\nfile 700000000\ninactive_file 400000000\nactive_file 300000000\n");
        Expect(3 * Gigabyte, 3 * Gigabyte - 200_000_000, isContainer: true); // page cache is given back when it is asked for
    }

    [Fact]
    public void TheTightestLimitOfAllGroupsAboveCounts()
    {
        Write("proc/self/cgroup", "0::/kubepods.slice/pod7/web\n");
        Write("proc/self/mountinfo", SecondMount + "\n");
        Group("sys/fs/cgroup/kubepods.slice/pod7/web", "max", current: 1, stat: "");
        Group("sys/fs/cgroup/kubepods.slice/pod7", "2500000000", current: 500_000_000, stat: "inactive_file 0\n");
        Group("sys/fs/cgroup/kubepods.slice", "8000000000", current: 7_900_000_000, stat: "inactive_file 0\n");
        Expect(2_500_000_000, 2 * Gigabyte, isContainer: true);
    }

    [Fact]
    public void AGroupAboveThatIsFullLeavesLess()
    {
        Write("proc/self/cgroup", "0::/a/b\n");
        Write("proc/self/mountinfo", SecondMount + "\n");
        Group("sys/fs/cgroup/a/b", "4000000000", current: 1_000_000_000, stat: "");
        Group("sys/fs/cgroup/a", "3500000000", current: 3_400_000_000, stat: "");
        Expect(3_500_000_000, 100_000_000, isContainer: true);
    }

    [Fact]
    public void TheLimitOfAContainerOfVersion1()
    {
        Write("proc/self/cgroup", "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n");
        Write("proc/self/mountinfo", FirstMount.Replace(" / ", " /docker/abc ", StringComparison.Ordinal) + "\n"); // the container's own part is what it sees mounted
        Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "2600000000\n");
        Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1000000000\n");
        Write("sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 500000000\ntotal_active_file 100000000\n");
        Expect(2_600_000_000, 2_200_000_000, isContainer: true);
    }

    [Theory]
    [InlineData("9223372036854771712")] // what version 1 calls unlimited
    [InlineData("18446744073709551615")]
    [InlineData("64000000000")] // more than there is
    [InlineData("nonsense")]
    [InlineData("")]
    public void WhatDoesNotLimitIsNoLimit(string limit)
    {
        Write("proc/self/cgroup", "2:memory:/\n");
        Write("proc/self/mountinfo", FirstMount + "\n");
        Write("sys/fs/cgroup/memory/memory.limit_in_bytes", limit + "\n");
        Expect(16_384_000_000, 12_288_000_000, isContainer: false);
    }

    [Theory]
    [InlineData("0::/../../other\n")] // as seen from another namespace
    [InlineData("0::/elsewhere\n")]
    public void AGroupOutsideOfWhatIsMountedTakesTheMountItself(string membership)
    {
        Write("proc/self/cgroup", membership);
        Write("proc/self/mountinfo", SecondMount.Replace(" / ", " /docker/abc ", StringComparison.Ordinal) + "\n");
        Group("sys/fs/cgroup", "3000000000", current: 0, stat: "");
        Expect(3 * Gigabyte, 3 * Gigabyte, isContainer: true);
    }

    [Fact]
    public void DamagedFilesSayNothing()
    {
        Random random = new(3);
        string[] files = ["proc/self/cgroup", "proc/self/mountinfo", "proc/meminfo", "sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.stat"];
        for (int round = 0; round < 300; round++)
        {
            byte[] bytes = new byte[random.Next(80)];
            random.NextBytes(bytes);
            string text = round % 2 == 0 ? SecondMount[..random.Next(SecondMount.Length)] + "\n0::/" : string.Concat(bytes.Select(b => " /:-,0129\nmax"[b % 13]));
            Write(files[random.Next(files.Length)], text);
            MachineMemory memory = MachineMemory.ReadLinux(_root.Path);
            Assert.InRange(memory.LimitBytes, 0, long.MaxValue);
            Assert.InRange(memory.FreeBytes, 0, long.MaxValue);
        }
    }

    /// <summary>A real control group, where one may be made: the runtime would say three quarters of it.</summary>
    [Fact]
    public async Task ARealControlGroup()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Control groups are Linux's.");
        string? parent = new[] { "/sys/fs/cgroup/memory", "/sys/fs/cgroup" }.FirstOrDefault(Directory.Exists);
        string name = $"gemma-test-{Guid.NewGuid():N}";
        string group = Path.Combine(parent ?? "/nowhere", name);
        string limit = parent == "/sys/fs/cgroup/memory" ? "memory.limit_in_bytes" : "memory.max";
        try
        {
            Directory.CreateDirectory(group);
            File.WriteAllText(Path.Combine(group, limit), (3L << 30).ToString(CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            TryDelete();
            Assert.Skip($"No control group with a memory limit can be made here: {e.Message}");
        }

        try
        {
            string cli = Path.Combine(AppContext.BaseDirectory, "Gemma.Extensions.AI.Cli.dll");
            Assert.True(File.Exists(cli), $"'{cli}' is missing.");
            ProcessStartInfo start = new("/bin/sh") { RedirectStandardOutput = true, RedirectStandardError = true };
            start.ArgumentList.Add("-c");
            start.ArgumentList.Add($"echo $$ > {group}/cgroup.procs && exec dotnet '{cli}' inspect nano --json");
            using Process process = Process.Start(start)!;
            Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
            string output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.True(process.ExitCode == 0, await error);
            long bytes = (long)System.Text.Json.Nodes.JsonNode.Parse(output)!["context_memory"]!["machine_bytes"]!;
            Assert.Equal(3L << 30, bytes);
        }
        finally
        {
            TryDelete();
        }

        void TryDelete()
        {
            try
            {
                Directory.Delete(group);
            }
            catch (IOException)
            {
                // The kernel lets go of the group when its last process is reaped.
            }
        }
    }

    private void Expect(long limit, long free, bool isContainer) => Assert.Equal(new MachineMemory(limit, free, isContainer), MachineMemory.ReadLinux(_root.Path));

    private void Group(string path, string max, long current, string stat)
    {
        Write($"{path}/memory.max", max + "\n");
        Write($"{path}/memory.current", current.ToString(CultureInfo.InvariantCulture) + "\n");
        Write($"{path}/memory.stat", stat);
    }

    private void Write(string path, string text)
    {
        string full = _root.File(path);
        Directory.CreateDirectory(Path.GetDirectoryName(full)!);
        File.WriteAllText(full, text);
    }
}
