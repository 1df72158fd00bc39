using System.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>Distribution that log probabilities are taken from. Temperature, top-k, top-p and min-p never count: they only decide how tokens are drawn.</summary>
public enum GemmaLogProbabilitySource
{
    /// <summary>The model's own, before logit bias, penalties and the grammar. Tokens that a grammar forces are then computed one a step instead of being skipped.</summary>
    Model,

    /// <summary>The distribution after logit bias, penalties and the grammar. The only token that the grammar allows has the log probability 0.</summary>
    Constrained,
}

/// <summary>A token and its natural logarithm of probability at one place of an answer.</summary>
/// <param name="TokenId">Id in the model's vocabulary.</param>
/// <param name="Utf8">The bytes of the token; part of a character where the tokenizer spells one in bytes.</param>
/// <param name="LogProbability">Natural logarithm, at most 0; minus infinity for what cannot come.</param>
public sealed record GemmaTokenLogProbability(int TokenId, ReadOnlyMemory<byte> Utf8, double LogProbability)
{
    /// <summary>The token as text. Bytes that are no whole character show as U+FFFD.</summary>
    public string Text => Encoding.UTF8.GetString(Utf8.Span);
}

/// <summary>One token of an answer, and what else was likely at its place.</summary>
/// <param name="Token">The token that was drawn.</param>
/// <param name="Top">The most likely tokens, best first: as many as <see cref="GemmaGenerationOptions.TopLogProbabilities"/> asks for, or fewer where fewer are possible. The drawn one may be missing.</param>
public sealed record GemmaLogProbabilities(GemmaTokenLogProbability Token, IReadOnlyList<GemmaTokenLogProbability> Top);

/// <summary>Finds log probabilities in what a client over this library returned.</summary>
public static class GemmaLogProbabilitiesExtensions
{
    /// <summary>Key of the list of all tokens of a message in <see cref="ChatMessage.AdditionalProperties"/>, and in the last update's.</summary>
    internal const string Key = "logprobs";

    /// <summary>
    /// The tokens that were new with this update, in order; empty where <see cref="GemmaGenerationOptions.TopLogProbabilities"/> was not set. A token may come with a later update
    /// than its first character, and tokens of a tool call come with the call. The end of a turn, and tokens that lie behind a stop sequence, are not reported.
    /// </summary>
    public static IReadOnlyList<GemmaLogProbabilities> GetLogProbabilities(this ChatResponseUpdate update)
    {
        ArgumentNullException.ThrowIfNull(update);
        return update.RawRepresentation as IReadOnlyList<GemmaLogProbabilities> ?? [];
    }

    /// <summary>All tokens of the answer's messages, in order. Empty where <see cref="GemmaGenerationOptions.TopLogProbabilities"/> was not set.</summary>
    public static IReadOnlyList<GemmaLogProbabilities> GetLogProbabilities(this ChatResponse response)
    {
        ArgumentNullException.ThrowIfNull(response);
        return [.. response.Messages.SelectMany(Of)];

        static IReadOnlyList<GemmaLogProbabilities> Of(ChatMessage message)
        {
            object? values = null;
            message.AdditionalProperties?.TryGetValue(Key, out values);
            return values as IReadOnlyList<GemmaLogProbabilities> ?? [];
        }
    }
}
