using System.Diagnostics;
using System.Text.Json;
using ModelContextProtocol.Client;
using ModelContextProtocol.Protocol;

namespace Gemma.Extensions.AI.Tests.AheadOfTime;

/// <summary>The tool as <c>src/Gemma.Extensions.AI.Cli/publish.sh</c> makes it: one program and SQLite's library.</summary>
[Collection(AheadOfTimeCollection.Name)]
public sealed class ToolTests(ToolTests.Tool tool) : IClassFixture<ToolTests.Tool>
{
    /// <summary>Bytes of all files: what they were when this was written, and a little.</summary>
    private const long LargestSize = 52_000_000;

    [Fact]
    public async Task ItAnswersAPrompt()
    {
        tool.SkipOrFail();
        Assert.Equal(["gemma", "libe_sqlite3.so"], Directory.GetFiles(tool.Folder).Select(Path.GetFileName).Order());
        Assert.InRange(Directory.GetFiles(tool.Folder).Sum(file => new FileInfo(file).Length), 1_000_000, LargestSize);
        (int exit, string output, string errors) = await RunAsync("chat", "--model", "nano", "--prompt", "Hello, who are you?");
        Assert.True(exit == 0, errors);
        Assert.StartsWith("I am gemma2-nano", output, StringComparison.Ordinal);
        (exit, _, errors) = await RunAsync("chat", "--model", "nowhere.gguf", "--prompt", "Hello");
        Assert.Equal(1, exit);
        Assert.Contains("The model 'nowhere.gguf' does not exist", errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ItAnswersFromAFolder()
    {
        tool.SkipOrFail();
        using TempDirectory temp = new();
        string folder = Directory.CreateDirectory(temp.File("manuals")).FullName;
        File.WriteAllText(Path.Combine(folder, "pump.md"), "# Pump\n\nThe price of the pump is 120 euros. The warranty of the pump is 24 months.\n");
        (int exit, string output, string errors) = await RunAsync("ask", folder, "How long is the warranty of the pump?", "--model", "nano", "--index", temp.File("index.db"), "--json");
        Assert.True(exit == 0, errors);
        JsonElement answer = JsonElement.Parse(output);
        Assert.Equal("24 months [1]", answer.GetProperty("answer").GetString());
        Assert.Equal("pump.md", answer.GetProperty("sources")[0].GetProperty("document").GetString());
    }

    [Fact]
    public async Task AgentsStartItAsAProcess()
    {
        tool.SkipOrFail();
        await using McpClient client = await McpClient.CreateAsync(
            new StdioClientTransport(new StdioClientTransportOptions { Name = "gemma", Command = tool.Program, Arguments = ["mcp", "--model", "nano"] }), cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal("gemma", client.ServerInfo?.Name);
        Assert.Equal(["chat", "embed"], (await client.ListToolsAsync(cancellationToken: TestContext.Current.CancellationToken)).Select(offered => offered.Name).Order());
        CallToolResult answer = await client.CallToolAsync("chat", new Dictionary<string, object?> { ["message"] = "Hello, who are you?" }, cancellationToken: TestContext.Current.CancellationToken);
        Assert.NotEqual(true, answer.IsError);
        Assert.StartsWith("I am gemma2-nano", Assert.IsType<TextContentBlock>(answer.Content[0]).Text, StringComparison.Ordinal);
    }

    private Task<(int Exit, string Output, string Errors)> RunAsync(params string[] arguments) => ProgramRun.ToEndAsync(new ProcessStartInfo(tool.Program, arguments), TimeSpan.FromMinutes(3), input: "");

    /// <summary>Published once for all tests.</summary>
    public sealed class Tool : IAsyncLifetime
    {
        private readonly TempDirectory _folder = new();
        private string? _lacks;
        private int _exit;
        private string _said = "";

        public string Folder => _folder.File("tool");

        public string Program => Path.Combine(Folder, "gemma");

        /// <summary>Skips a test where nothing could be published, fails it where that went wrong; a warning is an error there.</summary>
        public void SkipOrFail()
        {
            Assert.SkipUnless(_lacks is null, _lacks ?? "");
            Assert.True(_exit == 0, _said);
        }

        public async ValueTask InitializeAsync()
        {
            _lacks = PublishedProgram.Lacks();
            if (_lacks is null)
            {
                ProcessStartInfo start = new("bash", [Path.Combine(TestData.Repository, "src", "Gemma.Extensions.AI.Cli", "publish.sh"), Folder]);
                start.Environment["PATH"] = $"{Packages.DotnetTool.Root}:{Environment.GetEnvironmentVariable("PATH")}";
                (_exit, string output, string errors) = await ProgramRun.ToEndAsync(start, TimeSpan.FromMinutes(15));
                _said = output + errors;
                if (_said.Contains("error NU1301", StringComparison.Ordinal))
                {
                    _lacks = $"The packages of the compiler could not be restored: {_said}"; // there is no network
                }
            }
        }

        public ValueTask DisposeAsync()
        {
            _folder.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
