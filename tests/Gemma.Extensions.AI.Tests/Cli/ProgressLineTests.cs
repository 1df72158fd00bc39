using Gemma.Extensions.AI.Cli;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>The line on a terminal that says how far work is.</summary>
public class ProgressLineTests
{
    [Fact]
    public void ItSaysTheShareAndTheTimeLeft()
    {
        StringWriter error = new();
        using Interrupts interrupts = new();
        CliInvocation host = new(interrupts) { Output = TextWriter.Null, Error = error, Input = TextReader.Null, IsInteractive = true };
        using (ProgressLine line = new(host))
        {
            line.Show("mmlu", 10, 40); // what was there before
            while (!error.ToString().Contains(" left", StringComparison.Ordinal))
            {
                line.Show("mmlu", 20, 40); // shown as soon as it is not too often
            }

            line.Show("mmlu", 40, 40);
        }

        string[] states = error.ToString().Split('\r', StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("[######..................]  25%  mmlu", states[0], StringComparison.Ordinal);
        Assert.Matches(@"^\[############\.{12}\]  50%, [0-9]:[0-9]{2}:[0-9]{2} left  mmlu", states[1]);
        Assert.StartsWith("[########################] 100%  mmlu", states[2], StringComparison.Ordinal);
    }

    [Fact]
    public void NothingIsSaidWhereNobodyLooks()
    {
        StringWriter error = new();
        using Interrupts interrupts = new();
        using ProgressLine line = new(new CliInvocation(interrupts) { Output = TextWriter.Null, Error = error, Input = TextReader.Null, IsInteractive = false });
        line.Show("mmlu", 10, 40);
        Assert.Equal("", error.ToString());
    }
}
