using System.Collections.Concurrent;
using System.Diagnostics;
using System.Diagnostics.Metrics;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Tests.Engine;

public sealed class DiagnosticsTests
{
    [Fact]
    public void MetricsCountRequests()
    {
        string model = Guid.NewGuid().ToString();
        var sums = new ConcurrentDictionary<string, double>();
        var counts = new ConcurrentDictionary<string, int>();
        using var listener = new MeterListener
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == GemmaDiagnostics.Name && instrument.Meter.Tags!.Any(tag => model.Equals(tag.Value)))
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Add(instrument, value, tags));
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Add(instrument, value, tags));
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Add(instrument, value, tags));
        listener.Start();
        using (var tiny = new TinyEngine(TinyEngine.Exact with { ModelName = model, SpeculativeTokens = 0 }))
        {
            tiny.Generate(TinyEngine.Prompt(1, 64), 10);
            tiny.Generate(TinyEngine.Prompt(1, 64), 10);
            listener.RecordObservableInstruments();
        }

        Assert.Equal(128, sums["gemma.engine.tokens/input"]);
        Assert.Equal(63, sums["gemma.engine.tokens/cached"]);
        Assert.Equal(20, sums["gemma.engine.tokens/output"]);
        Assert.Equal(2, counts["gen_ai.server.time_to_first_token/"]);
        Assert.Equal(18, counts["gen_ai.server.time_per_output_token/"]);
        Assert.Equal(2, counts["gen_ai.server.request.duration/"]);
        Assert.Equal(0, sums["gemma.engine.requests/running"]);
        Assert.Equal(0, sums["gemma.engine.kv_blocks/used"]);
        Assert.True(sums["gemma.engine.kv_blocks/cached"] > 0);
        Assert.Equal(0, sums["gemma.engine.preemptions/"]);

        void Add(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            string name = $"{instrument.Name}/{(tags.Length > 0 ? tags[0].Value : "")}";
            sums.AddOrUpdate(name, value, (_, old) => old + value);
            counts.AddOrUpdate(name, 1, (_, old) => old + 1);
        }
    }

    [Fact]
    public void SpanBelongsToTheCallerAndEndsWithTheRequest()
    {
        using var own = new ActivitySource("test");
        var ended = new ConcurrentQueue<Activity>();
        string model = Guid.NewGuid().ToString();
        using var listener = new ActivityListener
        {
            ShouldListenTo = source => source.Name is GemmaDiagnostics.Name or "test",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
            ActivityStopped = activity =>
            {
                if (model.Equals(activity.GetTagItem("gen_ai.request.model")))
                {
                    ended.Enqueue(activity);
                }
            },
        };
        ActivitySource.AddActivityListener(listener);
        using var tiny = new TinyEngine(TinyEngine.Exact with { ModelName = model });
        using (var parent = own.StartActivity("caller"))
        {
            var generation = tiny.Start(TinyEngine.Prompt(1, 20), 7);
            Assert.Same(parent, Activity.Current);
            Assert.Equal(EngineFinish.Length, generation.Result.Finish);
            var activity = Assert.Single(ended);
            Assert.Equal(parent!.SpanId, activity.ParentSpanId);
            Assert.Equal(7, activity.GetTagItem("gen_ai.usage.output_tokens"));
            Assert.Equal(20, activity.GetTagItem("gen_ai.usage.input_tokens"));
        }

        var failed = tiny.Start(TinyEngine.Prompt(1, 20), 7, onToken: _ => throw new FormatException("x"));
        Assert.Equal(EngineFinish.Failed, failed.Result.Finish);
        Assert.Equal(ActivityStatusCode.Error, ended.Last().Status);
    }
}
