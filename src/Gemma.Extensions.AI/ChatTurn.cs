using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>One call, checked and translated: what the engine is asked.</summary>
internal sealed record ChatTurn(int[] Prompt, GenerationSettings Settings, IReadOnlyList<int> StopTokens, GemmaGenerationOptions? Raw)
{
    /// <exception cref="ArgumentException">There is no message, an option is out of range, or the model is another.</exception>
    /// <exception cref="NotSupportedException">A message or an option asks for what this model cannot do.</exception>
    /// <exception cref="GemmaContextLengthException">The conversation leaves no room for an answer.</exception>
    public static ChatTurn Create(GemmaModel model, IReadOnlyList<ChatMessage> messages, ChatOptions? options, GemmaGenerationOptions? raw)
    {
        if (messages.Count == 0 && string.IsNullOrWhiteSpace(options?.Instructions))
        {
            throw new ArgumentException("The conversation is empty: there is no message to answer. Pass at least one.", nameof(messages));
        }

        CheckOptions(model, options);
        int[] prompt = ChatTemplate.Render(model.Tokenizer, messages, options);
        if (prompt.Length >= model.ContextLength)
        {
            throw new GemmaContextLengthException(prompt.Length, model.ContextLength);
        }

        GenerationSettings settings = GenerationSettings.Resolve(options, raw, model.File.GenerationDefaults, model.Config.VocabularySize);
        return new ChatTurn(prompt, settings, EndTokens(model), raw);
    }

    public GenerationRequest ToRequest(GenerationSink sink, CancellationToken cancellationToken) => new()
    {
        Prompt = Prompt,
        Sink = sink,
        Sampling = Settings.Sampling,
        MaxOutputTokens = Settings.MaxOutputTokens,
        StopTokens = StopTokens,
        Priority = Raw?.Priority ?? 0,
        Caller = Raw?.Caller,
        Timeout = Raw?.Timeout,
        CancellationToken = cancellationToken,
    };

    private static void CheckOptions(GemmaModel model, ChatOptions? options)
    {
        if (options?.ModelId is { Length: > 0 } id && !string.Equals(id, model.ModelId, StringComparison.OrdinalIgnoreCase)
            && !string.Equals(id, model.File.Name, StringComparison.OrdinalIgnoreCase))
        {
            throw new ArgumentException(
                $"ChatOptions.ModelId is '{id}', but this client runs '{model.ModelId}'. Leave it unset, or register a client for that model and use that one.", nameof(options));
        }

        if (options?.ContinuationToken is not null)
        {
            throw new NotSupportedException("ChatOptions.ContinuationToken is set, but answers of this client cannot be resumed and it never returns such a token. Ask again instead.");
        }

        if (options?.Tools is { Count: > 0 } && options.ToolMode is not NoneChatToolMode)
        {
            throw new NotSupportedException("ChatOptions.Tools is not supported yet.");
        }

        if (options?.ResponseFormat is not null and not ChatResponseFormatText)
        {
            throw new NotSupportedException($"ChatOptions.ResponseFormat {options.ResponseFormat.GetType().Name} is not supported yet.");
        }
    }

    /// <summary>What ends a reply: the end of a turn, and what the checkpoint names.</summary>
    private static int[] EndTokens(GemmaModel model) =>
        [.. model.File.GenerationDefaults.StopTokens.Append(model.Tokenizer.EndOfTurnId).Append(model.Tokenizer.EosId).Where(id => id >= 0).Distinct()];
}
