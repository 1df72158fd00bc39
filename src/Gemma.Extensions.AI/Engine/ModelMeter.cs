using System.Collections.Concurrent;
using System.Diagnostics.Metrics;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// The instruments of a model, shared by all engines that run a model of that name, and kept when one ends: whoever collects them would otherwise see each series twice while a model is loaded
/// again, or for as long as two engines run it.
/// </summary>
internal sealed class ModelMeter
{
    private static readonly ConcurrentDictionary<string, Lazy<ModelMeter>> s_meters = new(StringComparer.Ordinal);

    private static readonly double[] s_seconds = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
    private static readonly double[] s_secondsToFirst = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
    private static readonly double[] s_secondsPerToken = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];

    private readonly Lock _lock = new();
    private readonly List<Func<EngineStatus>> _engines = [];
    private readonly Meter _meter;
    private long _endedPreemptions;

    private ModelMeter(string model)
    {
        Model = new("gen_ai.request.model", model);
        _meter = new Meter(new MeterOptions(GemmaDiagnostics.Name) { Tags = [new("gen_ai.provider.name", "gemma"), Model] });
        TimeToFirstToken = Histogram("gen_ai.server.time_to_first_token", "From the request to its first token, waiting included.", s_secondsToFirst);
        TimePerToken = Histogram("gen_ai.server.time_per_output_token", "Between two tokens of one request.", s_secondsPerToken);
        Duration = Histogram("gen_ai.server.request.duration", "From the request to its end.", s_seconds);
        Tokens = _meter.CreateCounter<long>("gemma.engine.tokens", "{token}", "Tokens of finished requests: input (cached ones included), cached, output.");
        Guesses = _meter.CreateCounter<long>("gemma.engine.speculated_tokens", "{token}", "Tokens guessed ahead, and those that were right.");
        _meter.CreateObservableUpDownCounter("gemma.engine.requests", () => Sum(("running", static engine => engine.Running), ("waiting", static engine => engine.Waiting)), "{request}", "Requests by state: running, waiting.");
        _meter.CreateObservableUpDownCounter(
            "gemma.engine.kv_blocks", () => Sum(("used", static engine => engine.UsedBlocks), ("cached", static engine => engine.CachedBlocks), ("free", static engine => engine.FreeBlocks)), "{block}",
            "Blocks of key/value memory by state: used, cached, free.");
        _meter.CreateObservableCounter("gemma.engine.preemptions", Preemptions, "{preemption}", "How often a running request had to give its memory back.");

        Histogram<double> Histogram(string name, string description, double[] boundaries) =>
            _meter.CreateHistogram(name, "s", description, advice: new InstrumentAdvice<double> { HistogramBucketBoundaries = boundaries });
    }

    /// <summary>The attribute that names the model.</summary>
    public KeyValuePair<string, object?> Model { get; }

    public Histogram<double> TimeToFirstToken { get; }

    public Histogram<double> TimePerToken { get; }

    public Histogram<double> Duration { get; }

    public Counter<long> Tokens { get; }

    public Counter<long> Guesses { get; }

    public static ModelMeter Of(string model) => s_meters.GetOrAdd(model, static name => new(() => new ModelMeter(name))).Value;

    /// <summary>Has the state of an engine be part of what is observed.</summary>
    public void Add(Func<EngineStatus> engine)
    {
        lock (_lock)
        {
            _engines.Add(engine);
        }
    }

    /// <summary>An engine has ended.</summary>
    public void Remove(Func<EngineStatus> engine)
    {
        lock (_lock)
        {
            if (_engines.Remove(engine))
            {
                _endedPreemptions += engine().Preemptions;
            }
        }
    }

    private Measurement<int>[] Sum(params ReadOnlySpan<(string State, Func<EngineStatus, int> Read)> states)
    {
        lock (_lock)
        {
            EngineStatus[] engines = [.. _engines.Select(static engine => engine())];
            List<Measurement<int>> sums = [];
            foreach ((string state, Func<EngineStatus, int> read) in states)
            {
                sums.Add(new(engines.Sum(read), new("state", state), Model));
            }

            return [.. sums];
        }
    }

    private Measurement<long> Preemptions()
    {
        lock (_lock)
        {
            return new(_endedPreemptions + _engines.Sum(static engine => engine().Preemptions), Model);
        }
    }
}
