using System.Diagnostics;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>Receives a request and notes when.</summary>
internal sealed class TimedRequest(int stopAfter) : GenerationSink
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly TaskCompletionSource<GenerationResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Seconds from the request to each token.</summary>
    public List<double> Times { get; } = [];

    public List<int> Tokens { get; } = [];

    public Task<GenerationResult> Task => _result.Task;

    public double CompletedAfter { get; private set; }

    public double LargestGap => Times.Zip(Times.Skip(1)).Select(pair => pair.Second - pair.First).DefaultIfEmpty(0).Max();

    /// <summary>Seconds from the request to <paramref name="other"/>.</summary>
    public double Until(TimedRequest other) => Stopwatch.GetElapsedTime(_start, other._start).TotalSeconds;

    public override bool OnToken(int token)
    {
        Times.Add(Stopwatch.GetElapsedTime(_start).TotalSeconds);
        Tokens.Add(token);
        return Tokens.Count < stopAfter;
    }

    public override void OnCompleted(GenerationResult result)
    {
        CompletedAfter = Stopwatch.GetElapsedTime(_start).TotalSeconds;
        _result.SetResult(result);
    }
}
