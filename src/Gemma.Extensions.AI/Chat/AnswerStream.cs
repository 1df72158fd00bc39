using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>The one path to an answer, of a conversation and of a raw prompt; an answer that is not streamed is this one, drained.</summary>
internal static class AnswerStream
{
    /// <summary>Key of the last update's additional properties under which the stop sequence stands that ended the answer.</summary>
    internal const string StopSequenceKey = "stop_sequence";

    public static async IAsyncEnumerable<ChatResponseUpdate> RunAsync(GemmaModel model, ChatTurn turn, bool isStreaming, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        UpdateFactory updates = new(model.ModelId);
        using CancellationTokenSource abandoned = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        AnswerSink answer = new(model.Tokenizer, turn.Settings.StopSequences, turn.MayCall, turn.TextIsFree, markup: turn.Conversation?.Format.Tools);
        List<AIContent> said = [];
        model.Engine.Submit(turn.ToRequest(answer, isStreaming, abandoned.Token));
        try
        {
            await foreach (AnswerPart part in answer.Parts.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                said.Add(part.Content);
                yield return updates.Create(part);
            }

            GenerationResult result = await answer.Completion.ConfigureAwait(false);
            ThrowIfIncomplete(result, cancellationToken);
            if (turn.Conversation is { } conversation && answer.Tokens is { } tokens && model.Replies is { } replies)
            {
                ChatTemplate.Remember(replies, conversation, said, tokens);
            }

            yield return updates.CreateLast(result, answer, turn.Conversation?.Format.EndMarker);
        }
        finally
        {
            // Also reached when the reader breaks out of the stream: end the request and wait until the engine has let go of it.
            abandoned.Cancel();
            await answer.Completion.ConfigureAwait(false);
        }
    }

    private static void ThrowIfIncomplete(GenerationResult result, CancellationToken cancellationToken)
    {
        if (result.Finish == EngineFinish.Failed)
        {
            ExceptionDispatchInfo.Throw(result.Error!); // with the place where it was thrown
        }

        if (result.Finish == EngineFinish.Cancelled)
        {
            cancellationToken.ThrowIfCancellationRequested();
            throw new OperationCanceledException("The model was disposed while it answered.");
        }
    }

    /// <summary>Gives every update of one answer the same identity.</summary>
    private readonly struct UpdateFactory(string modelId)
    {
        private readonly string _responseId = $"gemma-{Guid.NewGuid():N}";
        private readonly string _messageId = $"msg-{Guid.NewGuid():N}";
        private readonly DateTimeOffset _createdAt = DateTimeOffset.UtcNow;

        public ChatResponseUpdate Create(AnswerPart part) => new(ChatRole.Assistant, [part.Content])
        {
            ResponseId = _responseId,
            MessageId = _messageId,
            ModelId = modelId,
            CreatedAt = _createdAt,
            RawRepresentation = part.LogProbabilities,
        };

        public ChatResponseUpdate CreateLast(GenerationResult result, AnswerSink answer, string? endMarker)
        {
            UsageContent usage = new(new UsageDetails
            {
                InputTokenCount = result.PromptTokens,
                OutputTokenCount = result.GeneratedTokens,
                TotalTokenCount = result.PromptTokens + result.GeneratedTokens,
                CachedInputTokenCount = result.CachedTokens,
            });
            ChatResponseUpdate update = Create(new AnswerPart(usage, answer.RemainingLogProbabilities()));
            update.FinishReason = result.Finish == EngineFinish.Length ? ChatFinishReason.Length : answer.HasCalls ? ChatFinishReason.ToolCalls : ChatFinishReason.Stop;
            if (answer.LogProbabilities is { } all)
            {
                update.AdditionalProperties = new() { [GemmaLogProbabilitiesExtensions.Key] = all };
            }

            if (answer.StopSequence is { } stop && stop != endMarker) // the end of a turn is no stop sequence of the caller's
            {
                (update.AdditionalProperties ??= [])[StopSequenceKey] = stop;
            }

            return update;
        }
    }
}
