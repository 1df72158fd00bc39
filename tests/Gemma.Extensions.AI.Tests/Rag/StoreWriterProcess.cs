using System.Diagnostics;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>The program of tests/Gemma.Extensions.AI.StoreWriter, to be killed.</summary>
internal static class StoreWriterProcess
{
    public static Process Start(params string[] arguments) => Process.Start(new ProcessStartInfo(
        Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet",
        [Path.Combine(AppContext.BaseDirectory, "Gemma.Extensions.AI.StoreWriter.dll"), .. arguments])
    {
        RedirectStandardOutput = true,
        UseShellExecute = false,
    })!;

    /// <summary>Starts the program, kills it some time after its first line, and gives all its lines. The last one may be cut by the kill.</summary>
    public static List<string> RunAndKill(TimeSpan delay, params string[] arguments)
    {
        using Process writer = Start(arguments);
        List<string> said = [];
        Timer? timer = null;
        try
        {
            while (writer.StandardOutput.ReadLine() is { } line)
            {
                said.Add(line);
                timer ??= new Timer(_ => writer.Kill(), null, delay, Timeout.InfiniteTimeSpan);
            }
        }
        finally
        {
            timer?.Dispose();
            writer.Kill();
            writer.WaitForExit();
        }

        return said;
    }
}
