using Gemma.Extensions.AI.Chat;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI;

/// <summary>Options of a <see cref="GemmaChatReducer"/>.</summary>
public sealed class GemmaChatReducerOptions
{
    private const int DefaultSummaryTokens = 256;

    /// <summary>Most tokens of a prompt, tools and system text included. Null: three quarters of the context, so that a quarter is left for the answer.</summary>
    public int? MaxTokens { get; set; }

    /// <summary>Tokens that are left where a conversation has to be cut, at most <see cref="MaxTokens"/>. Null: three quarters of that.</summary>
    public int? TargetTokens { get; set; }

    /// <summary>Instructions and tools that conversations are asked with, so that they count. Needed where a reducer is not told them.</summary>
    public ChatOptions? ChatOptions { get; set; }

    /// <summary>
    /// Puts a summary that the model writes (greedily) in the place of what is cut, as a message of the user's behind the system text: it says what users said, so it has no more weight
    /// than they. A summary is written once for each cut, from the one before and what is cut then.
    /// </summary>
    public bool Summarize { get; set; }

    /// <summary>Most tokens of a summary.</summary>
    public int MaxSummaryTokens { get; set; } = DefaultSummaryTokens;

    /// <summary>The instruction that follows the messages to be summarised.</summary>
    public string SummaryInstructions { get; set; } = "Summarize this conversation in a few sentences. Keep names, numbers, dates, decisions and open questions. Answer with the summary alone.";

    /// <summary>A copy that later changes do not reach.</summary>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    internal GemmaChatReducerOptions Checked()
    {
        Check(MaxTokens is null or > 0, nameof(MaxTokens), MaxTokens, "more than 0, or nothing");
        Check(TargetTokens is null or > 0, nameof(TargetTokens), TargetTokens, "more than 0, or nothing");
        Check(TargetTokens is null || MaxTokens is null || TargetTokens <= MaxTokens, nameof(TargetTokens), TargetTokens, $"at most {nameof(MaxTokens)}");
        Check(MaxSummaryTokens > 0, nameof(MaxSummaryTokens), MaxSummaryTokens, "more than 0");
        ArgumentException.ThrowIfNullOrWhiteSpace(SummaryInstructions);
        GemmaChatReducerOptions copy = (GemmaChatReducerOptions)MemberwiseClone();
        copy.ChatOptions = ChatOptions?.Clone();
        return copy;
    }

    /// <summary>The limits for a model.</summary>
    /// <exception cref="ArgumentException">A limit is more than the context.</exception>
    internal ReducerLimits LimitsFor(int contextLength)
    {
        int max = MaxTokens ?? contextLength * 3 / 4;
        Check(max < contextLength, nameof(MaxTokens), max, $"less than the context of {contextLength:N0} tokens");
        Check(!Summarize || MaxSummaryTokens < max, nameof(MaxSummaryTokens), MaxSummaryTokens, $"less than the {max:N0} tokens of a whole prompt");
        return new ReducerLimits(max, Math.Min(max, TargetTokens ?? max * 3 / 4), Summarize ? MaxSummaryTokens : 0);
    }

    private static void Check(bool isFine, string name, int? value, string expected)
    {
        if (!isFine)
        {
            throw new ArgumentOutOfRangeException(name, value, $"{name} is {value:N0}, expected {expected}.");
        }
    }
}
