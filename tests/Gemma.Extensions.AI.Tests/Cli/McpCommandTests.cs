using System.Collections.Concurrent;
using System.Diagnostics;
using System.IO.Pipelines;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Cli.Commands;
using Gemma.Extensions.AI.Cli.Mcp;
using Microsoft.Extensions.AI;
using ModelContextProtocol;
using ModelContextProtocol.Client;
using ModelContextProtocol.Protocol;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary><c>gemma mcp</c>, asked by the client of the protocol's own library over both transports.</summary>
public sealed class McpCommandTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    private static string Tiny => TestData.Local("tiny");

    public void Dispose() => _temp.Dispose();

    [Fact]
    public async Task AgentsStartItAsAProcess()
    {
        string folder = _temp.File("manuals");
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "pump.md"), "# Pump\n\nThe pump is serviced in March by the mechanic.\n");
        await using McpClient client = await McpClient.CreateAsync(new StdioClientTransport(new StdioClientTransportOptions
        {
            Name = "gemma",
            Command = "dotnet",
            Arguments = [CliProcess.Program, "mcp", "--model", "nano", "--documents", folder, "--index", _temp.File("index.db")],
        }), cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal("gemma", client.ServerInfo?.Name);
        Assert.Equal(["ask_documents", "chat", "embed"], (await client.ListToolsAsync()).Select(offered => offered.Name).Order());
        await CheckToolsAsync(client);

        Progress progress = new();
        CallToolResult answer = await client.CallToolAsync("ask_documents", new Dictionary<string, object?> { ["question"] = "When is the pump serviced?" }, progress);
        Assert.NotEqual(true, answer.IsError);
        JsonElement structured = answer.StructuredContent!.Value;
        Assert.StartsWith(structured.GetProperty("answer").GetString()!, Text(answer), StringComparison.Ordinal);
        Assert.Equal("pump.md", Assert.Single(structured.GetProperty("passages").EnumerateArray()).GetProperty("document").GetString());
        await progress.ContainsAsync("reading pump.md");
        Assert.Single(Directory.GetFileSystemEntries(folder));
    }

    [Fact]
    public async Task AgentsAskItOverHttp()
    {
        await using Listening server = await Listening.StartAsync("--model", "nano");
        await using McpClient client = await server.ConnectAsync();
        Assert.Equal(["chat", "embed"], (await client.ListToolsAsync()).Select(offered => offered.Name).Order());
        await CheckToolsAsync(client);
        Assert.Equal("ok", JsonElement.Parse(await new HttpClient().GetStringAsync(new Uri(server.Address, "/health"))).GetProperty("status").GetString());
    }

    [Fact]
    public async Task OverHttpAKeyIsWanted()
    {
        await using Listening server = await Listening.StartAsync("--model", Tiny, "--api-key", "secret");
        await Assert.ThrowsAnyAsync<HttpRequestException>(() => server.ConnectAsync());
        await using McpClient client = await server.ConnectAsync("secret");
        Assert.Equal(2, (await client.ListToolsAsync()).Count);
        Assert.Contains("--api-key", await CliRun.FailAsync("mcp", "--http", "--host", "*", "--model", Tiny), StringComparison.Ordinal);
    }

    /// <summary>An agent that has had enough: the model stops, and the server answers others.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ACallThatIsCancelledStopsTheModel(bool isHttp)
    {
        WaitingClient waiting = new();
        await using IAsyncDisposable server = isHttp ? await Listening.StartAsync(waiting) : Piped.Start(waiting);
        await using McpClient client = server is Listening http ? await http.ConnectAsync() : await ((Piped)server).ConnectAsync();
        using CancellationTokenSource enough = new();
        Task<CallToolResult> call = client.CallToolAsync("chat", new Dictionary<string, object?> { ["message"] = "wait" }, cancellationToken: enough.Token).AsTask();
        await waiting.Began.WaitAsync(TimeSpan.FromMinutes(1));
        enough.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        await waiting.Cancelled.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal("done", Text(await client.CallToolAsync("chat", new Dictionary<string, object?> { ["message"] = "Hello" })));
    }

    [Fact]
    public async Task ALongAnswerTellsHowFarItIs()
    {
        WaitingClient slow = new();
        await using Piped server = Piped.Start(slow);
        await using McpClient client = await server.ConnectAsync();
        Progress progress = new();
        Task<CallToolResult> call = client.CallToolAsync("chat", new Dictionary<string, object?> { ["message"] = "slow" }, progress).AsTask();
        await progress.ContainsAsync("4 characters");
        slow.GoOn();
        Assert.Equal("half done", Text(await call));
    }

    /// <summary>Requests that are piped in, the last one with or without a line break: the end of the input is no reason to leave one unanswered, and then none to stay.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("\n")]
    public async Task WhatWasAskedBeforeTheInputEndsIsAnswered(string end)
    {
        string requests = string.Join('\n',
            """{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"pipe","version":"1"}}}""",
            """{"jsonrpc":"2.0","method":"notifications/initialized"}""",
            """{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"chat","arguments":{"message":"wait"}}}""",
            """{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2}}""",
            """no message""",
            """{"jsonrpc":"2.0","id":"last","method":"tools/call","params":{"name":"chat","arguments":{"message":"slow"}}}""") + end;
        WaitingClient slow = new();
        using MemoryStream input = new(Encoding.UTF8.GetBytes(requests)), output = new();
        Task serving = McpCommand.ServeStreamsAsync([new ChatTool(slow, "waiting")], input, output, TestContext.Current.CancellationToken);
        await slow.Half.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.Equal(input.Length, input.Position);
        Assert.False(serving.IsCompleted);
        slow.GoOn();
        await serving.WaitAsync(TimeSpan.FromMinutes(1));
        JsonElement[] answers = [.. Encoding.UTF8.GetString(output.ToArray()).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => JsonElement.Parse(line))];
        Assert.Equal("gemma", Answer("1").GetProperty("serverInfo").GetProperty("name").GetString());
        Assert.Equal("half done", Answer("last").GetProperty("content")[0].GetProperty("text").GetString());

        JsonElement Answer(string id) => answers.Single(answer => answer.TryGetProperty("id", out JsonElement found) && found.ToString() == id).GetProperty("result");
    }

    private static async Task CheckToolsAsync(McpClient client)
    {
        Dictionary<string, object?> question = new() { ["message"] = "Hello, who are you?", ["temperature"] = 0, ["max_tokens"] = 12 };
        using GemmaModel nano = GemmaModel.Load("nano");
        string expected = (await nano.AsIChatClient().GetResponseAsync("Hello, who are you?", new() { Temperature = 0, MaxOutputTokens = 12 })).Text;
        CallToolResult answer = await client.CallToolAsync("chat", question);
        Assert.Equal(expected, Text(answer));

        question["schema"] = JsonElement.Parse("""{"type":"object","properties":{"mood":{"enum":["good","bad"]}},"required":["mood"]}""");
        question["max_tokens"] = 40;
        Assert.Contains(JsonElement.Parse(Text(await client.CallToolAsync("chat", question))).GetProperty("mood").GetString(), (string[])["good", "bad"]);

        CallToolResult vectors = await client.CallToolAsync("embed", new Dictionary<string, object?> { ["texts"] = (string[])["a red car", "a blue boat"] });
        JsonElement[] lists = [.. vectors.StructuredContent!.Value.GetProperty("vectors").EnumerateArray()];
        Assert.Equal(2, lists.Length);
        Assert.Equal((await nano.AsIEmbeddingGenerator().GenerateAsync(["a red car"]))[0].Vector.ToArray(), lists[0].EnumerateArray().Select(value => value.GetSingle()));

        await RefusedAsync("chat", new() { ["message"] = "" }, "'message' is missing");
        await RefusedAsync("chat", new() { ["message"] = 3 }, "'message' is '3', expected a text");
        await RefusedAsync("chat", new() { ["message"] = "x", ["max_tokens"] = 0 }, "'max_tokens' is '0', expected a whole number of at least 1");
        await RefusedAsync("chat", new() { ["message"] = "x", ["temprature"] = 1 }, "There is no argument 'temprature'");
        await RefusedAsync("chat", new() { ["message"] = string.Concat(Enumerable.Repeat("many words ", 40_000)) }, "tokens but the context holds");
        await RefusedAsync("chat", new() { ["message"] = "x", ["schema"] = JsonElement.Parse("""{"type":"strange"}""") }, "schema");
        await RefusedAsync("embed", new() { ["texts"] = Array.Empty<string>() }, "expected a list of texts");
        await Assert.ThrowsAnyAsync<McpException>(() => client.CallToolAsync("no_such_tool", new Dictionary<string, object?>()).AsTask());
        Assert.Equal(expected, Text(await client.CallToolAsync("chat", new Dictionary<string, object?> { ["message"] = "Hello, who are you?", ["temperature"] = 0, ["max_tokens"] = 12 })));

        async Task RefusedAsync(string tool, Dictionary<string, object?> arguments, string message)
        {
            CallToolResult result = await client.CallToolAsync(tool, arguments);
            Assert.True(result.IsError);
            Assert.Contains(message, Text(result), StringComparison.Ordinal);
        }
    }

    private static string Text(CallToolResult result) => result.Content.OfType<TextContentBlock>().First().Text;

    private sealed class Progress : IProgress<ProgressNotificationValue>
    {
        private readonly ConcurrentQueue<string?> _messages = new();

        public void Report(ProgressNotificationValue value) => _messages.Enqueue(value.Message);

        /// <summary>Reports are notifications, which the client may read after the result.</summary>
        public async Task ContainsAsync(string message)
        {
            long start = Stopwatch.GetTimestamp();
            while (!_messages.Contains(message))
            {
                Assert.True(Stopwatch.GetElapsedTime(start) < TimeSpan.FromMinutes(1), $"'{message}' was not told, but: {string.Join(", ", _messages)}");
                await Task.Delay(20);
            }
        }
    }

    /// <summary>Answers "done", to "wait" never, and to "slow" the second half when it is told to.</summary>
    private sealed class WaitingClient : IChatClient
    {
        private readonly TaskCompletionSource _began = new(TaskCreationOptions.RunContinuationsAsynchronously), _cancelled = new(TaskCreationOptions.RunContinuationsAsynchronously), _goOn = new(TaskCreationOptions.RunContinuationsAsynchronously), _half = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Half => _half.Task;

        public Task Began => _began.Task;

        public Task Cancelled => _cancelled.Task;

        public void GoOn() => _goOn.TrySetResult();

        public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            if (messages.Last().Text == "wait")
            {
                using CancellationTokenRegistration registration = cancellationToken.Register(() => _cancelled.TrySetResult());
                _began.TrySetResult();
                await Task.Delay(Timeout.InfiniteTimeSpan, cancellationToken);
            }

            if (messages.Last().Text == "slow")
            {
                yield return new ChatResponseUpdate(ChatRole.Assistant, "half");
                _half.TrySetResult();
                await _goOn.Task.WaitAsync(cancellationToken);
                yield return new ChatResponseUpdate(ChatRole.Assistant, " ");
            }

            yield return new ChatResponseUpdate(ChatRole.Assistant, "done");
        }

        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) => GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }

    /// <summary>The server at a port of this process.</summary>
    private sealed class Listening : IAsyncDisposable
    {
        private readonly Interrupts _interrupts = new();
        private Task _running = Task.CompletedTask;
        private GemmaModel? _model;

        public Uri Address { get; private set; } = null!;

        public static Task<Listening> StartAsync(params string[] args) => new Listening().RunAsync((host, _) => GemmaCli.RunAsync(["mcp", "--http", "--port", "0", .. args], host));

        public static Task<Listening> StartAsync(IChatClient client)
        {
            Listening server = new() { _model = GemmaModel.Load(Tiny) };
            return server.RunAsync((host, cancellation) => McpCommand.ServeHttpAsync([new ChatTool(client, "waiting")], server._model, new() { Port = 0 }, host, cancellation));
        }

        public Task<McpClient> ConnectAsync(string? key = null) => McpClient.CreateAsync(new HttpClientTransport(new HttpClientTransportOptions
        {
            Endpoint = new Uri(Address, "/mcp"),
            AdditionalHeaders = key is null ? null : new Dictionary<string, string> { ["Authorization"] = $"Bearer {key}" },
        }));

        public async ValueTask DisposeAsync()
        {
            _interrupts.Raise();
            await _running.WaitAsync(TimeSpan.FromMinutes(2));
            _model?.Dispose();
            _interrupts.Dispose();
        }

        private async Task<Listening> RunAsync(Func<CliInvocation, CancellationToken, Task> run)
        {
            FirstLine output = new();
            _running = run(new CliInvocation(_interrupts) { Output = output, Error = new StringWriter(), IsInteractive = false }, _interrupts.Token);
            Assert.Same(output.Line, await Task.WhenAny(output.Line, _running));
            Address = new Uri((await output.Line).Split(' ')[2].TrimEnd(':'));
            return this;
        }
    }

    private sealed class FirstLine : StringWriter
    {
        private readonly TaskCompletionSource<string> _line = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<string> Line => _line.Task;

        public override void WriteLine(string? value) => _line.TrySetResult(value ?? "");
    }

    /// <summary>The server at the other end of two pipes.</summary>
    private sealed class Piped : IAsyncDisposable
    {
        private readonly Pipe _there = new(), _back = new();
        private readonly CancellationTokenSource _stop = new();
        private Task _running = Task.CompletedTask;

        public static Piped Start(IChatClient client)
        {
            Piped server = new();
            server._running = McpCommand.ServeStreamsAsync([new ChatTool(client, "waiting")], server._there.Reader.AsStream(), server._back.Writer.AsStream(), server._stop.Token);
            return server;
        }

        public Task<McpClient> ConnectAsync() => McpClient.CreateAsync(new StreamClientTransport(_there.Writer.AsStream(), _back.Reader.AsStream()));

        public async ValueTask DisposeAsync()
        {
            _stop.Cancel();
            await _running.ContinueWith(_ => { }, TaskScheduler.Default);
            _stop.Dispose();
        }
    }
}
