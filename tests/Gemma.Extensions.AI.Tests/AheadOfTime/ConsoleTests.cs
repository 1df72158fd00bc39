using System.Diagnostics;

namespace Gemma.Extensions.AI.Tests.AheadOfTime;

/// <summary>The console application of tests/Gemma.Extensions.AI.AotConsole: it chats, calls a function, reads an answer as a type, answers from a document and is driven by Semantic Kernel.</summary>
[Collection(AheadOfTimeCollection.Name)]
public sealed class ConsoleTests(ConsoleTests.Application application) : IClassFixture<ConsoleTests.Application>
{
    [Fact]
    public async Task AnApplicationDoesWhatItDoesCompiledAtRunTime()
    {
        application.SkipOrFail();
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(new ProcessStartInfo(application.Program), TimeSpan.FromMinutes(3));
        Assert.True(exit == 0, output + errors);
        string[] lines = output.TrimEnd('\n').Split('\n');
        Assert.Equal(["chat", "tool", "schema", "documents", "kernel"], lines.Select(line => line.Split(':')[0]));
        Assert.StartsWith("chat: I am gemma2-nano", lines[0], StringComparison.Ordinal);
        Assert.Equal("tool: get_weather The weather in Paris is sunny, 20 degrees.", lines[1]);
        Assert.Matches(@"^schema: Person \{ Name = .{1,40}, Age = -?\d+, City = .{1,40} \}$", lines[2]); // what nano makes of it is not the matter here
        Assert.Equal("documents: 1 read, 24 months [1], pump.md", lines[3]);
        Assert.Equal("kernel: The weather in Paris is sunny, 20 degrees.", lines[4]);
    }

    /// <summary>Published once for all tests.</summary>
    public sealed class Application() : PublishedProgram("AotConsole", "Gemma.Extensions.AI.dll", "Gemma.Extensions.AI.Nano.dll", "Gemma.Extensions.AI.Rag.dll", "Gemma.Extensions.AI.SemanticKernel.dll");
}
