using System.Diagnostics;
using Xunit;

namespace Gemma.Extensions.AI.Tests;

/// <summary>A disk of a few megabytes, which tests fill. It takes Linux and the superuser to mount one; elsewhere the test is skipped.</summary>
internal sealed class SmallDisk : IDisposable
{
    public SmallDisk(string path, int megabytes)
    {
        Path = Directory.CreateDirectory(path).FullName;
        Assert.SkipUnless(OperatingSystem.IsLinux() && Environment.UserName == "root" && Ran("mount", "-t", "tmpfs", "-o", $"size={megabytes}m", "tmpfs", Path),
            "A small disk can't be mounted here: that takes Linux and the superuser.");
    }

    public string Path { get; }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Takes all room but some kilobytes.</summary>
    public void Fill(int kilobytesLeft = 0)
    {
        using FileStream filler = new(File("filler"), FileMode.Append, FileAccess.Write, FileShare.None, bufferSize: 0);
        byte[] piece = new byte[4096];
        while (new DriveInfo(Path).AvailableFreeSpace > 1024L * kilobytesLeft)
        {
            filler.Write(piece);
        }
    }

    /// <summary>Gives the room back.</summary>
    public void MakeRoom() => System.IO.File.Delete(File("filler"));

    /// <summary>Names of all files but the one that takes the room, in all folders.</summary>
    public string[] Files() =>
        [.. Directory.EnumerateFiles(Path, "*", SearchOption.AllDirectories).Select(file => System.IO.Path.GetRelativePath(Path, file)).Where(name => name != "filler").Order(StringComparer.Ordinal)];

    public void Grow(int megabytes) => Assert.True(Ran("mount", "-o", $"remount,size={megabytes}m", Path));

    public void Dispose() => Assert.True(Ran("umount", "-l", Path));

    private static bool Ran(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0;
    }
}
