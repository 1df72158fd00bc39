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
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "Chat.dll"), $"--Gemma:ModelPath={TestData.Local("tiny")}", "--Gemma:ContextLength=80"]);
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(start, TimeSpan.FromMinutes(2), "Hello\n\n");
        Assert.Equal((0, ""), (exit, errors));
        string said = output.TrimEnd('\r', '\n');
        Assert.StartsWith("> ", said, StringComparison.Ordinal);
        Assert.EndsWith("> ", said, StringComparison.Ordinal);
        Assert.NotEqual("", said[2..^2].Trim());
    }
}
