using System.ComponentModel.DataAnnotations;

namespace WebChat;

/// <summary>Section <c>Chat</c> of the configuration. The model has its own section, <c>Gemma</c>.</summary>
public sealed class WebChatOptions
{
    /// <summary>What the model is told before every conversation.</summary>
    public string SystemPrompt { get; set; } = "";

    /// <summary>Longest answer, in tokens; nothing: as long as the context.</summary>
    [Range(1, int.MaxValue)]
    public int? MaxOutputTokens { get; set; }

    /// <summary>Longest conversation that is accepted, in characters.</summary>
    [Range(1, 10_000_000)]
    public int MaxCharacters { get; set; } = 100_000;

    /// <summary>Questions that one user may ask in a minute; more get 429.</summary>
    [Range(1, 1_000_000)]
    public int QuestionsPerMinute { get; set; } = 60;

    /// <summary>Answers that one user may have running at once; more get 429.</summary>
    [Range(1, 10_000)]
    public int AnswersAtOnce { get; set; } = 4;

    /// <summary>How long an answer may take, waiting included.</summary>
    [Range(typeof(TimeSpan), "00:00:00.001", "10.00:00:00", ErrorMessage = "Chat:Timeout is {0}, expected a millisecond to ten days.")]
    public TimeSpan Timeout { get; set; } = TimeSpan.FromMinutes(5);
}
