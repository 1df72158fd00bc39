using System.Diagnostics;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Samples;

public class ChatSampleTests
{
    [Fact]
    public void ItIsAGenericHostOfUnder40Lines()
    {
        string[] lines = File.ReadAllLines(Path.Combine(TestData.Repository, "samples", "Chat", "Program.cs"));
        Assert.InRange(lines.Length, 10, 39);
        Assert.Contains(lines, line => line.Contains("Host.CreateApplicationBuilder", StringComparison.Ordinal));
    }

    [Fact]
    public async Task ItConversesUntilAnEmptyLine()
    {
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "Chat.dll"), $"--Gemma:ModelPath={TestData.Local("tiny")}", "--Gemma:ContextLength=80"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        await process.StandardInput.WriteLineAsync("Hello");
        await process.StandardInput.WriteLineAsync();
        process.StandardInput.Close();
        using CancellationTokenSource patience = new(TimeSpan.FromMinutes(2));
        await process.WaitForExitAsync(patience.Token);

        Assert.Equal("", await error);
        Assert.Equal(0, process.ExitCode);
        string said = await output;
        Assert.StartsWith("> ", said, StringComparison.Ordinal);
        Assert.EndsWith("> ", said, StringComparison.Ordinal);
        Assert.NotEqual("", said[2..^2].Trim());
    }
}
