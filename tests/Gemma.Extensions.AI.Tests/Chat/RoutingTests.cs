#pragma warning disable MEAI001 // failover and routing are previews of Microsoft.Extensions.AI 10.11
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>The client beside clients of hosted services: behind failover and routing, with their tools and contents, and with the telemetry of all clients.</summary>
public sealed class RoutingTests
{
    private static readonly ChatMessage[] s_history =
    [
        new(ChatRole.User, "What do chairs cost?"),
        new(ChatRole.Assistant,
        [
            new TextReasoningContent("I search."), new WebSearchToolCallContent("1") { Queries = ["chairs"] },
            new WebSearchToolResultContent("1") { Outputs = [new UriContent("https://example.com", "text/html")] },
            new McpServerToolCallContent("2", "price", "shop"), new McpServerToolResultContent("2") { Outputs = [new TextContent("10"), new DataContent(new byte[3], "image/png")] },
            new AIContent { RawRepresentation = new object() }, new HostedFileContent("f"),
            new TextContent("10 dollars.") { Annotations = [new CitationAnnotation { Url = new Uri("https://example.com") }] },
        ]),
        new(ChatRole.User, "And tables?"),
    ];

    public static TheoryData<AITool> Hosted => new()
    {
        new HostedWebSearchTool(), new HostedCodeInterpreterTool(), new HostedFileSearchTool(), new HostedMcpServerTool("shop", new Uri("https://example.com")),
        new HostedToolSearchTool(), new HostedImageGenerationTool(),
    };

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AsTheSecondClientOfAFailoverItContinuesWhatTheFirstBegan(bool streaming)
    {
        using IChatClient gemma = TinyModel.Client();
        HostedClient hosted = new() { Fails = true };
        using OrderedFailoverChatClient both = new([hosted, gemma], leaveOpen: true);
        ChatOptions options = Options();
        Assert.Equal(await Ask(gemma, streaming, options), await Ask(both, streaming, options));
        Assert.Equal(1, hosted.Calls);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task AsTheFirstClientItsRefusalsReachTheSecond(bool streaming)
    {
        using IChatClient gemma = TinyModel.Client();
        HostedClient hosted = new();
        using OrderedFailoverChatClient both = new([gemma, hosted], leaveOpen: true);
        Assert.NotEqual("hosted", await Ask(both, streaming, Options()));
        Assert.Equal(0, hosted.Calls);

        // What this client refuses, the other may do.
        ChatMessage[] image = [new(ChatRole.User, [new DataContent(new byte[3], "image/png")])];
        Assert.Equal("hosted", await Ask(both, streaming, Options(), image));
        ChatOptions search = Options();
        search.ToolMode = ChatToolMode.RequireSpecific("web_search");
        Assert.Equal("hosted", await Ask(both, streaming, search));
        Assert.Equal("hosted", await Ask(both, streaming, Options(), [new(ChatRole.User, string.Concat(Enumerable.Repeat("long ", 20_000)))]));
        Assert.Equal(3, hosted.Calls);
    }

    [Fact]
    public async Task ARouterSendsTurnsHereAndThere()
    {
        using IChatClient gemma = TinyModel.Client();
        HostedClient hosted = new();
        using RoundRobin router = new(gemma, hosted);
        List<ChatMessage> history = [.. s_history];
        List<string> answers = [];
        for (int turn = 0; turn < 4; turn++)
        {
            ChatResponse response = await router.GetResponseAsync(history, Options());
            answers.Add(response.Text);
            history.AddRange(response.Messages);
            history.Add(new ChatMessage(ChatRole.User, "Go on."));
        }

        Assert.Equal(["hosted", "hosted"], [answers[1], answers[3]]);
        Assert.All([answers[0], answers[2]], answer => Assert.NotEqual("hosted", answer));
    }

    [Theory]
    [MemberData(nameof(Hosted), DisableDiscoveryEnumeration = true)]
    public async Task AToolOfAHostedServiceIsLeftOutAndLoggedOnce(AITool hosted)
    {
        ListLogger log = new();
        ServiceCollection services = new();
        services.AddLogging(logging => logging.AddProvider(log));
        services.AddGemmaChatClient(TinyModel.Path);
        await using ServiceProvider provider = services.BuildServiceProvider();
        IChatClient client = provider.GetRequiredService<IChatClient>();
        ChatOptions plain = TinyModel.Greedy();
        string expected = (await client.GetResponseAsync("Hi", plain)).Text;
        ChatOptions options = TinyModel.Greedy();
        options.Tools = [hosted];
        Assert.Equal(expected, (await client.GetResponseAsync("Hi", options)).Text);
        Assert.Equal(expected, (await client.GetResponseAsync("Hi", options)).Text);
        string line = Assert.Single(log.Lines, line => line.Contains("not offered to the model", StringComparison.Ordinal));
        Assert.Contains(hosted.GetType().Name, line, StringComparison.Ordinal);

        foreach (ChatToolMode demanded in new[] { ChatToolMode.RequireAny, ChatToolMode.RequireSpecific(hosted.Name) })
        {
            options.ToolMode = demanded;
            Assert.Contains(hosted.GetType().Name, (await Assert.ThrowsAsync<NotSupportedException>(() => client.GetResponseAsync("Hi", options))).Message, StringComparison.Ordinal);
        }

        options.ToolMode = ChatToolMode.None;
        Assert.NotEmpty((await client.GetResponseAsync("Hi", options)).Messages);
    }

    [Fact]
    public async Task FunctionsBesideAHostedToolAreCalled()
    {
        using IChatClient client = TinyModel.Client();
        ChatOptions options = TinyModel.Greedy(100);
        options.Tools = [new HostedWebSearchTool(), AIFunctionFactory.Create((bool on) => on, "switch_light")];
        options.ToolMode = ChatToolMode.RequireAny;
        options.AllowMultipleToolCalls = false;
        ChatResponse response = await client.GetResponseAsync("x", options);
        Assert.All(response.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>(), call => Assert.Equal("switch_light", call.Name));
        Assert.Equal(ChatFinishReason.ToolCalls, response.FinishReason);
    }

    [Fact]
    public async Task AToolThatIsNullIsNamed()
    {
        using IChatClient client = TinyModel.Client();
        Assert.Contains("holds null", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("x", new ChatOptions { Tools = [null!] }))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheLoggerFactoryIsThatOfTheServices()
    {
        ServiceCollection services = new();
        services.AddLogging();
        services.AddGemmaChatClient(TinyModel.Path);
        services.AddGemmaEmbeddingGenerator(TinyModel.Path);
        await using ServiceProvider provider = services.BuildServiceProvider();
        ILoggerFactory factory = provider.GetRequiredService<ILoggerFactory>();
        Assert.Same(factory, provider.GetRequiredService<IChatClient>().GetService<ILoggerFactory>());
        Assert.Same(factory, provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GetService<ILoggerFactory>());
        using IChatClient alone = TinyModel.Client();
        Assert.Same(NullLoggerFactory.Instance, alone.GetService<ILoggerFactory>());
    }

    /// <summary>With the telemetry that every chat client has, a request is counted once.</summary>
    [Fact]
    public async Task MetricsOfAClientAreToldOnce()
    {
        string source = Guid.NewGuid().ToString();
        ConcurrentDictionary<string, int> counts = new();
        using MeterListener listener = new()
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == source || (instrument.Meter.Name == GemmaDiagnostics.Name && instrument.Name.StartsWith("gen_ai.client.", StringComparison.Ordinal)))
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<int>((instrument, _, _, _) => counts.AddOrUpdate(instrument.Name, 1, (_, old) => old + 1));
        listener.SetMeasurementEventCallback<long>((instrument, _, _, _) => counts.AddOrUpdate(instrument.Name, 1, (_, old) => old + 1));
        listener.SetMeasurementEventCallback<double>((instrument, _, _, _) => counts.AddOrUpdate(instrument.Name, 1, (_, old) => old + 1));
        listener.Start();
        using IChatClient client = TinyModel.Client().AsBuilder().UseOpenTelemetry(sourceName: source).Build();
        await client.GetResponseAsync("Hi", TinyModel.Greedy());
        Assert.Equal(1, counts["gen_ai.client.operation.duration"]);
        Assert.Equal(2, counts["gen_ai.client.token.usage"]); // input and output
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task SpansSayWhetherTheAnswerStreamedAndWhatWasCached(bool streaming)
    {
        using ActivitySource own = new("test-" + Guid.NewGuid());
        ConcurrentQueue<Activity> ended = new();
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name == GemmaDiagnostics.Name || source == own,
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = ended.Enqueue,
        };
        ActivitySource.AddActivityListener(listener);
        using IChatClient client = TinyModel.Client();
        ChatMessage[] question = [new(ChatRole.User, "A question of a few words that is asked twice, " + streaming)];
        await Ask(client, streaming, TinyModel.Greedy(), question);
        ActivityTraceId trace;
        using (Activity caller = own.StartActivity("caller")!)
        {
            trace = caller.TraceId;
            await Ask(client, streaming, TinyModel.Greedy(), question);
        }

        Activity span = Assert.Single(ended, activity => activity.TraceId == trace && activity.Source.Name == GemmaDiagnostics.Name);
        Assert.Equal(streaming, span.GetTagItem("gen_ai.request.stream"));
        Assert.InRange((int)span.GetTagItem("gen_ai.usage.cache_read.input_tokens")!, 1, (int)span.GetTagItem("gen_ai.usage.input_tokens")! - 1);
        Assert.Equal(streaming, span.GetTagItem("gen_ai.response.time_to_first_chunk") is double seconds && seconds > 0 && seconds <= span.Duration.TotalSeconds + 1);
    }

    private static ChatOptions Options()
    {
        ChatOptions options = TinyModel.Greedy();
        options.Tools = [new HostedWebSearchTool(), new HostedMcpServerTool("shop", new Uri("https://example.com"))];
        options.RawRepresentationFactory = _ => "options of another service";
        return options;
    }

    private static async Task<string> Ask(IChatClient client, bool streaming, ChatOptions options, ChatMessage[]? messages = null) =>
        streaming
            ? (await client.GetStreamingResponseAsync(messages ?? s_history, options).ToChatResponseAsync()).Text
            : (await client.GetResponseAsync(messages ?? s_history, options)).Text;

    /// <summary>A client of a service, with contents that only a service makes.</summary>
    private sealed class HostedClient : IChatClient
    {
        public bool Fails { get; init; }

        public int Calls { get; private set; }

        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
            GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

        public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
            IEnumerable<ChatMessage> messages, ChatOptions? options = null, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
        {
            Calls++;
            await Task.Yield();
            if (Fails)
            {
                throw new HttpRequestException("503");
            }

            yield return new ChatResponseUpdate(ChatRole.Assistant,
            [
                new WebSearchToolCallContent("s" + Calls) { Queries = ["x"] }, new WebSearchToolResultContent("s" + Calls) { Outputs = [new UriContent("https://example.com", "text/html")] },
                new ToolApprovalRequestContent("a" + Calls, new McpServerToolCallContent("m" + Calls, "buy", "shop")), new TextContent("hosted"),
            ]);
        }

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }

    private sealed class RoundRobin(params IChatClient[] clients) : RoutingChatClient
    {
        private int _next;

        protected override ValueTask<IChatClient> SelectClientAsync(RoutingContext context, CancellationToken cancellationToken) => new(clients[_next++ % clients.Length]);
    }

    private sealed class ListLogger : ILoggerProvider, ILogger
    {
        public ConcurrentQueue<string> Lines { get; } = new();

        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Lines.Enqueue(formatter(state, exception));

        public void Dispose()
        {
        }
    }
}
