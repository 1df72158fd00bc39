using System.Net.ServerSentEvents;
using System.Runtime.CompilerServices;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI;
using Microsoft.AspNetCore.Http.HttpResults;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Options;

namespace WebChat;

/// <summary>Answers a conversation as server-sent events. Nothing is stored: each question brings the whole conversation, of which the engine's prefix
/// cache still has all but the last lines.</summary>
internal static class ChatEndpoint
{
    public static ModelDescription DescribeModel(IChatClient client) =>
        new(client.GetService<ChatClientMetadata>()?.DefaultModelId ?? "unknown");

    /// <summary>Waits for the first piece of the answer before it says 200, so that a full queue is an honest 503 and not a broken stream.</summary>
    public static async Task<Results<ServerSentEventsResult<ChatEvent>, ProblemHttpResult>> AnswerAsync(
        ChatQuestion question, IChatClient client, IOptions<WebChatOptions> options, ILogger<ChatQuestion> logger, HttpContext http, CancellationToken cancellation)
    {
        if (question.Problem(options.Value.MaxCharacters) is { } problem)
        {
            return TypedResults.Problem(problem, statusCode: StatusCodes.Status400BadRequest, title: "Not a conversation");
        }

        // Cancelled when the browser closes the connection, which is what its stop button does.
        var updates = client.GetStreamingResponseAsync(Messages(question, options.Value), Options(options.Value, http), cancellation).GetAsyncEnumerator(cancellation);
        http.Response.RegisterForDisposeAsync(updates);
        try
        {
            bool any = await updates.MoveNextAsync();
            return TypedResults.ServerSentEvents(Events(updates, any, logger, cancellation));
        }
        catch (Exception exception) when (exception is GemmaOverloadedException or TimeoutException)
        {
            http.Response.Headers.RetryAfter = "2";
            return TypedResults.Problem("The model has as many questions as it can take. Try again in a moment.", statusCode: 503, title: "Busy");
        }
        catch (Exception exception) when (exception is GemmaContextLengthException or GemmaKvCacheException)
        {
            return TypedResults.Problem("The conversation is too long for the model. Start a new one.", statusCode: 413, title: "Too long");
        }
    }

    private static async IAsyncEnumerable<SseItem<ChatEvent>> Events(
        IAsyncEnumerator<ChatResponseUpdate> updates, bool more, ILogger logger, [EnumeratorCancellation] CancellationToken cancellation)
    {
        ChatEvent last = new() { Finish = "stop" };
        while (more)
        {
            var update = updates.Current;
            last = last.With(update);
            if (update.Text.Length > 0)
            {
                yield return new SseItem<ChatEvent>(new ChatEvent { Text = update.Text }, "text");
            }

            try
            {
                more = await updates.MoveNextAsync();
            }
            catch (Exception exception) when (!cancellation.IsCancellationRequested)
            {
                logger.LogError(exception, "An answer broke off.");
                last = new ChatEvent { Error = exception is TimeoutException ? "The answer took too long." : "Something went wrong while the model answered." };
                more = false;
            }
        }

        yield return new SseItem<ChatEvent>(last, last.Error is null ? "done" : "error");
    }

    private static IEnumerable<ChatMessage> Messages(ChatQuestion question, WebChatOptions options) =>
    [
        .. options.SystemPrompt.Length > 0 ? [new ChatMessage(ChatRole.System, options.SystemPrompt)] : Array.Empty<ChatMessage>(),
        .. question.Messages!.Select(message => new ChatMessage(message.Role == "user" ? ChatRole.User : ChatRole.Assistant, message.Text)),
    ];

    private static ChatOptions Options(WebChatOptions options, HttpContext http)
    {
        string user = WebChatApp.UserOf(http);
        return new ChatOptions
        {
            MaxOutputTokens = options.MaxOutputTokens,
            RawRepresentationFactory = _ => new GemmaGenerationOptions { Caller = user, Timeout = options.Timeout },
        };
    }
}

/// <summary>A conversation that ends with a question of the user.</summary>
internal sealed record ChatQuestion(IReadOnlyList<ChatLine>? Messages)
{
    /// <summary>Why it cannot be answered; null where it can.</summary>
    public string? Problem(int maxCharacters) =>
        Messages is not { Count: > 0 } ? "'messages' is empty, expected at least one."
        : Messages.Any(message => message is not { Role: "user" or "assistant", Text: not null }) ? "Each message has a 'role', user or assistant, and a 'text'."
        : Messages[^1].Role != "user" ? "The last message is not the user's."
        : Messages.Sum(message => (long)message.Text!.Length) > maxCharacters ? $"The conversation has more than {maxCharacters:N0} characters."
        : null;
}

internal sealed record ChatLine(string? Role, string? Text);

internal sealed record ModelDescription(string Model);

/// <summary>What one event carries: a piece of text, or how the answer ended.</summary>
internal sealed record ChatEvent
{
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Text { get; init; }

    /// <summary>stop, or length where the answer was cut.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Finish { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public string? Error { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? InputTokens { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? CachedTokens { get; init; }

    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public long? OutputTokens { get; init; }

    public ChatEvent With(ChatResponseUpdate update)
    {
        var usage = update.Contents.OfType<UsageContent>().LastOrDefault()?.Details;
        return this with
        {
            Finish = update.FinishReason?.Value ?? Finish,
            InputTokens = usage?.InputTokenCount ?? InputTokens,
            CachedTokens = usage?.CachedInputTokenCount ?? CachedTokens,
            OutputTokens = usage?.OutputTokenCount ?? OutputTokens,
        };
    }
}
