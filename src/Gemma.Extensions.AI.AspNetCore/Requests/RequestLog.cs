using System.Diagnostics;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>One line in the log for each request: what it took and how fast it was.</summary>
internal sealed partial class RequestLog(ILogger logger, string path, string model)
{
    private readonly long _started = Stopwatch.GetTimestamp();
    private long _first;
    private long _input;
    private long _cached;
    private long _output;

    /// <summary>Notes a piece of an answer that is streamed.</summary>
    public void Add(ChatResponseUpdate update)
    {
        foreach (AIContent content in update.Contents)
        {
            if (content is UsageContent usage)
            {
                Add(usage.Details);
            }
            else if (_first == 0)
            {
                _first = Stopwatch.GetTimestamp();
            }
        }
    }

    /// <summary>Notes whole answers.</summary>
    public void Add(IEnumerable<UsageDetails?> usages)
    {
        foreach (UsageDetails usage in usages.OfType<UsageDetails>())
        {
            Add(usage);
        }
    }

    public void Write()
    {
        if (!logger.IsEnabled(LogLevel.Information))
        {
            return;
        }

        double seconds = Stopwatch.GetElapsedTime(_started).TotalSeconds;
        if (_first == 0)
        {
            LogWhole(logger, path, model, _input, _cached, _output, seconds);
            return;
        }

        double first = Stopwatch.GetElapsedTime(_started, _first).TotalSeconds;
        LogStreamed(logger, path, model, _input, _cached, _output, first, _output > 1 && seconds > first ? (_output - 1) / (seconds - first) : 0);
    }

    private void Add(UsageDetails usage)
    {
        _input += usage.InputTokenCount ?? 0;
        _cached += usage.CachedInputTokenCount ?? 0;
        _output += usage.OutputTokenCount ?? 0;
    }

    [LoggerMessage(103, LogLevel.Information, "{Path} {Model}: {Input} tokens in ({Cached} cached), {Output} out, the first after {First:F3} s, then {Rate:F1} a second")]
    private static partial void LogStreamed(ILogger logger, string path, string model, long input, long cached, long output, double first, double rate);

    [LoggerMessage(104, LogLevel.Information, "{Path} {Model}: {Input} tokens in ({Cached} cached), {Output} out, in {Seconds:F3} s")]
    private static partial void LogWhole(ILogger logger, string path, string model, long input, long cached, long output, double seconds);
}
