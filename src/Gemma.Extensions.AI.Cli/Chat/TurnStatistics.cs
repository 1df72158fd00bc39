using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Cli.Chat;

/// <summary>Tokens and time of one answer.</summary>
internal sealed class TurnStatistics
{
    /// <summary>Less time than this tells nothing about a speed.</summary>
    private const double LeastSeconds = 0.05;

    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly UsageDetails _usage = new();
    private double? _first;
    private double _last;

    /// <summary>Tokens of prompt and answer.</summary>
    public long Tokens => (_usage.InputTokenCount ?? 0) + (_usage.OutputTokenCount ?? 0);

    public ChatFinishReason? FinishReason { get; private set; }

    public void Add(ChatResponseUpdate update)
    {
        _last = Stopwatch.GetElapsedTime(_start).TotalSeconds;
        _first ??= update.Text.Length > 0 ? _last : null;
        FinishReason = update.FinishReason ?? FinishReason;
        foreach (UsageContent content in update.Contents.OfType<UsageContent>())
        {
            _usage.Add(content.Details);
        }
    }

    public string Describe(int context)
    {
        long written = _usage.OutputTokenCount ?? 0;
        string speed = _first is { } first && written > 1 && _last - first >= LeastSeconds ? string.Create(CultureInfo.InvariantCulture, $", {(written - 1) / (_last - first):F1} tokens a second") : "";
        return string.Create(CultureInfo.InvariantCulture,
            $"{_usage.InputTokenCount ?? 0:N0} tokens read ({_usage.CachedInputTokenCount ?? 0:N0} of them from the cache), {written:N0} written{speed}; first after {_first ?? _last:F2} s. {Tokens:N0} of {context:N0} tokens of context are used ({100.0 * Tokens / context:F0}%).");
    }
}
