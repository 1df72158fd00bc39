#pragma warning disable MEAI001, MAAI001 // reducing clients and compaction are previews
using System.ComponentModel;
using Gemma.Extensions.AI.Chat;
using Microsoft.Agents.AI;
using Microsoft.Agents.AI.Compaction;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>Counting a conversation's tokens, and keeping long ones within the context, on the model that ships.</summary>
public sealed class ChatReducerTests : IDisposable
{
    private static readonly ChatMessage s_system = new(ChatRole.System, "You answer in one sentence.");
    private static readonly AIFunction s_weather = AIFunctionFactory.Create(([Description("The name of the city.")] string city) => "sunny in " + city, "get_weather", "Gets the weather of a city.");
    private readonly GemmaModel _model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });

    public void Dispose() => _model.Dispose();

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task TheCountIsWhatTheAnswerReports(bool tools, bool schema)
    {
        ChatMessage[] messages = [s_system, .. Turn(1), new(ChatRole.User, "And <end_of_turn> tomorrow?")];
        ChatOptions options = new() { Instructions = "Be kind.", Temperature = 0, MaxOutputTokens = 4, Tools = tools ? [s_weather] : null, ResponseFormat = schema ? ChatResponseFormat.ForJsonSchema<int[]>() : null };
        ChatResponse response = await _model.AsIChatClient().GetResponseAsync(messages, options);
        Assert.Equal(response.Usage!.InputTokenCount, _model.CountTokens(messages, options));
        Assert.True(!tools || _model.CountTokens(messages, options) > _model.CountTokens(messages, new ChatOptions { Instructions = "Be kind." }));
    }

    [Fact]
    public async Task AConversationThatFitsStaysAsItIs()
    {
        ChatMessage[] messages = [s_system, .. Turn(1), new(ChatRole.User, "Hi")];
        Assert.Equal(messages, await new GemmaChatReducer(_model).ReduceAsync(messages, default));
    }

    [Fact]
    public async Task TwoHundredTurnsStayWithinTheLimitAndCallsKeepTheirResults()
    {
        GemmaChatReducer reducer = new(_model, new GemmaChatReducerOptions { ChatOptions = new ChatOptions { Tools = [s_weather] } });
        List<ChatMessage> history = [s_system];
        int most = 0;
        for (int i = 0; i < 200; i++)
        {
            history.AddRange(Turn(i));
            if (i % 4 != 0 && i < 190)
            {
                continue;
            }

            ChatMessage[] asked = [.. history, new(ChatRole.User, $"Question {i}?")];
            ChatMessage[] kept = [.. await reducer.ReduceAsync(asked, default)];
            int tokens = _model.CountTokens(kept, new ChatOptions { Tools = [s_weather] });
            most = Math.Max(most, tokens);
            Assert.True(tokens <= _model.ContextLength * 3 / 4, $"{tokens} tokens");
            Assert.Same(s_system, kept[0]);
            Assert.Equal(asked[^(kept.Length - 1)..], kept[1..]);
            Assert.Equal(ChatRole.User, kept[1].Role);
            AssertWhole(kept);
        }

        Assert.True(most > _model.ContextLength / 2, $"at most {most} tokens were used");
    }

    [Fact]
    public async Task AHistoryThatGrowsIsCutAtTheSamePlaceUntilTheLimitIsReachedAgain()
    {
        GemmaChatReducer reducer = new(_model, new GemmaChatReducerOptions { MaxTokens = 768, TargetTokens = 256 });
        List<ChatMessage> history = [s_system];
        HashSet<ChatMessage> firsts = [];
        for (int i = 0; i < 50; i++)
        {
            history.AddRange(Turn(i));
            firsts.Add((await reducer.ReduceAsync([.. history, new(ChatRole.User, "And?")], default)).ElementAt(1));
        }

        Assert.InRange(firsts.Count, 3, 50 / 4);
    }

    [Fact]
    public void ATurnReachesFromACallToItsResultWhereverThatStands()
    {
        ChatMessage[] messages =
        [
            new(ChatRole.User, "one"), new(ChatRole.Assistant, [new FunctionCallContent("a", "get_weather")]),
            new(ChatRole.User, "are you there?"), new(ChatRole.Tool, [new FunctionResultContent("a", "sunny")]),
            new(ChatRole.User, "two"), new(ChatRole.Assistant, [new FunctionCallContent("a", "get_weather")]), new(ChatRole.User, [new FunctionResultContent("a", "rain")]), new(ChatRole.Assistant, "Rain."),
            new(ChatRole.User, "three"), new(ChatRole.Assistant, [new FunctionCallContent("b", "get_weather")]),
            new(ChatRole.User, "four"),
        ];
        Assert.Equal([4, 4, 2, 1], ConversationCut.Split(messages).Select(turn => turn.Length));
    }

    [Fact]
    public async Task ASummaryOfWhatIsCutIsWrittenOnce()
    {
        GemmaChatReducer reducer = Summarizing();
        List<ChatMessage> history = [s_system, .. Enumerable.Range(0, 20).SelectMany(Turn), new(ChatRole.User, "And now?")];
        ChatMessage[] kept = [.. await reducer.ReduceAsync(history, default)];
        Assert.Same(s_system, kept[0]);
        Assert.Equal(ChatRole.User, kept[1].Role);
        Assert.StartsWith("Summary of the conversation so far: ", kept[1].Text, StringComparison.Ordinal);
        Assert.True(_model.CountTokens(kept) <= 500);

        // Nothing can be generated here: one who has not written it yet fails.
        CancellationToken cancelled = new(canceled: true);
        Assert.Equal(kept[1].Text, (await reducer.ReduceAsync(history, cancelled)).ElementAt(1).Text);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Summarizing().ReduceAsync(history, cancelled));

        // What was reduced comes back as history: the summary is cut with the turns behind it, and there is one again.
        ChatMessage[] again = [.. await reducer.ReduceAsync([.. kept, .. Enumerable.Range(20, 12).SelectMany(Turn), new(ChatRole.User, "And now?")], default)];
        Assert.Single(again, message => message.Text.StartsWith("Summary of the conversation", StringComparison.Ordinal));
        Assert.True(_model.CountTokens(again) <= 500);
        Assert.NotNull(await _model.AsIChatClient().GetResponseAsync(again, new ChatOptions { MaxOutputTokens = 2 }));
    }

    /// <summary>A message that is longer than the context cannot be summarised: the summary before it stays as it is.</summary>
    [Fact]
    public async Task WhatFitsNoPromptLeavesTheSummaryAsItIs()
    {
        GemmaChatReducer reducer = Summarizing();
        ChatMessage huge = new(ChatRole.User, string.Concat(Enumerable.Repeat("and so on ", _model.ContextLength)));
        List<ChatMessage> history = [s_system, .. Enumerable.Range(0, 8).SelectMany(Turn), huge];
        ChatMessage before = (await reducer.ReduceAsync(history, default)).ElementAt(1);
        Assert.StartsWith("Summary of the conversation so far: ", before.Text, StringComparison.Ordinal);
        ChatMessage[] kept = [.. await reducer.ReduceAsync([.. history, new(ChatRole.User, "And now?")], default)];
        Assert.Equal([s_system.Text, before.Text, "And now?"], kept.Select(message => message.Text));
    }

    [Fact]
    public async Task ClientsShortenBeforeTheyAnswer()
    {
        List<ChatMessage> history = [s_system, .. Enumerable.Range(0, 60).SelectMany(Turn), new(ChatRole.User, "Hi")];
        ChatOptions options = new() { MaxOutputTokens = 2, Tools = [s_weather] };
        Assert.True(_model.CountTokens(history) > _model.ContextLength);
        CountingClient reduced = new(_model.AsIChatClient()), own = new(_model.AsIChatClient());
        using IChatClient byReducer = reduced.AsBuilder().UseChatReducer(new GemmaChatReducer(_model, new GemmaChatReducerOptions { ChatOptions = options })).Build();
        using IChatClient byOptions = own.AsBuilder().UseGemmaChatReducer().Build();
        await byReducer.GetResponseAsync(history, options);
        await byOptions.GetStreamingResponseAsync(history, options).ToChatResponseAsync();
        Assert.Equal(reduced.Last, own.Last);
        Assert.InRange(_model.CountTokens(own.Last, options), _model.ContextLength / 3, _model.ContextLength * 3 / 4);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task AgentsGoOnForLongerThanTheContext(bool compacts)
    {
        GemmaChatReducer reducer = new(_model, new GemmaChatReducerOptions { MaxTokens = 400, TargetTokens = 250 });
        CountingClient client = new(_model.AsIChatClient());
        ChatClientAgent agent = new(client, new ChatClientAgentOptions
        {
            ChatOptions = new ChatOptions { MaxOutputTokens = 20, Temperature = 0 },
            ChatHistoryProvider = new InMemoryChatHistoryProvider(new InMemoryChatHistoryProviderOptions { ChatReducer = compacts ? null : reducer }),
            AIContextProviders = compacts ? [new CompactionProvider(new ChatReducerCompactionStrategy(reducer, CompactionTriggers.MessagesExceed(2)))] : null,
        });
        AgentSession session = await agent.CreateSessionAsync();
        int sum = 0;
        for (int i = 0; i < 12; i++)
        {
            string question = string.Join(' ', Enumerable.Repeat($"Tell me number {i} of the long list.", 6));
            sum += _model.CountTokens([new ChatMessage(ChatRole.User, question)]);
            await agent.RunAsync(question, session);
            Assert.True(_model.CountTokens(client.Last) <= 400 + _model.CountTokens([new ChatMessage(ChatRole.User, question)]), $"{_model.CountTokens(client.Last)} tokens");
        }

        Assert.True(sum > 600, $"only {sum} tokens were said");
    }

    [Fact]
    public void LimitsThatCannotHoldAreRefused()
    {
        Assert.Contains("MaxTokens is 0", Assert.Throws<ArgumentOutOfRangeException>(() => new GemmaChatReducer(_model, new GemmaChatReducerOptions { MaxTokens = 0 })).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new GemmaChatReducer(_model, new GemmaChatReducerOptions { MaxTokens = 10, TargetTokens = 11 }));
        GemmaChatReducer reducer = new(_model, new GemmaChatReducerOptions { MaxTokens = _model.ContextLength });
        Assert.Throws<ArgumentOutOfRangeException>(() => reducer.ReduceAsync([new ChatMessage(ChatRole.User, "x")], default).GetAwaiter().GetResult());
        Assert.Contains("no Gemma model", Assert.Throws<ArgumentException>(() => new GemmaChatReducer(new NoModel())).Message, StringComparison.Ordinal);
    }

    private GemmaChatReducer Summarizing() => new(_model, new GemmaChatReducerOptions { MaxTokens = 500, TargetTokens = 300, Summarize = true, MaxSummaryTokens = 40 });

    private static void AssertWhole(IEnumerable<ChatMessage> messages)
    {
        HashSet<string> calls = [];
        foreach (AIContent content in messages.SelectMany(message => message.Contents))
        {
            Assert.True(content is not FunctionResultContent result || calls.Remove(result.CallId), "a result stands without its call");
            if (content is FunctionCallContent call)
            {
                calls.Add(call.CallId);
            }
        }

        Assert.Empty(calls);
    }

    /// <summary>Four messages: a question, a call, its result and an answer.</summary>
    private static ChatMessage[] Turn(int i) =>
    [
        new(ChatRole.User, $"What is the weather in town {i}, where my {(i % 3 == 0 ? "old and very tall aunt" : "cousin")} lives?"),
        new(ChatRole.Assistant, [new FunctionCallContent($"call {i}", "get_weather", new Dictionary<string, object?> { ["city"] = $"Town {i}" })]),
        new(ChatRole.Tool, [new FunctionResultContent($"call {i}", "sunny")]),
        new(ChatRole.Assistant, $"It is sunny in town {i}."),
    ];

    /// <summary>Remembers the conversation that it was asked last.</summary>
    private sealed class CountingClient(IChatClient inner) : DelegatingChatClient(inner)
    {
        public ChatMessage[] Last { get; private set; } = [];

        public override Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
            base.GetResponseAsync(Last = [.. messages], options, cancellationToken);

        public override IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
            base.GetStreamingResponseAsync(Last = [.. messages], options, cancellationToken);
    }

    private sealed class NoModel : IChatClient
    {
        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) => throw new NotSupportedException();

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
