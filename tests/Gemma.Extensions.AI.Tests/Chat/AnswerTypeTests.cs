using System.Text.Json;
using Microsoft.Agents.AI;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Chat;

/// <summary>An answer that is asked for as a .NET type can be read as it, however it is asked for.</summary>
public sealed class AnswerTypeTests
{
    private static readonly JsonSerializerOptions s_snakeCase = new(AIJsonUtilities.DefaultOptions) { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    /// <summary>Every way of writing the call but those with <c>useJsonSchemaResponseFormat</c>: which of the methods it means is the compiler's choice.</summary>
    private static readonly (string Call, Func<IChatClient, ChatOptions?, Task> Ask, bool PassesOptions, JsonSerializerOptions Serializer)[] s_calls =
    [
        .. Calls<string>("text", "Hello", (client, message) => client.GetResponseAsync<Order>(message), (client, message, options) => client.GetResponseAsync<Order>(message, options),
            (client, message, cancel) => client.GetResponseAsync<Order>(message, cancellationToken: cancel), (client, message, options, cancel) => client.GetResponseAsync<Order>(message, options: options, cancellationToken: cancel),
            (client, message) => client.GetResponseAsync<Order>(message, s_snakeCase), (client, message, options) => client.GetResponseAsync<Order>(message, s_snakeCase, options: options),
            (client, message, cancel) => client.GetResponseAsync<Order>(message, cancellationToken: cancel, serializerOptions: s_snakeCase), (client, message, options, cancel) => client.GetResponseAsync<Order>(message, s_snakeCase, options, cancellationToken: cancel)),
        .. Calls<ChatMessage>("message", new ChatMessage(ChatRole.User, "Hello"), (client, message) => client.GetResponseAsync<Order>(message), (client, message, options) => client.GetResponseAsync<Order>(message, options),
            (client, message, cancel) => client.GetResponseAsync<Order>(message, cancellationToken: cancel), (client, message, options, cancel) => client.GetResponseAsync<Order>(message, options: options, cancellationToken: cancel),
            (client, message) => client.GetResponseAsync<Order>(message, s_snakeCase), (client, message, options) => client.GetResponseAsync<Order>(message, s_snakeCase, options: options),
            (client, message, cancel) => client.GetResponseAsync<Order>(message, s_snakeCase, cancellationToken: cancel), (client, message, options, cancel) => client.GetResponseAsync<Order>(message, s_snakeCase, options, cancellationToken: cancel)),
        .. Calls<List<ChatMessage>>("messages", [new ChatMessage(ChatRole.User, "Hello")], (client, message) => client.GetResponseAsync<Order>([.. message]), (client, message, options) => client.GetResponseAsync<Order>(message, options),
            (client, message, cancel) => client.GetResponseAsync<Order>(message, cancellationToken: cancel), (client, message, options, cancel) => client.GetResponseAsync<Order>(message, options: options, cancellationToken: cancel),
            (client, message) => client.GetResponseAsync<Order>(message, s_snakeCase), (client, message, options) => client.GetResponseAsync<Order>(message, s_snakeCase, options: options),
            (client, message, cancel) => client.GetResponseAsync<Order>(message, s_snakeCase, cancellationToken: cancel), (client, message, options, cancel) => client.GetResponseAsync<Order>(message, s_snakeCase, options, cancellationToken: cancel)),
    ];

    public static TheoryData<string> Names => [.. s_calls.Select(static call => call.Call)];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task HoweverItIsAskedForTheTypeArrives(string name)
    {
        (_, Func<IChatClient, ChatOptions?, Task> ask, bool passesOptions, JsonSerializerOptions serializer) = s_calls.Single(call => call.Call == name);
        GemmaGenerationOptions own = new() { Caller = "me" };
        ChatOptions options = new() { Seed = 5, RawRepresentationFactory = _ => own };
        Listener listener = new("{\"access\":\"Read\",\"total\":1}");
        await ask(new ChatClientBuilder(listener).UseFunctionInvocation().Build(), options);
        GemmaGenerationOptions raw = Assert.IsType<GemmaGenerationOptions>(listener.Options!.RawRepresentationFactory!(listener));
        Assert.Equal((typeof(Order), serializer), (raw.ResponseTypeInfo!.Type, raw.ResponseTypeInfo.Options));
        Assert.Equal(passesOptions ? (5, "me") : (null, null), (listener.Options.Seed, raw.Caller));
        Assert.Null(own.ResponseTypeInfo);
        Assert.IsType<ChatResponseFormatJson>(listener.Options.ResponseFormat);
        Assert.Null(options.ResponseFormat);
        Assert.True(listener.Cancellation.CanBeCanceled == name.Contains("cancel", StringComparison.Ordinal));
    }

    [Fact]
    public async Task WhatOtherClientsAreToldStays()
    {
        Listener listener = new("{\"access\":\"Read\",\"total\":1}");
        object foreign = new();
        ChatResponse<Order> answer = await listener.GetResponseAsync<Order>("Hello", new ChatOptions { RawRepresentationFactory = _ => foreign });
        Assert.Same(foreign, listener.Options!.RawRepresentationFactory!(listener));
        Assert.Equal(new Order(Access.Read, 1), answer.Result);
        GemmaGenerationOptions told = new() { ResponseTypeInfo = s_snakeCase.GetTypeInfo(typeof(Access)) };
        await listener.GetResponseAsync<Order>("Hello", new ChatOptions { RawRepresentationFactory = _ => told });
        Assert.Same(told, listener.Options.RawRepresentationFactory!(listener));
        await Assert.ThrowsAsync<ArgumentNullException>(() => listener.GetResponseAsync<Order>("Hello", (JsonSerializerOptions)null!));
        await Assert.ThrowsAsync<ArgumentNullException>(() => listener.GetResponseAsync<Order>((ChatMessage)null!));
        await Assert.ThrowsAsync<ArgumentNullException>(() => listener.GetResponseAsync<Order>((List<ChatMessage>)null!));
        await Assert.ThrowsAsync<ArgumentNullException>(() => ((IChatClient)null!).GetResponseAsync<Order>("Hello"));
    }

    [Fact]
    public async Task AModelOfRandomWeightsAnswersWhatIsRead()
    {
        using IChatClient client = new ChatClientBuilder(TinyModel.Client()).UseFunctionInvocation().UseLogging(Microsoft.Extensions.Logging.Abstractions.NullLoggerFactory.Instance).Build();
        int read = 0;
        for (int seed = 0; seed < 12; seed++)
        {
            ChatResponse<Order> answer = await client.GetResponseAsync<Order>("Hello", Wild(seed));
            ChatResponse<Dictionary<DayOfWeek, byte>> hours = await client.GetResponseAsync<Dictionary<DayOfWeek, byte>>("Hello", Wild(seed));
            read += (answer.FinishReason == ChatFinishReason.Stop && answer.Result.Total != int.MaxValue ? 1 : 0) + (hours.FinishReason == ChatFinishReason.Stop && hours.Result.Count < 8 ? 1 : 0);
        }

        Assert.True(read > 6, $"Only {read} came to their end.");
    }

    [Fact]
    public async Task AgentsAndStreamsAreToldTheTypeByTheOptions()
    {
        ChatClientAgent agent = new(TinyModel.Client(), new ChatClientAgentOptions { ChatOptions = new ChatOptions { Instructions = "Answer." } });
        int read = 0;
        for (int seed = 0; seed < 12; seed++)
        {
            AgentResponse<Order> order = await agent.RunAsync<Order>("Hello", options: new ChatClientAgentRunOptions(Wild(seed).WithResponseType<Order>()));
            AgentResponse<Access[]> list = await agent.RunAsync<Access[]>("Hello", options: new ChatClientAgentRunOptions(Wild(seed).WithResponseType<Access[]>()));
            ChatResponse streamed = await TinyModel.Client().GetStreamingResponseAsync("Hello", Wild(seed).WithResponseType<Order>()).ToChatResponseAsync();
            read += (order.FinishReason == ChatFinishReason.Stop && order.Result is not null ? 1 : 0) + (list.FinishReason == ChatFinishReason.Stop && list.Result is not null ? 1 : 0)
                + (streamed.FinishReason == ChatFinishReason.Stop && JsonSerializer.Deserialize<Order>(streamed.Text, AIJsonUtilities.DefaultOptions) is not null ? 1 : 0);
        }

        Assert.True(read > 9, $"Only {read} came to their end.");
        ChatOptions options = new() { ResponseFormat = ChatResponseFormat.Json };
        Assert.Same(ChatResponseFormat.Json, options.WithResponseType<Order>().ResponseFormat);
        Assert.Null(options.RawRepresentationFactory);
    }

    [Fact]
    public async Task TypesThatCannotBeReadAreRefusedBeforeAnythingIsGenerated()
    {
        NotSupportedException e = await Assert.ThrowsAsync<NotSupportedException>(() => TinyModel.Client().GetResponseAsync<List<(int, string)>>("Hello"));
        Assert.Contains("/properties/data/items", e.Message, StringComparison.Ordinal);
    }

    private static ChatOptions Wild(int seed) => new() { Temperature = 2, TopP = 1, TopK = 0, Seed = seed, MaxOutputTokens = 120 };

    private static IEnumerable<(string Call, Func<IChatClient, ChatOptions?, Task> Ask, bool PassesOptions, JsonSerializerOptions Serializer)> Calls<TMessage>(
        string name, TMessage message, Func<IChatClient, TMessage, Task> plain, Func<IChatClient, TMessage, ChatOptions?, Task> options, Func<IChatClient, TMessage, CancellationToken, Task> cancel,
        Func<IChatClient, TMessage, ChatOptions?, CancellationToken, Task> both, Func<IChatClient, TMessage, Task> serializer, Func<IChatClient, TMessage, ChatOptions?, Task> serializerOptions,
        Func<IChatClient, TMessage, CancellationToken, Task> serializerCancel, Func<IChatClient, TMessage, ChatOptions?, CancellationToken, Task> serializerBoth)
    {
        CancellationToken token = new CancellationTokenSource().Token;
        yield return (name, (client, _) => plain(client, message), false, AIJsonUtilities.DefaultOptions);
        yield return (name + ", options", (client, given) => options(client, message, given), true, AIJsonUtilities.DefaultOptions);
        yield return (name + ", cancellation", (client, _) => cancel(client, message, token), false, AIJsonUtilities.DefaultOptions);
        yield return (name + ", options, cancellation", (client, given) => both(client, message, given, token), true, AIJsonUtilities.DefaultOptions);
        yield return (name + ", serializer", (client, _) => serializer(client, message), false, s_snakeCase);
        yield return (name + ", serializer, options", (client, given) => serializerOptions(client, message, given), true, s_snakeCase);
        yield return (name + ", serializer, cancellation", (client, _) => serializerCancel(client, message, token), false, s_snakeCase);
        yield return (name + ", serializer, options, cancellation", (client, given) => serializerBoth(client, message, given, token), true, s_snakeCase);
    }

    internal sealed record Order(Access Access, int Total);

    [Flags]
    internal enum Access
    {
        None = 0,
        Read = 1,
        Write = 2,
    }

    /// <summary>Remembers how it was asked.</summary>
    private sealed class Listener(string answer) : IChatClient
    {
        public ChatOptions? Options { get; private set; }

        public CancellationToken Cancellation { get; private set; }

        public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default)
        {
            (Options, Cancellation) = (options, cancellationToken);
            Assert.NotEmpty(messages);
            return Task.FromResult(new ChatResponse(new ChatMessage(ChatRole.Assistant, answer)));
        }

        public IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
            throw new NotSupportedException();

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
