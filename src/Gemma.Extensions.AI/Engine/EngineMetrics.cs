using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// What the engine tells about itself, under <see cref="GemmaDiagnostics.Name"/>. Names and units follow OpenTelemetry's gen_ai conventions for model
/// servers where they have one; the rest begins with <c>gemma.engine</c>.
/// </summary>
internal sealed class EngineMetrics : IDisposable
{
    private static readonly ActivitySource Source = new(GemmaDiagnostics.Name);

    private readonly Meter _meter;
    private readonly string _model;
    private readonly Histogram<double> _timeToFirstToken;
    private readonly Histogram<double> _timePerToken;
    private readonly Histogram<double> _duration;
    private readonly Counter<long> _tokens;
    private readonly Counter<long> _guesses;

    public EngineMetrics(string model, Func<EngineStatus> status)
    {
        _model = model;
        KeyValuePair<string, object?>[] tags = [new("gen_ai.provider.name", "gemma"), new("gen_ai.request.model", model)];
        _meter = new Meter(new MeterOptions(GemmaDiagnostics.Name) { Tags = tags });
        _timeToFirstToken = _meter.CreateHistogram<double>("gen_ai.server.time_to_first_token", "s", "From the request to its first token, waiting included.");
        _timePerToken = _meter.CreateHistogram<double>("gen_ai.server.time_per_output_token", "s", "Between two tokens of one request.");
        _duration = _meter.CreateHistogram<double>("gen_ai.server.request.duration", "s", "From the request to its end.");
        _tokens = _meter.CreateCounter<long>("gemma.engine.tokens", "{token}", "Tokens of finished requests: input (cached ones included), cached, output.");
        _guesses = _meter.CreateCounter<long>("gemma.engine.speculated_tokens", "{token}", "Tokens guessed ahead, and those that were right.");
        _meter.CreateObservableUpDownCounter("gemma.engine.requests", () => Requests(status()), "{request}", "Requests by state: running, waiting.");
        _meter.CreateObservableUpDownCounter("gemma.engine.kv_blocks", () => Blocks(status()), "{block}", "Blocks of key/value memory by state: used, cached, free.");
        _meter.CreateObservableCounter("gemma.engine.preemptions", () => status().Preemptions, "{preemption}", "How often a running request had to give its memory back.");
    }

    /// <summary>A span for a request, child of the caller's, without becoming the caller's current one.</summary>
    public Activity? StartActivity()
    {
        var parent = Activity.Current;
        var activity = Source.StartActivity("gemma.generate");
        Activity.Current = parent;
        return activity;
    }

    /// <summary>A token was given to the sink. Allocates nothing.</summary>
    public void Token(Sequence sequence)
    {
        long now = Stopwatch.GetTimestamp();
        if (sequence.LastTokenAt == 0)
        {
            _timeToFirstToken.Record(Stopwatch.GetElapsedTime(sequence.Submitted, now).TotalSeconds);
        }
        else
        {
            _timePerToken.Record(Stopwatch.GetElapsedTime(sequence.LastTokenAt, now).TotalSeconds);
        }

        sequence.LastTokenAt = now;
    }

    public void Guesses(int proposed, int accepted)
    {
        _guesses.Add(proposed, new KeyValuePair<string, object?>("outcome", "proposed"));
        _guesses.Add(accepted, new KeyValuePair<string, object?>("outcome", "accepted"));
    }

    public void Completed(Sequence sequence, GenerationResult result)
    {
        _tokens.Add(result.PromptTokens, new KeyValuePair<string, object?>("gen_ai.token.type", "input"));
        _tokens.Add(result.CachedTokens, new KeyValuePair<string, object?>("gen_ai.token.type", "cached"));
        _tokens.Add(result.GeneratedTokens, new KeyValuePair<string, object?>("gen_ai.token.type", "output"));
        string? error = result.Error?.GetType().FullName;
        double seconds = Stopwatch.GetElapsedTime(sequence.Submitted).TotalSeconds;
        if (error is null)
        {
            _duration.Record(seconds);
        }
        else
        {
            _duration.Record(seconds, new KeyValuePair<string, object?>("error.type", error));
        }

        if (sequence.Activity is { } activity)
        {
            activity.SetTag("gen_ai.provider.name", "gemma").SetTag("gen_ai.request.model", _model)
                .SetTag("gen_ai.usage.input_tokens", result.PromptTokens).SetTag("gen_ai.usage.output_tokens", result.GeneratedTokens)
                .SetTag("gemma.usage.cached_tokens", result.CachedTokens).SetTag("gen_ai.response.finish_reasons", new[] { result.Finish.ToString().ToLowerInvariant() });
            if (error is not null)
            {
                activity.SetTag("error.type", error).SetStatus(ActivityStatusCode.Error, result.Error!.Message);
            }

            activity.Dispose();
        }
    }

    public void Dispose() => _meter.Dispose();

    private static Measurement<int>[] Requests(EngineStatus status) =>
        [new(status.Running, State("running")), new(status.Waiting, State("waiting"))];

    private static Measurement<int>[] Blocks(EngineStatus status) =>
        [new(status.UsedBlocks, State("used")), new(status.CachedBlocks, State("cached")), new(status.FreeBlocks, State("free"))];

    private static KeyValuePair<string, object?> State(string state) => new("state", state);
}
