using System.Diagnostics;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>The <c>gemma</c> command as a process of its own, to be killed.</summary>
internal static class CliProcess
{
    /// <summary>Far more than a command needs on a busy machine: it is there so that nothing hangs.</summary>
    private static readonly TimeSpan s_limit = TimeSpan.FromMinutes(5);

    /// <summary>The program, in the tool's own folder: beside the tests it would lack what the web framework of the tests brings.</summary>
    public static string Program
    {
        get
        {
            string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name, tool = "Gemma.Extensions.AI.Cli";
            return Path.Combine(TestData.Repository, "src", tool, "bin", configuration, "net10.0", tool + ".dll");
        }
    }

    /// <summary>How often a test kills: GEMMA_KILLS, or a few times, since each start takes a while.</summary>
    public static int Kills(int few) => int.TryParse(Environment.GetEnvironmentVariable("GEMMA_KILLS"), out int kills) ? kills : few;

    public static Process Start(string[] command, params (string Name, string? Value)[] environment)
    {
        ProcessStartInfo start = Command(command, environment);
        (start.RedirectStandardOutput, start.RedirectStandardError) = (true, true);
        Process process = Process.Start(start)!;
        try
        {
            process.PriorityClass = ProcessPriorityClass.Idle; // on a busy machine who watches is to be quicker than who is watched
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has ended already, or the system has no such thing.
        }

        return process;
    }

    /// <summary>Runs the command to its end.</summary>
    public static Task<(int Exit, string Output, string Errors)> ToEndAsync(string[] command, params (string Name, string? Value)[] environment) => ProgramRun.ToEndAsync(Command(command, environment), s_limit);

    /// <summary>Kills a process when something has happened, or lets it end. True: it was killed.</summary>
    public static async Task<bool> KillWhenAsync(this Process process, Func<bool> happened)
    {
        long start = Stopwatch.GetTimestamp();
        bool isLate = false;
        while (!process.HasExited && !happened() && !isLate)
        {
            isLate = Stopwatch.GetElapsedTime(start) > s_limit;
            Thread.Sleep(1);
        }

        // The kill may come too late; then the command ended by itself, with an exit code of its own.
        bool running = !process.HasExited;
        process.Kill();
        await process.WaitForExitAsync();
        Assert.False(isLate, $"Within {s_limit.TotalMinutes} minutes the process did not end, and not happened what it was to be killed at.");
        return running && process.ExitCode != 0;
    }

    /// <summary>How the command is started at ordinary priority, for what others wait for.</summary>
    public static ProcessStartInfo Command(string[] command, params (string Name, string? Value)[] environment)
    {
        ProcessStartInfo start = new("dotnet", [Program, .. command]);
        foreach ((string name, string? value) in environment)
        {
            start.Environment[name] = value;
        }

        return start;
    }
}
