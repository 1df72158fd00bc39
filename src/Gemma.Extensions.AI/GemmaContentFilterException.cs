namespace Gemma.Extensions.AI;

/// <summary>A guard blocked what a user said or what a model answered, and <see cref="ShieldGemmaOptions.Action"/> says to throw.</summary>
public sealed class GemmaContentFilterException : GemmaException
{
    /// <summary>Key of the violated policies' names in the additional properties of a blocked answer, of its text and of the text's annotation.</summary>
    public const string ViolationsKey = "content_filter.violations";

    /// <summary>Key of the whole <see cref="GuardVerdict"/> in the same places.</summary>
    public const string VerdictKey = "content_filter.verdict";

    internal GemmaContentFilterException(GuardVerdict verdict, bool isPrompt) : base(
        $"{(isPrompt ? "What the user said" : "The answer")} is blocked: it violates {string.Join(", ", verdict.Violations)}. Thresholds and policies are those of {nameof(ShieldGemmaOptions)}.")
    {
        Verdict = verdict;
        IsPrompt = isPrompt;
    }

    /// <summary>The guard's verdict.</summary>
    public GuardVerdict Verdict { get; }

    /// <summary>True if the prompt was blocked, false if the answer was.</summary>
    public bool IsPrompt { get; }
}
