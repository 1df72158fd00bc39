using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Grammar;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>
/// Thousands of requests, many at a time: random lengths and shared beginnings, cancellations, early breaks, JSON grammars, tool-call-like
/// grammars, key/value memory that is too small for all of them. Every text must be the one that the request gets alone, and nothing may stay behind.
/// </summary>
internal static class SoakBenchmark
{
    private const int Kinds = 240;

    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Model to run; the tiny reference model is meant.", Required = true };
        Option<int> requests = new("--requests") { DefaultValueFactory = _ => 10_000, Description = "Requests in total." };
        Option<int> concurrent = new("--concurrent") { DefaultValueFactory = _ => 32, Description = "Requests at a time." };
        Option<int> blocks = new("--kv-megabytes") { DefaultValueFactory = _ => 8, Description = "Key/value memory; small enough that sequences have to give way." };
        Command command = new("soak", "Thousands of concurrent requests: no mixed output, no leak, no block left behind.") { model, requests, concurrent, blocks };
        command.SetAction(parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            return RunAsync(parse.GetRequiredValue(model), parse.GetValue(requests), parse.GetValue(concurrent), parse.GetValue(blocks)).GetAwaiter().GetResult();
        });
        return command;
    }

    private sealed record Kind(int[] Prompt, int Length, SamplingOptions Sampling, Grammar.Grammar? Grammar, int[] Expected);

    private static async Task<int> RunAsync(string model, int requests, int concurrent, int megabytes)
    {
        var loaded = GemmaModel.Load(model);
        var compiler = GrammarCompiler.For(loaded.Tokenizer);
        int[] stops = [loaded.Tokenizer.EosId, loaded.Tokenizer.EndOfTurnId];
        Kind[] kinds;
        using (var solo = new BenchmarkEngine(model, new EngineOptions { KvType = KvType.F16, PrefixCache = false, SpeculativeTokens = 0, MaxConcurrentRequests = 1 }, null))
        {
            kinds = [.. Enumerable.Range(0, Kinds).Select(i => MakeKind(solo, compiler, stops, i))];
        }

        using var engine = new BenchmarkEngine(
            model, new EngineOptions { KvType = KvType.F16, KvCacheBytes = (long)megabytes << 20, MaxConcurrentRequests = concurrent }, null);
        int started = 0, wrong = 0, cancelled = 0, broken = 0, failed = 0;
        long tokens = 0, cached = 0;
        var memory = new List<(int Requests, long Managed, long Resident)>();
        var clock = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, concurrent).Select(worker => Task.Run(async () =>
        {
            var random = new Random(worker);
            while (Interlocked.Increment(ref started) is int number && number <= requests)
            {
                if (number % (requests / 10) == 0)
                {
                    lock (memory)
                    {
                        memory.Add((number, GC.GetTotalMemory(forceFullCollection: true), Environment.WorkingSet));
                    }
                }

                await OneAsync(kinds[random.Next(Kinds)], random);
            }
        })));

        async Task OneAsync(Kind kind, Random random)
        {
            using var source = new CancellationTokenSource();
            int chance = random.Next(10);
            int stopAfter = chance == 0 ? random.Next(1, kind.Length + 1) : int.MaxValue;
            var request = new TimedRequest(stopAfter);
            engine.Engine.Submit(new GenerationRequest
            {
                Prompt = kind.Prompt,
                Sink = request,
                MaxOutputTokens = kind.Length,
                StopTokens = stops,
                Sampling = kind.Sampling,
                Constraint = kind.Grammar?.CreateConstraint(stops),
                Caller = $"caller {random.Next(4)}",
                Priority = random.Next(2),
                CancellationToken = source.Token,
            });
            if (chance == 1)
            {
                await Task.Delay(random.Next(40));
                source.Cancel();
            }

            var result = await request.Task;
            bool whole = result.Finish is EngineFinish.Length || (result.Finish is EngineFinish.Stop && request.Tokens.Count < stopAfter);
            bool right = request.Tokens.SequenceEqual(whole ? kind.Expected : kind.Expected.Take(request.Tokens.Count));
            Interlocked.Add(ref wrong, right ? 0 : 1);
            Interlocked.Add(ref cancelled, result.Finish == EngineFinish.Cancelled ? 1 : 0);
            Interlocked.Add(ref broken, stopAfter < int.MaxValue ? 1 : 0);
            Interlocked.Add(ref failed, result.Finish == EngineFinish.Failed ? 1 : 0);
            Interlocked.Add(ref tokens, result.GeneratedTokens);
            Interlocked.Add(ref cached, result.CachedTokens);
        }

        var status = engine.Engine.Status;
        Console.WriteLine($"{requests:N0} requests, {concurrent} at a time, in {clock.Elapsed.TotalSeconds:0.0} s: {tokens:N0} tokens generated, {cached:N0} prompt tokens from the cache");
        Console.WriteLine($"{cancelled:N0} cancelled, {broken:N0} broken off, {status.Preemptions:N0} preemptions");
        Console.WriteLine($"wrong texts {wrong:N0}, failed {failed:N0}, blocks held at the end {status.UsedBlocks:N0} of {status.Blocks:N0}");
        foreach (var (number, managed, resident) in memory.OrderBy(sample => sample.Requests))
        {
            Console.WriteLine($"after {number,6:N0} requests: managed {managed / 1e6:0.0} MB, resident {resident / 1e6:0.0} MB");
        }

        loaded.Dispose();
        return wrong + failed + status.UsedBlocks == 0 ? 0 : 1;
    }

    /// <summary>A request and the text that it gets alone.</summary>
    private static Kind MakeKind(BenchmarkEngine solo, GrammarCompiler compiler, int[] stops, int i)
    {
        var random = new Random(i);
        int[] stem = solo.Prompt(i % 12, 150);
        int[] prompt = [.. stem[..random.Next(1, 151)], .. solo.Prompt(1000 + i, random.Next(2, 80))];
        var sampling = i % 3 == 0 ? new SamplingOptions { Temperature = 0 } : new SamplingOptions { Temperature = 0.8f, TopK = 40, RepetitionPenalty = i % 2 == 0 ? 1 : 1.1f, Seed = i };
        var grammar = (i % 8) switch
        {
            0 => compiler.JsonSchema(JsonElement.Parse("""{"type":"object","properties":{"city":{"type":"string","maxLength":12},"days":{"type":"integer","minimum":1,"maximum":9}},"required":["city","days"],"additionalProperties":false}""")),
            1 => compiler.Regex("""<tool_call>\{"name":"(get_weather|get_time)","arguments":\{"city":"[a-z]{1,8}"\}\}</tool_call>"""),
            _ => null,
        };
        int length = random.Next(1, 60);
        var request = new TimedRequest(int.MaxValue);
        solo.Engine.Submit(new GenerationRequest
        {
            Prompt = prompt,
            Sink = request,
            MaxOutputTokens = length,
            StopTokens = stops,
            Sampling = sampling,
            Constraint = grammar?.CreateConstraint(stops),
        });
        var result = request.Task.GetAwaiter().GetResult();
        return result.Error is null ? new Kind(prompt, length, sampling, grammar, [.. request.Tokens]) : throw result.Error;
    }
}
