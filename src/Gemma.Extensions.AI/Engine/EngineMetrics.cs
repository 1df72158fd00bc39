using System.Diagnostics;
using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// The engine's metrics, in the meter <see cref="GemmaDiagnostics.Name"/>. Names, units, attributes and bucket boundaries follow OpenTelemetry's
/// semantic conventions for generative AI where they have some: those of the server. Those of the client come from <c>UseOpenTelemetry()</c>, as they do for
/// every chat client, so that a dashboard counts a request once. The rest begins with <c>gemma.engine</c>. A listener's exception ends no request: it is
/// logged, once.
/// </summary>
internal sealed class EngineMetrics : IDisposable
{
    private static readonly ActivitySource Source = new(GemmaDiagnostics.Name);

    private readonly ModelMeter _meter;
    private readonly Func<EngineStatus> _status;
    private readonly string _model;
    private readonly ILogger _logger;
    private bool _hasReported;

    public EngineMetrics(string model, Func<EngineStatus> status, ILogger logger)
    {
        _model = model;
        _logger = logger;
        _status = status;
        _meter = ModelMeter.Of(model);
        _meter.Add(status);
    }

    /// <summary>A span for a request, child of the caller's, without becoming the caller's current one.</summary>
    public Activity? StartActivity(GenerationRequest request)
    {
        if (!Source.HasListeners())
        {
            return null;
        }

        Activity? parent = Activity.Current;
        KeyValuePair<string, object?>[] tags = [new("gen_ai.operation.name", request.Operation), new("gen_ai.provider.name", "gemma"), new("gen_ai.request.model", _model)];
        Activity? activity = Source.StartActivity($"{request.Operation} {_model}", ActivityKind.Internal, default(ActivityContext), tags);
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
            (last == 0 ? _meter.TimeToFirstToken : _meter.TimePerToken).Record(Stopwatch.GetElapsedTime(last == 0 ? sequence.Submitted : last, now).TotalSeconds, Tags(sequence));
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
            _meter.Guesses.Add(proposed, new("outcome", "proposed"), _meter.Model);
            _meter.Guesses.Add(accepted, new("outcome", "accepted"), _meter.Model);
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

    public void Dispose() => _meter.Remove(_status);

    private void Count(Sequence sequence, GenerationResult result)
    {
        _meter.Tokens.Add(result.PromptTokens, new("gen_ai.token.type", "input"), _meter.Model);
        _meter.Tokens.Add(result.CachedTokens, new("gen_ai.token.type", "cached"), _meter.Model);
        _meter.Tokens.Add(result.GeneratedTokens, new("gen_ai.token.type", "output"), _meter.Model);
        TagList tags = Tags(sequence);
        if (result.Error is { } error)
        {
            tags.Add("error.type", error.GetType().FullName);
        }

        _meter.Duration.Record(Stopwatch.GetElapsedTime(sequence.Submitted).TotalSeconds, tags);
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
}
