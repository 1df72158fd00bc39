using System.Runtime.CompilerServices;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>
/// A chat client of another kind that says what a script gives it, piece by piece: a text, a content, a finish reason, an exception to throw, or a task to wait for, whose result is said
/// then. It keeps what it was asked.
/// </summary>
internal sealed class ScriptedChatClient(Func<IReadOnlyList<ChatMessage>, ChatOptions, IEnumerable<object>> script, string? name = "scripted") : IChatClient
{
    public ScriptedChatClient(Func<IReadOnlyList<ChatMessage>, IEnumerable<object>> script, string? name = "scripted") : this((conversation, _) => script(conversation), name)
    {
    }

    public List<(IReadOnlyList<ChatMessage> Messages, ChatOptions Options)> Calls { get; } = [];

    /// <summary>Ends when an answer was ended by its reader.</summary>
    public TaskCompletionSource Cancelled { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public async IAsyncEnumerable<ChatResponseUpdate> GetStreamingResponseAsync(
        IEnumerable<ChatMessage> messages, ChatOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        IReadOnlyList<ChatMessage> conversation = [.. messages];
        lock (Calls)
        {
            Calls.Add((conversation, options ?? new()));
        }

        using CancelledSignal signal = new(this, cancellationToken);
        ChatFinishReason? finish = null;
        bool saidUsage = false;
        foreach (object piece in script(conversation, options ?? new()))
        {
            object said = piece is Task<object> later ? await later.WaitAsync(cancellationToken) : piece;
            cancellationToken.ThrowIfCancellationRequested();
            switch (said)
            {
                case Exception exception:
                    throw exception;
                case ChatFinishReason reason:
                    finish = reason;
                    break;
                case ChatResponseUpdate update:
                    yield return update;
                    break;
                case AIContent content:
                    saidUsage |= content is UsageContent;
                    yield return new ChatResponseUpdate(ChatRole.Assistant, [content]);
                    break;
                default:
                    yield return new ChatResponseUpdate(ChatRole.Assistant, (string)said);
                    break;
            }
        }

        UsageContent usage = new(new UsageDetails { InputTokenCount = 7, OutputTokenCount = 3, TotalTokenCount = 10, CachedInputTokenCount = 5 });
        yield return new ChatResponseUpdate(ChatRole.Assistant, saidUsage ? [] : [usage]) { FinishReason = finish };
    }

    public Task<ChatResponse> GetResponseAsync(IEnumerable<ChatMessage> messages, ChatOptions? options = null, CancellationToken cancellationToken = default) =>
        GetStreamingResponseAsync(messages, options, cancellationToken).ToChatResponseAsync(cancellationToken);

    public object? GetService(Type serviceType, object? serviceKey = null) =>
        serviceKey is null && serviceType == typeof(ChatClientMetadata) ? new ChatClientMetadata("test", defaultModelId: name) : null;

    public void Dispose()
    {
    }

    private sealed class CancelledSignal(ScriptedChatClient client, CancellationToken cancellation) : IDisposable
    {
        public void Dispose()
        {
            if (cancellation.IsCancellationRequested)
            {
                client.Cancelled.TrySetResult();
            }
        }
    }
}
