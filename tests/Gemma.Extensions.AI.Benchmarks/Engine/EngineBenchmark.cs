using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>What many conversations at once cost: batching, prefix reuse, gaps, cancellation, guessing ahead.</summary>
internal static class EngineBenchmark
{
    private static (string Name, Part Run)[] Parts =>
        [("lone", Lone), ("batch", Batch), ("prefix", Prefix), ("gap", Gap), ("cancel", Cancel), ("copy", Copy), ("plain", Plain)];

    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Model to run.", Required = true };
        Option<int?> threads = new("--threads") { Description = "Threads that compute; all physical cores where not given." };
        Option<string> part = new("--part") { Description = "lone, batch, prefix, gap, cancel, copy, plain; all of them where not given." };
        Option<int> tokens = new("--generate-tokens") { DefaultValueFactory = _ => 32, Description = "Tokens of each answer." };
        Option<int> prompt = new("--prompt-tokens") { DefaultValueFactory = _ => 3000, Description = "Tokens of the long prompts." };
        Command command = new("engine", "Concurrent chats, prefix reuse, gaps between tokens, cancellation and guessing ahead on one model.") { model, threads, part, tokens, prompt };
        command.SetAction(parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            string? only = parse.GetValue(part);
            foreach ((string name, Part run) in Parts)
            {
                if (only is null || only == name)
                {
                    Console.WriteLine($"## {name}");
                    run(parse.GetRequiredValue(model), parse.GetValue(threads), parse.GetValue(tokens), parse.GetValue(prompt));
                }
            }
        });
        return command;
    }

    /// <summary>What the engine costs a chat that is alone: against the forward pass in a loop, by turns.</summary>
    private static void Lone(string model, int? threads, int tokens, int promptTokens)
    {
        const int Rounds = 15;
        using BenchmarkEngine engine = new(model, new EngineOptions { SpeculativeTokens = 0, PrefixCache = false }, threads);
        engine.Start(engine.Prompt(0, 32), 4).Task.Wait();
        List<double> direct = new();
        List<double> scheduled = new();
        for (int i = 0; i < Rounds; i++)
        {
            direct.Add(engine.DecodeDirectly(engine.Prompt(i, 32), tokens));
            TimedRequest request = engine.Start(engine.Prompt(i, 32), tokens);
            request.Task.Wait();
            scheduled.Add((request.Times[^1] - request.Times[0]) / (request.Times.Count - 1));
        }

        double loop = direct.Order().ElementAt(Rounds / 2);
        double whole = scheduled.Order().ElementAt(Rounds / 2);
        double ratio = scheduled.Zip(direct, (a, b) => a / b).Order().ElementAt(Rounds / 2);
        Console.WriteLine(
            $"{1000 * loop:0.000} ms a token in a loop, {1000 * whole:0.000} ms in the engine: {100 * (whole / loop - 1):+0.0;-0.0}% (medians of {Rounds}); median of the rounds' ratios {100 * (ratio - 1):+0.0;-0.0}%; fastest {1000 * direct.Min():0.000} and {1000 * scheduled.Min():0.000} ms: {100 * (scheduled.Min() / direct.Min() - 1):+0.0;-0.0}%");
    }

    /// <summary>Total tokens a second of n chats while all of them generate.</summary>
    private static void Batch(string model, int? threads, int tokens, int promptTokens)
    {
        const int Rounds = 5;
        int[] sizes = [1, 2, 4, 8];
        using BenchmarkEngine engine = new(model, new EngineOptions { SpeculativeTokens = 0 }, threads);
        engine.Start(engine.Prompt(0, 32), 4).Task.Wait();
        Dictionary<int, List<double>> steps = sizes.ToDictionary(size => size, _ => new List<double>());
        for (int i = 0; i < Rounds * sizes.Length; i++) // by turns: the machine's memory is not equally fast all the time
        {
            int chats = sizes[i % sizes.Length];
            TimedRequest[] requests = Enumerable.Range(0, chats).Select(k => engine.Start(engine.Prompt(i * 100 + k, 16), tokens)).ToArray();
            Task.WaitAll(requests.Select(request => request.Task));
            steps[chats].Add(SecondsPerStep(requests));
        }

        foreach (int chats in sizes)
        {
            double[] sorted = steps[chats].Order().ToArray();
            Console.WriteLine(
                $"{chats} chats: {1000 * sorted[Rounds / 2]:0} ms a step, {chats / sorted[Rounds / 2]:0.00} tok/s in total, {Ratio(Rounds / 2):0.00} x; fastest round {1000 * sorted[0]:0} ms, {Ratio(0):0.00} x");

            double Ratio(int k) => chats * steps[1].Order().ElementAt(k) / sorted[k];
        }
    }

    /// <summary>
    /// Seconds a step while all sequences generate: from the second token of the one that began last to the end of the one that ended first. Steps are shared, so the tokens of
    /// one of them tell the time.
    /// </summary>
    private static double SecondsPerStep(TimedRequest[] requests)
    {
        TimedRequest last = requests.MaxBy(request => requests[0].Until(request) + request.Times[0])!;
        double end = requests.Min(request => last.Until(request) + request.Times[^1]);
        double[] times = [.. last.Times.Skip(1).Where(time => time <= end)];
        return times.Length > 3
            ? (times[^1] - times[0]) / (times.Length - 1)
            : throw new InvalidOperationException($"All {requests.Length} chats generated together for {times.Length} tokens, too few to tell the time. Raise --generate-tokens.");
    }

    /// <summary>Time to the first token of a second turn, against the cold one.</summary>
    private static void Prefix(string model, int? threads, int tokens, int promptTokens)
    {
        using BenchmarkEngine engine = new(model, new EngineOptions(), threads);
        engine.Start(engine.Prompt(0, 32), 4).Task.Wait();
        int[] prompt = engine.Prompt(1, promptTokens);
        TimedRequest cold = engine.Start(prompt, 16);
        cold.Task.Wait();
        TimedRequest warm = engine.Start([.. prompt, .. cold.Tokens, .. engine.Prompt(2, 20)[1..]], 16);
        warm.Task.Wait();
        Console.WriteLine($"cold {cold.Times[0]:0.00} s for {promptTokens:N0} tokens, warm {warm.Times[0]:0.00} s with {warm.Task.Result.CachedTokens:N0} of {warm.Task.Result.PromptTokens:N0} cached: {100 * warm.Times[0] / cold.Times[0]:0.0}%");
    }

    /// <summary>The largest gap between two tokens of a chat while another prompt is read.</summary>
    private static void Gap(string model, int? threads, int tokens, int promptTokens)
    {
        using BenchmarkEngine engine = new(model, new EngineOptions { SpeculativeTokens = 0 }, threads);
        engine.Start(engine.Prompt(0, 300), 4).Task.Wait();
        TimedRequest alone = engine.Start(engine.Prompt(3, 32), 16);
        alone.Task.Wait();
        using CancellationTokenSource enough = new();
        TimedRequest chat = engine.Start(engine.Prompt(1, 32), 4000, cancellation: enough.Token);
        Thread.Sleep(500);
        TimedRequest other = engine.Start(engine.Prompt(2, promptTokens / 4), 1);
        other.Task.Wait();
        enough.Cancel();
        chat.Task.Wait();
        Console.WriteLine($"largest gap {1000 * chat.LargestGap:0} ms while a prompt of {promptTokens / 4:N0} tokens is read in {other.CompletedAfter:0.0} s, {1000 * alone.LargestGap:0} ms alone");
    }

    /// <summary>From cancellation inside a prompt to the end of the request.</summary>
    private static void Cancel(string model, int? threads, int tokens, int promptTokens)
    {
        using BenchmarkEngine engine = new(model, new EngineOptions(), threads);
        engine.Start(engine.Prompt(0, 300), 4).Task.Wait();
        List<double> samples = new();
        for (int i = 0; i < 8; i++)
        {
            using CancellationTokenSource source = new();
            TimedRequest request = engine.Start(engine.Prompt(10 + i, 4000), 1, cancellation: source.Token);
            Thread.Sleep(700 + 137 * i);
            long start = Stopwatch.GetTimestamp();
            source.Cancel();
            request.Task.Wait();
            samples.Add(1000 * Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        Console.WriteLine($"cancelled after {string.Join(", ", samples.Select(ms => $"{ms:0}"))} ms");
    }

    /// <summary>An answer that copies its prompt, with and without guessing. A constraint makes the model copy; guesses are checked as ever.</summary>
    private static void Copy(string model, int? threads, int tokens, int promptTokens) =>
        Compare(model, threads, 2 * tokens, engine => (engine.Prompt(5, 200), new CopyConstraint(engine.Prompt(5, 200)[60..]), null));

    /// <summary>An answer in which nothing repeats (sampled from random weights), with and without guessing.</summary>
    private static void Plain(string model, int? threads, int tokens, int promptTokens) =>
        Compare(model, threads, 2 * tokens, engine => (engine.Prompt(5, 200), null, new SamplingOptions { Temperature = 1, TopK = 1000, Seed = 3 }));

    private static void Compare(string model, int? threads, int tokens, Func<BenchmarkEngine, (int[], ITokenConstraint?, SamplingOptions?)> request)
    {
        const int Rounds = 3;
        using BenchmarkEngine plain = new(model, new EngineOptions { SpeculativeTokens = 0 }, threads);
        using BenchmarkEngine guessing = new(model, new EngineOptions(), threads);
        Dictionary<BenchmarkEngine, List<double>> rates = new[] { plain, guessing }.ToDictionary(engine => engine, _ => new List<double>());
        for (int i = 0; i <= Rounds; i++)
        {
            foreach (BenchmarkEngine engine in (BenchmarkEngine[])[plain, guessing])
            {
                (int[] prompt, ITokenConstraint? constraint, SamplingOptions? sampling) = request(engine);
                TimedRequest run = engine.Start(prompt, i == 0 ? 4 : tokens, constraint, sampling: sampling);
                run.Task.Wait();
                if (i > 0)
                {
                    rates[engine].Add((run.Times.Count - 1) / (run.Times[^1] - run.Times[0]));
                }
            }
        }

        double Median(BenchmarkEngine engine) => rates[engine].Order().ElementAt(Rounds / 2);
        Console.WriteLine(
            $"plain {Median(plain):0.00} tok/s, guessing {Median(guessing):0.00} tok/s: {Median(guessing) / Median(plain):0.00} x; by round {string.Join(", ", rates[guessing].Zip(rates[plain], (a, b) => $"{a / b:0.00}"))}");
    }

    private delegate void Part(string model, int? threads, int tokens, int promptTokens);
}
