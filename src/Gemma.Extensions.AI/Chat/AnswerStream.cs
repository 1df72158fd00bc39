using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Chat;

/// <summary>The one path to an answer, of a conversation and of a raw prompt; an answer that is not streamed is this one, drained.</summary>
internal static class AnswerStream
{
    /// <summary>Key of the stop sequence that ended the answer, in the last update's additional properties.</summary>
    internal const string StopSequenceKey = "stop_sequence";

    public static async IAsyncEnumerable<ChatResponseUpdate> RunAsync(GemmaModel model, ChatTurn turn, bool isStreaming, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        UpdateFactory updates = new(model.ModelId);
        await foreach (AnswerPart part in PartsAsync(model, turn, isStreaming, keepsTokens: false, cancellationToken).ConfigureAwait(false))
        {
            yield return updates.Create(part);
        }
    }

    /// <summary>The pieces of an answer as they come, from where <see cref="ChatTurn.Known"/> ends. The last one says how it ended.</summary>
    public static async IAsyncEnumerable<AnswerPart> PartsAsync(GemmaModel model, ChatTurn turn, bool isStreaming, bool keepsTokens, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using CancellationTokenSource abandoned = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        AnswerSink answer = new(model.Tokenizer, turn.Settings.StopSequences, turn.MayCall, turn.TextIsFree, turn.Conversation?.Format.Tools, keepsTokens);
        List<AIContent> said = [];
        Resume(turn, answer);
        model.Engine.Submit(turn.ToRequest(answer, isStreaming, abandoned.Token));
        try
        {
            await foreach (AnswerPart part in answer.Parts.ReadAllAsync(cancellationToken).ConfigureAwait(false))
            {
                said.Add(part.Content);
                if (!part.IsKnown)
                {
                    yield return part;
                }
            }

            GenerationResult result = await answer.Completion.ConfigureAwait(false);
            ThrowIfIncomplete(result, cancellationToken);
            if (turn.Conversation is { } conversation && answer.Tokens is { } tokens && model.Replies is { } replies)
            {
                ChatTemplate.Remember(replies, conversation, said, tokens);
            }

            yield return Last(result, answer, turn.Conversation?.Format.EndMarker);
        }
        finally
        {
            // Also reached when the reader breaks out of the stream: end the request and wait until the engine has let go of it.
            abandoned.Cancel();
            await answer.Completion.ConfigureAwait(false);
        }
    }

    /// <summary>Has sink and constraint take over what the reader has of the answer.</summary>
    private static void Resume(ChatTurn turn, AnswerSink answer)
    {
        if (turn.Known is not { } known)
        {
            return;
        }

        try
        {
            Array.ForEach(known.Replayed, token => turn.Constraint?.Accept(token));
        }
        catch (InvalidOperationException e)
        {
            throw new AnswerDivergedException($"The answer began with tokens that its grammar does not allow here: {e.Message}", e);
        }

        answer.Resume(known);
    }

    private static AnswerPart Last(GenerationResult result, AnswerSink answer, string? endMarker)
    {
        UsageContent usage = new(new UsageDetails
        {
            InputTokenCount = result.PromptTokens,
            OutputTokenCount = result.GeneratedTokens,
            TotalTokenCount = result.PromptTokens + result.GeneratedTokens,
            CachedInputTokenCount = result.CachedTokens,
        });
        ChatFinishReason finish = result.Finish == EngineFinish.Length ? ChatFinishReason.Length : answer.HasCalls ? ChatFinishReason.ToolCalls : ChatFinishReason.Stop;
        string? stop = answer.StopSequence != endMarker ? answer.StopSequence : null; // the end of a turn is no stop sequence of the caller's
        return new AnswerPart(usage, answer.RemainingLogProbabilities(), End: new AnswerEnd(finish, stop, answer.LogProbabilities));
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
    /// <param name="modelId">The model that answers.</param>
    internal readonly struct UpdateFactory(string modelId)
    {
        private readonly string _responseId = $"gemma-{Guid.NewGuid():N}";
        private readonly string _messageId = $"msg-{Guid.NewGuid():N}";
        private readonly DateTimeOffset _createdAt = DateTimeOffset.UtcNow;

        public ChatResponseUpdate Create(AnswerPart part)
        {
            ChatResponseUpdate update = new(ChatRole.Assistant, [part.Content])
            {
                ResponseId = _responseId,
                MessageId = _messageId,
                ModelId = modelId,
                CreatedAt = _createdAt,
                RawRepresentation = part.LogProbabilities,
                FinishReason = part.End?.Finish,
            };
            if (part.End?.LogProbabilities is { } all)
            {
                update.AdditionalProperties = new() { [GemmaLogProbabilitiesExtensions.Key] = all };
            }

            if (part.End?.StopSequence is { } stop)
            {
                (update.AdditionalProperties ??= [])[StopSequenceKey] = stop;
            }

            return update;
        }
    }
}
