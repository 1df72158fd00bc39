using System.Diagnostics;
using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Nano;
using Gemma.Extensions.AI.Tests.Rag;
using ModelContextProtocol.Client;
using ModelContextProtocol.Protocol;

namespace Gemma.Extensions.AI.Tests.AheadOfTime;

/// <summary>The tool as <c>src/Gemma.Extensions.AI.Cli/publish.sh</c> makes it: one program and SQLite's library.</summary>
[Collection(AheadOfTimeCollection.Name)]
public sealed partial class ToolTests(ToolTests.Tool tool) : IClassFixture<ToolTests.Tool>
{
    /// <summary>Bytes of all files, nano's weights included.</summary>
    private const long LargestSize = 40_000_000;

    private const string Initialize = """{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}""";

    [Fact]
    public async Task ItAnswersAPrompt()
    {
        tool.SkipOrFail();
        Assert.Equal(["gemma", "libe_sqlite3.so"], Directory.GetFiles(tool.Folder).Select(Path.GetFileName).Order());
        Assert.InRange(Directory.GetFiles(tool.Folder).Sum(file => new FileInfo(file).Length), 10_000_000, LargestSize);
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

    /// <summary>The tables that a document in Japanese needs are compressed in the program (ChangeLibraries.targets), as are the widths of the letters of Helvetica.</summary>
    [Fact]
    public async Task ItReadsPdfInFontsOfWhichTheDocumentHasNothing()
    {
        tool.SkipOrFail();
        using TempDirectory temp = new();
        string folder = Directory.CreateDirectory(temp.File("manuals")).FullName;
        const string Descriptor = "<</Type/FontDescriptor/FontName/A/Flags 4/FontBBox[0 0 1 1]/ItalicAngle 0/Ascent 1/Descent 0/CapHeight 1/StemV 1>>";
        File.WriteAllBytes(Path.Combine(folder, "pump.pdf"), PdfText.Pdf(
            "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[3 0 R]/Count 1>>", "<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources 5 0 R>>",
            PdfText.Stream("BT /F 12 Tf 50 700 Td (The warranty of the pump is 24 months.) Tj /J 12 Tf 0 -20 Td <65E5672C8A9E> Tj ET"),
            $"<</Font<</F<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>/J<</Type/Font/Subtype/Type0/BaseFont/A/Encoding/UniJIS-UCS2-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType0/BaseFont/A/CIDSystemInfo<</Registry(Adobe)/Ordering(Japan1)/Supplement 6>>/FontDescriptor{Descriptor}>>]>>>>>>"));
        (int exit, string output, string errors) = await RunAsync("ask", folder, "How long is the warranty of the pump?", "--model", "nano", "--index", temp.File("index.db"), "--json");
        Assert.True(exit == 0, errors);
        JsonElement passage = JsonElement.Parse(output).GetProperty("passages")[0];
        Assert.Equal("pump.pdf", passage.GetProperty("document").GetString());
        Assert.Contains("The warranty of the pump is 24 months.", passage.GetProperty("text").GetString(), StringComparison.Ordinal);
        Assert.Contains("\u65E5\u672C\u8A9E", passage.GetProperty("text").GetString(), StringComparison.Ordinal);
    }

    /// <summary>Over HTTP, with keys and without: what the tool registers for them is its own choice (ServerHost).</summary>
    [Fact]
    public async Task ItServesThoseWithAKey()
    {
        tool.SkipOrFail();
        await ServeAsync(["serve", "--model", "nano", "--port", "0", "--api-key", "secret"], async http =>
        {
            using StringContent question = new("""{"model":"nano","temperature":0,"messages":[{"role":"user","content":"Hello, who are you?"}]}""", Encoding.UTF8, "application/json");
            Assert.Equal(HttpStatusCode.Unauthorized, (await http.PostAsync("/v1/chat/completions", question, TestContext.Current.CancellationToken)).StatusCode);
            http.DefaultRequestHeaders.Authorization = new("Bearer", "secret");
            using HttpResponseMessage answer = await http.PostAsync("/v1/chat/completions", question, TestContext.Current.CancellationToken);
            string body = await answer.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
            Assert.Contains("I am gemma2-nano", body, StringComparison.Ordinal);
            Assert.Contains("gemma", await http.GetStringAsync("/metrics", TestContext.Current.CancellationToken), StringComparison.Ordinal);
        });
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

    /// <summary>Requests and errors of the Model Context Protocol over HTTP are read and written by code of the tool's own (JsonBody), in the encodings that ASP.NET reads.</summary>
    [Fact]
    public async Task AgentsReachItByHttp()
    {
        tool.SkipOrFail();
        await ServeAsync(["mcp", "--http", "--model", "nano", "--port", "0"], async http =>
        {
            await using McpClient client = await McpClient.CreateAsync(
                new HttpClientTransport(new HttpClientTransportOptions { Endpoint = new Uri(http.BaseAddress!, "/mcp"), TransportMode = HttpTransportMode.StreamableHttp }), cancellationToken: TestContext.Current.CancellationToken);
            CallToolResult answer = await client.CallToolAsync("chat", new Dictionary<string, object?> { ["message"] = "Hello, who are you?" }, cancellationToken: TestContext.Current.CancellationToken);
            Assert.StartsWith("I am gemma2-nano", Assert.IsType<TextContentBlock>(answer.Content[0]).Text, StringComparison.Ordinal);

            foreach ((HttpStatusCode status, HttpContent content, string? accepted) in ((HttpStatusCode, HttpContent, string?)[])
            [
                (HttpStatusCode.OK, new StringContent(Initialize, Encoding.UTF8, "application/json"), "application/json, text/event-stream"),
                (HttpStatusCode.OK, new StringContent(Initialize, Encoding.Unicode, "application/json"), "application/json, text/event-stream"),
                (HttpStatusCode.NotAcceptable, new StringContent(Initialize, Encoding.UTF8, "application/json"), "text/html"),
            ])
            {
                using HttpRequestMessage request = new(HttpMethod.Post, "/mcp") { Content = content };
                request.Headers.TryAddWithoutValidation("Accept", accepted);
                using HttpResponseMessage response = await http.SendAsync(request, TestContext.Current.CancellationToken);
                string said = await response.Content.ReadAsStringAsync(TestContext.Current.CancellationToken);
                Assert.True(status == response.StatusCode, $"{response.StatusCode}: {said}");
                if (status == HttpStatusCode.OK)
                {
                    Assert.Contains("\"serverInfo\"", said, StringComparison.Ordinal);
                }
                else
                {
                    Assert.Equal("application/json; charset=utf-8", response.Content.Headers.ContentType?.ToString());
                    Assert.Contains("application/json", JsonElement.Parse(said).GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
                }
            }
        });
    }

    /// <summary>The log names addresses, and the file of symbols says what they are, as the tool's page promises.</summary>
    [Fact]
    public async Task TracesOfItsLogAreExplainedByItsSymbols()
    {
        tool.SkipOrFail();
        Assert.SkipUnless(PublishedProgram.Find("addr2line"), "addr2line is not installed (Debian: binutils).");
        using TempDirectory temp = new();
        string damaged = temp.File("damaged.gguf");
        File.WriteAllBytes(damaged, File.ReadAllBytes(NanoModel.Path)[..^100_000]);
        ProcessStartInfo start = new(tool.Program, ["serve", "--model", damaged, "--preload", "--port", "0"]) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process server = Process.Start(start)!;
        string address = "";
        try
        {
            while (address.Length == 0)
            {
                string line = await server.StandardError.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromMinutes(2), TestContext.Current.CancellationToken) ?? throw new InvalidOperationException("The log has no trace.");
                address = Frame().Match(line).Groups[1].Value;
            }
        }
        finally
        {
            server.Kill();
        }

        ProcessStartInfo explain = new("addr2line", ["-f", "-e", $"{tool.Folder}.symbols/Gemma.Extensions.AI.Cli.dbg", address]);
        (int exit, string output, string errors) = await ProgramRun.ToEndAsync(explain, TimeSpan.FromMinutes(3));
        Assert.True(exit == 0, errors);
        Assert.Matches(@"GgufFile__\w+\s+.*GgufFile\.cs:\d+", output);
    }

    [GeneratedRegex("gemma!<BaseAddress>\\+(0x[0-9a-f]+)")]
    private static partial Regex Frame();

    [GeneratedRegex("http://[0-9.:]+")]
    private static partial Regex Address();

    /// <summary>Starts the tool as a server and asks it.</summary>
    private async Task ServeAsync(string[] arguments, Func<HttpClient, Task> ask)
    {
        ProcessStartInfo start = new(tool.Program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process server = Process.Start(start)!;
        try
        {
            string address = "";
            while (address.Length == 0)
            {
                string line = await server.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TimeSpan.FromMinutes(2), TestContext.Current.CancellationToken) ?? throw new InvalidOperationException(await server.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
                address = Address().Match(line).Value;
            }

            using HttpClient http = new() { BaseAddress = new Uri(address) };
            await ask(http);
        }
        finally
        {
            server.Kill();
        }
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
