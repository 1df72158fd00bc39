using System.Diagnostics;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Hub;

/// <summary><c>gemma pull</c> in a terminal: what a person sees while a model comes.</summary>
public sealed class PullProgressTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData(120)]
    [InlineData(60)]
    public async Task ABarAFileWithSpeedAndTimeLeft(int columns)
    {
        Assert.SkipUnless(OperatingSystem.IsLinux() && File.Exists("/usr/bin/script"), "The 'script' program, which gives a command a terminal, is not on this machine.");
        await using LoopbackHub hub = await LoopbackHub.StartAsync();
        using TempDirectory temp = new();
        byte[] weights = new byte[6 << 20];
        new Random(1).NextBytes(weights);
        hub.Add("config.json", File.ReadAllBytes(TestData.Local("tiny/config.json")));
        hub.Add("model.safetensors", weights);
        hub.Add("tokenizer.model", File.ReadAllBytes(TestData.Local("tiny/tokenizer.model")));
        hub.Misbehave = async (context, bytes) =>
        {
            await hub.Send(context, bytes, drip: TimeSpan.FromMilliseconds(5), dripBytes: 32 << 10);
            return true;
        };

        string configuration = new DirectoryInfo(AppContext.BaseDirectory).Parent!.Name, tool = "Gemma.Extensions.AI.Cli", record = temp.File("terminal");
        string dll = Path.Combine(TestData.Repository, "src", tool, "bin", configuration, "net10.0", tool + ".dll");
        ProcessStartInfo start = new("/usr/bin/script", ["-qec", $"stty cols {columns}; dotnet '{dll}' pull owner/model", record]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        start.Environment["HF_ENDPOINT"] = hub.Address.ToString();
        start.Environment["HF_HUB_CACHE"] = temp.File("hub");
        start.Environment["TERM"] = "xterm";
        start.Environment.Remove("HF_TOKEN");
        using Process process = Process.Start(start)!;
        await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(0, process.ExitCode);

        // What was written over and over, and what stays at the end of each line.
        string[] lines = [.. File.ReadAllText(record).Split('\n').Where(line => line.Contains('[', StringComparison.Ordinal) && line.Contains('%', StringComparison.Ordinal))];
        string[] states = [.. lines.SelectMany(line => line.Split('\r')).Where(state => state.StartsWith('['))];
        output.WriteLine(string.Join('\n', states));
        Assert.All(states, state => Assert.InRange(state.Length, 20, columns - 1));
        Assert.Contains(states, state => state.Contains("B/s", StringComparison.Ordinal));
        if (columns >= 120)
        {
            Assert.Contains(states, state => state.Contains(" left  model.safetensors", StringComparison.Ordinal) && state.Contains("% of all 6.3 MB", StringComparison.Ordinal));
            foreach (string file in new[] { "config.json", "model.safetensors", "tokenizer.model" })
            {
                Assert.Single(lines, line => line.TrimEnd('\r', ' ').Split('\r')[^1] is var last && last.Contains("100%", StringComparison.Ordinal) && last.Contains(file, StringComparison.Ordinal));
            }
        }
    }
}
