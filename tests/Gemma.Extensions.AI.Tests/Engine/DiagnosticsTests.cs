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
        ConcurrentDictionary<string, double> sums = new();
        ConcurrentDictionary<string, int> counts = new();
        ConcurrentDictionary<string, string> attributes = new();
        using MeterListener listener = new()
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
        using (TinyEngine tiny = new(TinyEngine.Exact with { ModelName = model, SpeculativeTokens = 0 }))
        {
            tiny.Generate(TinyEngine.Prompt(1, 64), 10);
            tiny.Generate(TinyEngine.Prompt(1, 64), 10);
            Assert.Equal("chat", attributes["gen_ai.server.request.duration"]);
            tiny.Logits(TinyEngine.Prompt(2, 8));
            listener.RecordObservableInstruments();
        }

        Assert.Equal(136, sums["gemma.engine.tokens/input"]);
        Assert.Equal(63, sums["gemma.engine.tokens/cached"]);
        Assert.Equal(20, sums["gemma.engine.tokens/output"]);
        Assert.Equal(2, counts["gen_ai.server.time_to_first_token/chat"]);
        Assert.Equal(18, counts["gen_ai.server.time_per_output_token/chat"]);
        Assert.Equal(2, counts["gen_ai.server.request.duration/chat"]);
        Assert.Equal(1, counts["gen_ai.server.request.duration/score"]);
        Assert.DoesNotContain(counts.Keys, name => name.StartsWith("gen_ai.client.", StringComparison.Ordinal)); // a client's telemetry has those
        Assert.Equal(0, sums["gemma.engine.requests/running"]);
        Assert.Equal(0, sums["gemma.engine.kv_blocks/used"]);
        Assert.True(sums["gemma.engine.kv_blocks/cached"] > 0);
        Assert.Equal(0, sums[$"gemma.engine.preemptions/{model}"]);

        void Add(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags)
        {
            string name = $"{instrument.Name}/{(tags.Length > 0 ? tags[0].Value : "")}";
            Dictionary<string, string?> values = tags.ToArray().ToDictionary(tag => tag.Key, tag => (string?)tag.Value);
            Assert.Equal(model, values["gen_ai.request.model"]);
            if (instrument.Name.StartsWith("gen_ai.", StringComparison.Ordinal))
            {
                // What the conventions require of every measurement.
                Assert.Equal("gemma", values["gen_ai.provider.name"]);
                attributes[instrument.Name] = values["gen_ai.operation.name"]!;
                name += values.TryGetValue("gen_ai.token.type", out string? type) ? $"/{type}" : "";
            }

            sums.AddOrUpdate(name, value, (_, old) => old + value);
            counts.AddOrUpdate(name, 1, (_, old) => old + 1);
        }
    }

    /// <summary>Two engines of one model, and one that comes after: each series is published once, and holds the sum of the engines that run.</summary>
    [Fact]
    public void EnginesOfOneModelShareItsInstruments()
    {
        string model = Guid.NewGuid().ToString();
        List<string> published = [];
        ConcurrentDictionary<string, double> seen = new();
        using MeterListener listener = new()
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == GemmaDiagnostics.Name && instrument.Meter.Tags!.Any(tag => model.Equals(tag.Value)))
                {
                    published.Add(instrument.Name);
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Assert.True(seen.TryAdd($"{instrument.Name}/{tags[0].Value}", value)));
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => seen.AddOrUpdate($"{instrument.Name}/{tags[0].Value}", value, (_, old) => old + value));
        listener.Start();
        EngineOptions options = TinyEngine.Exact with { ModelName = model };
        double one;
        using (TinyEngine first = new(options))
        {
            one = Observe("free");
            using TinyEngine second = new(options);
            Assert.Equal(2 * one, Observe("free"));
            first.Generate(TinyEngine.Prompt(1, 64), 4);
            second.Generate(TinyEngine.Prompt(1, 64), 4);
            Assert.Equal(8, seen["gemma.engine.tokens/output"]);
        }

        Assert.Equal(0, Observe("free"));
        using TinyEngine third = new(options);
        Assert.Equal(one, Observe("free"));
        Assert.Equal(published.Distinct(), published);
        Assert.Equal(8, published.Count);

        double Observe(string state)
        {
            foreach (string key in seen.Keys.Where(key => key.StartsWith("gemma.engine.kv_blocks", StringComparison.Ordinal) || key.StartsWith("gemma.engine.requests", StringComparison.Ordinal)))
            {
                seen.TryRemove(key, out _);
            }

            listener.RecordObservableInstruments();
            return seen[$"gemma.engine.kv_blocks/{state}"];
        }
    }

    /// <summary>Whoever listens to the numbers is not part of a request: what is thrown there leaves requests and engine alone.</summary>
    [Fact]
    public void AListenerThatThrowsEndsNothing()
    {
        string model = Guid.NewGuid().ToString();
        using MeterListener listener = new()
        {
            InstrumentPublished = (instrument, listener) =>
            {
                if (instrument.Meter.Name == GemmaDiagnostics.Name && instrument.Meter.Tags!.Any(tag => model.Equals(tag.Value)))
                {
                    listener.EnableMeasurementEvents(instrument);
                }
            },
        };
        listener.SetMeasurementEventCallback<long>((_, _, _, _) => throw new FormatException("mine"));
        listener.SetMeasurementEventCallback<double>((_, _, _, _) => throw new FormatException("mine"));
        listener.Start();
        using TinyEngine tiny = new(TinyEngine.Exact with { ModelName = model });
        for (int i = 0; i < 2; i++)
        {
            Assert.Equal(60, tiny.Generate(TinyEngine.Prompt(i, 20), 60).Length);
        }
    }

    /// <summary>Whoever loads the model or asks first is not current on the engine's thread: nothing of a request stays there.</summary>
    [Fact]
    public void TheEnginesThreadBelongsToNobody()
    {
        using ActivitySource own = new("loader");
        using ActivityListener listener = new()
        {
            ShouldListenTo = source => source.Name is GemmaDiagnostics.Name or "loader",
            Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
        };
        ActivitySource.AddActivityListener(listener);
        using Activity? parent = own.StartActivity("caller");
        AsyncLocal<string> local = new() { Value = "the caller's" };
        using TinyEngine tiny = new();
        List<object?> seen = new();
        for (int i = 0; i < 2; i++)
        {
            Generation generation = tiny.Start(TinyEngine.Prompt(i, 10), 2, onToken: _ =>
            {
                seen.Add(Activity.Current);
                seen.Add(local.Value);
                return true;
            });
            Assert.Null(generation.Result.Error);
        }

        Assert.Equal(8, seen.Count);
        Assert.All(seen, Assert.Null);
        Assert.Same(parent, Activity.Current);
    }

    [Fact]
    public void SpanBelongsToTheCallerAndEndsWithTheRequest()
    {
        using ActivitySource own = new("test");
        ConcurrentQueue<Activity> ended = new();
        string model = Guid.NewGuid().ToString();
        using ActivityListener listener = new()
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
        using TinyEngine tiny = new(TinyEngine.Exact with { ModelName = model });
        using (Activity? parent = own.StartActivity("caller"))
        {
            Generation generation = tiny.Start(TinyEngine.Prompt(1, 20), 7);
            Assert.Same(parent, Activity.Current);
            Assert.Equal(EngineFinish.Length, generation.Result.Finish);
            Activity activity = Assert.Single(ended);
            Assert.Equal(parent!.SpanId, activity.ParentSpanId);
            Assert.Equal($"chat {model}", activity.DisplayName); // as the conventions name a span
            Assert.Equal("chat", activity.GetTagItem("gen_ai.operation.name"));
            Assert.Equal("gemma", activity.GetTagItem("gen_ai.provider.name"));
            Assert.Equal(7, activity.GetTagItem("gen_ai.usage.output_tokens"));
            Assert.Equal(20, activity.GetTagItem("gen_ai.usage.input_tokens"));
            Assert.Equal(0, activity.GetTagItem("gen_ai.usage.cache_read.input_tokens"));
        }

        Generation failed = tiny.Start(TinyEngine.Prompt(1, 20), 7, onToken: _ => throw new FormatException("x"));
        Assert.Equal(EngineFinish.Failed, failed.Result.Finish);
        Assert.Equal(ActivityStatusCode.Error, ended.Last().Status);
    }
}
