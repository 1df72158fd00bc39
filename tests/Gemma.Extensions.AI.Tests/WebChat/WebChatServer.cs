using System.Net.ServerSentEvents;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using WebChat;

namespace Gemma.Extensions.AI.Tests.WebChat;

/// <summary>The sample on a port of its own.</summary>
internal sealed class WebChatServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private WebChatServer(WebApplication app)
    {
        _app = app;
        Http = new HttpClient { BaseAddress = new Uri(app.Urls.Single()), Timeout = TimeSpan.FromMinutes(2) };
    }

    public HttpClient Http { get; }

    public Uri Address => Http.BaseAddress!;

    public GemmaModel Model => _app.Services.GetRequiredService<IChatClient>().GetService<GemmaModel>()!;

    /// <param name="wrap">Replaces the client of the model.</param>
    /// <param name="settings">Settings as on the command line.</param>
    public static async Task<WebChatServer> StartAsync(Func<IChatClient, IChatClient>? wrap = null, params string[] settings)
    {
        string[] args = ["--urls=http://127.0.0.1:0", "--Logging:LogLevel:Default=None", .. settings];
        WebApplication app = WebChatApp.Build(args, services =>
        {
            if (wrap is not null)
            {
                ServiceDescriptor client = services.Last(service => service.ServiceType == typeof(IChatClient));
                services.AddSingleton(provider => wrap((IChatClient)client.ImplementationFactory!(provider)));
            }
        });
        await app.StartAsync();
        return new WebChatServer(app);
    }

    public static StringContent Question(params string[] texts) => new(JsonSerializer.Serialize(new
    {
        messages = texts.Select((text, i) => new { role = i % 2 == 0 ? "user" : "assistant", content = text }),
        stream = true,
        stream_options = new { include_usage = true },
    }), Encoding.UTF8, "application/json");

    /// <summary>Asks and returns once the answer has begun.</summary>
    public Task<HttpResponseMessage> AskAsync(StringContent question, CancellationToken cancellation = default) =>
        Http.SendAsync(new HttpRequestMessage(HttpMethod.Post, "v1/chat/completions") { Content = question }, HttpCompletionOption.ResponseHeadersRead, cancellation);

    /// <summary>The text of an answer and the numbers at its end.</summary>
    public static async Task<(string Text, JsonElement Usage)> ReadAsync(HttpResponseMessage response)
    {
        string text = "";
        JsonElement usage = default;
        await foreach (SseItem<string> item in SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            if (item.Data == "[DONE]")
            {
                break;
            }

            JsonElement chunk = JsonElement.Parse(item.Data);
            usage = chunk.TryGetProperty("usage", out JsonElement found) ? found : usage;
            text += chunk.GetProperty("choices") is { } choices && choices.GetArrayLength() > 0 && choices[0].GetProperty("delta").TryGetProperty("content", out JsonElement piece) ? piece.GetString() : "";
        }

        return (text, usage);
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.DisposeAsync();
    }
}

/// <summary>Says what it is told to, piece by piece. A piece that is a task is waited for and then said.</summary>
internal sealed class ScriptedClient(Func<IReadOnlyList<ChatMessage>, IEnumerable<object>> answer) : IChatClient
{
    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        foreach (object piece in answer([.. messages]))
        {
            string text = piece switch
            {
                Task<string> later => await later.WaitAsync(cancellationToken),
                Exception exception => throw exception,
                _ => (string)piece,
            };
            yield return new ChatResponseUpdate(ChatRole.Assistant, text);
        }

        yield return new ChatResponseUpdate(ChatRole.Assistant, [new UsageContent(new UsageDetails { InputTokenCount = 7, OutputTokenCount = 3, CachedInputTokenCount = 5 })]) { FinishReason = ChatFinishReason.Stop };
    }

    public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

    public object? GetService(Type serviceType, object? serviceKey = null) => null;

    public void Dispose()
    {
    }
}

/// <summary>Has the model write letters, and asks again when the context is full: its answers end by being cancelled, however slow the test is. Tells how the first one ended.</summary>
internal sealed class EndlessClient(IChatClient inner) : DelegatingChatClient(inner)
{
    private readonly TaskCompletionSource<Exception> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<Exception> Ended => _ended.Task.WaitAsync(TimeSpan.FromMinutes(1));

    public override async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        options = options?.Clone() ?? new ChatOptions();
        options.RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = "[a-z ]{4000}", TopK = 0, Temperature = 1 };
        try
        {
            while (true)
            {
                await using IAsyncEnumerator<ChatResponseUpdate> updates = base.GetStreamingResponseAsync(messages, options, cancellationToken).GetAsyncEnumerator(cancellationToken);
                bool more = true;
                while (more)
                {
                    try
                    {
                        more = await updates.MoveNextAsync();
                    }
                    catch (Exception exception)
                    {
                        _ended.TrySetResult(exception);
                        throw;
                    }

                    if (more)
                    {
                        yield return updates.Current;
                    }
                }
            }
        }
        finally
        {
            _ended.TrySetResult(new OperationCanceledException("The reader left while it had a piece.")); // is cancelled there as well as in waiting for the next
        }
    }
}
