using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// What the engine tells about itself, under <see cref="GemmaDiagnostics.Name"/>. Names, units, attributes and bucket boundaries follow OpenTelemetry's
/// semantic conventions for generative AI where they have some: those of the server. Those of the client come from <c>UseOpenTelemetry()</c>, as they do for
/// every chat client, so that a dashboard counts a request once. The rest begins with <c>gemma.engine</c>. What a listener throws ends no request: it is
/// logged, once.
/// </summary>
internal sealed class EngineMetrics : IDisposable
{
    private static readonly ActivitySource Source = new(GemmaDiagnostics.Name);

    private static readonly double[] Seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
    private static readonly double[] SecondsToFirst = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
    private static readonly double[] SecondsPerToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];

    private readonly Meter _meter;
    private readonly string _model;
    private readonly ILogger _logger;
    private bool _hasReported;
    private readonly Histogram<double> _timeToFirstToken;
    private readonly Histogram<double> _timePerToken;
    private readonly Histogram<double> _duration;
    private readonly Counter<long> _tokens;
    private readonly Counter<long> _guesses;

    public EngineMetrics(string model, Func<EngineStatus> status, ILogger logger)
    {
        _model = model;
        _logger = logger;
        KeyValuePair<string, object?>[] tags = [new("gen_ai.provider.name", "gemma"), new("gen_ai.request.model", model)];
        _meter = new Meter(new MeterOptions(GemmaDiagnostics.Name) { Tags = tags });
        _timeToFirstToken = Histogram("gen_ai.server.time_to_first_token", "From the request to its first token, waiting included.", SecondsToFirst);
        _timePerToken = Histogram("gen_ai.server.time_per_output_token", "Between two tokens of one request.", SecondsPerToken);
        _duration = Histogram("gen_ai.server.request.duration", "From the request to its end.", Seconds);
        _tokens = _meter.CreateCounter<long>("gemma.engine.tokens", "{token}", "Tokens of finished requests: input (cached ones included), cached, output.");
        _guesses = _meter.CreateCounter<long>("gemma.engine.speculated_tokens", "{token}", "Tokens guessed ahead, and those that were right.");
        _meter.CreateObservableUpDownCounter("gemma.engine.requests", () => Requests(status()), "{request}", "Requests by state: running, waiting.");
        _meter.CreateObservableUpDownCounter("gemma.engine.kv_blocks", () => Blocks(status()), "{block}", "Blocks of key/value memory by state: used, cached, free.");
        _meter.CreateObservableCounter("gemma.engine.preemptions", () => status().Preemptions, "{preemption}", "How often a running request had to give its memory back.");

        Histogram<double> Histogram(string name, string description, double[] boundaries) =>
            _meter.CreateHistogram(name, "s", description, advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = boundaries });
    }

    /// <summary>A span for a request, child of the caller's, without becoming the caller's current one.</summary>
    public Activity? StartActivity(GenerationRequest request)
    {
        if (!Source.HasListeners())
        {
            return null;
        }

        var parent = Activity.Current;
        KeyValuePair<string, object?>[] tags = [new("gen_ai.operation.name", request.Operation), new("gen_ai.provider.name", "gemma"), new("gen_ai.request.model", _model)];
        var activity = Source.StartActivity($"{request.Operation} {_model}", ActivityKind.Internal, default(ActivityContext), tags);
        Activity.Current = parent;
        return request.Reader is null ? activity?.SetTag("gen_ai.request.stream", request.IsStreaming) : activity;
    }

    /// <summary>A token was given to the sink. Allocates nothing.</summary>
    public void Token(Sequence sequence)
    {
        long now = Stopwatch.GetTimestamp();
        long last = sequence.LastTokenAt;
        sequence.LastTokenAt = now;
        sequence.FirstTokenAt = last == 0 ? now : sequence.FirstTokenAt;
        try
        {
            (last == 0 ? _timeToFirstToken : _timePerToken).Record(Stopwatch.GetElapsedTime(last == 0 ? sequence.Submitted : last, now).TotalSeconds, Tags(sequence));
        }
        catch (Exception exception)
        {
            Report(exception);
        }
    }

    public void Guesses(int proposed, int accepted)
    {
        try
        {
            _guesses.Add(proposed, new KeyValuePair<string, object?>("outcome", "proposed"));
            _guesses.Add(accepted, new KeyValuePair<string, object?>("outcome", "accepted"));
        }
        catch (Exception exception)
        {
            Report(exception);
        }
    }

    public void Completed(Sequence sequence, GenerationResult result)
    {
        try
        {
            Count(sequence, result);
            End(sequence, result);
        }
        catch (Exception exception)
        {
            Report(exception);
        }
    }

    public void Dispose() => _meter.Dispose();

    private void Count(Sequence sequence, GenerationResult result)
    {
        _tokens.Add(result.PromptTokens, new KeyValuePair<string, object?>("gen_ai.token.type", "input"));
        _tokens.Add(result.CachedTokens, new KeyValuePair<string, object?>("gen_ai.token.type", "cached"));
        _tokens.Add(result.GeneratedTokens, new KeyValuePair<string, object?>("gen_ai.token.type", "output"));
        TagList tags = Tags(sequence);
        if (result.Error is { } error)
        {
            tags.Add("error.type", error.GetType().FullName);
        }

        _duration.Record(Stopwatch.GetElapsedTime(sequence.Submitted).TotalSeconds, tags);
    }

    private void End(Sequence sequence, GenerationResult result)
    {
        if (sequence.Activity is not { } activity)
        {
            return;
        }

        activity.SetTag("gen_ai.response.model", _model).SetTag("gen_ai.usage.input_tokens", result.PromptTokens).SetTag("gen_ai.usage.output_tokens", result.GeneratedTokens)
            .SetTag("gen_ai.usage.cache_read.input_tokens", result.CachedTokens).SetTag("gen_ai.response.finish_reasons", new[] { result.Finish.ToString().ToLowerInvariant() });
        if (sequence.Request.IsStreaming && sequence.FirstTokenAt != 0)
        {
            activity.SetTag("gen_ai.response.time_to_first_chunk", Stopwatch.GetElapsedTime(sequence.Submitted, sequence.FirstTokenAt).TotalSeconds);
        }

        if (result.Error is { } error)
        {
            activity.SetTag("error.type", error.GetType().FullName).SetStatus(ActivityStatusCode.Error, error.Message);
        }

        activity.Dispose();
        Activity.Current = null; // ending a span makes its parent the current one, here on the engine's thread
    }

    private void Report(Exception exception)
    {
        if (!_hasReported)
        {
            _hasReported = true;
            _logger.LogError(exception, "A listener to metrics or traces of Gemma threw. This is not said again.");
        }
    }

    /// <summary>Attributes that the conventions require of every measurement. A list of up to eight lives on the stack.</summary>
    private TagList Tags(Sequence sequence) => new()
    {
        { "gen_ai.operation.name", sequence.Request.Operation },
        { "gen_ai.provider.name", "gemma" },
        { "gen_ai.request.model", _model },
        { "gen_ai.response.model", _model },
    };

    private static Measurement<int>[] Requests(EngineStatus status) =>
        [new(status.Running, State("running")), new(status.Waiting, State("waiting"))];

    private static Measurement<int>[] Blocks(EngineStatus status) =>
        [new(status.UsedBlocks, State("used")), new(status.CachedBlocks, State("cached")), new(status.FreeBlocks, State("free"))];

    private static KeyValuePair<string, object?> State(string state) => new("state", state);
}
