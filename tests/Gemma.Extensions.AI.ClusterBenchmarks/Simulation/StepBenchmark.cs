using Gemma.Extensions.AI.Benchmarks;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>
/// Measures how long steps of the real engine take on one thread, in processor time of that thread, which other programs disturb little: prompts of so many rows, so many sequences that generate, and long
/// contexts. What a simulation needs of it is fitted and written to a file.
/// </summary>
internal static class StepBenchmark
{
    private const int MostSequences = 16;
    private static readonly int[] s_rows = [1, 2, 4, 8, 16, 32, 64, 128, 256];

    public static async Task<int> RunAsync(string path, string output, int rounds)
    {
        using GemmaModel model = GemmaModel.Load(path, new GemmaOptions { Threads = 1, SpeculativeTokens = 0, MaxConcurrentRequests = MostSequences });
        int window = model.Config.SlidingWindow;
        StepTimes shape = new("", window, [], [], 0, 0, 0);
        Random random = new(11);
        await PromptAsync(model, random, 64); // memory and code are touched before anything counts
        await GenerateAsync(model, random, 2, 16);
        double[] prompts = new double[s_rows.Length];
        for (int i = 0; i < s_rows.Length; i++)
        {
            List<double> times = [];
            for (int round = 0; round < rounds; round++)
            {
                times.Add(await PromptAsync(model, random, s_rows[i]));
            }

            prompts[i] = times.Min();
        }

        Dictionary<int, double> generating = [];
        foreach (int sequences in s_rows.Where(rows => rows <= MostSequences))
        {
            generating[sequences] = await GenerateAsync(model, random, sequences, 32);
        }

        int far = Math.Min(1024, model.Engine.ContextLength) - 64, chunk = s_rows[^1];
        double attended = Math.Max(0, (await GenerateAsync(model, random, 2, far) - generating[2]) / (2 * (shape.AttendedBy(far + 8, 1) - shape.AttendedBy(40, 1))));
        double together = Math.Max(0, (Math.Min(await PromptAsync(model, random, 3 * chunk), await PromptAsync(model, random, 3 * chunk)) - (3 * prompts[^1])) / (shape.AttendedBy(0, 3 * chunk) - (3 * shape.AttendedBy(0, chunk))));
        double request = Math.Max(0, prompts[0] - generating[1]); // what a request costs beside its step; calls have it among their costs
        double[] plain = [.. s_rows.Select((rows, i) => generating.TryGetValue(rows, out double seconds) ? seconds - (attended * rows * shape.AttendedBy(40, 1)) : prompts[i] - request - (together * shape.AttendedBy(0, rows)))];
        double logit = Math.Max(0, generating.Where(pair => pair.Key > 1).Sum(pair => pair.Value - (attended * pair.Key * shape.AttendedBy(40, 1)) - (prompts[Array.IndexOf(s_rows, pair.Key)] - request - (together * shape.AttendedBy(0, pair.Key)))) / generating.Keys.Where(count => count > 1).Sum(count => count - 1));
        StepTimes fitted = new($"{Path.GetFileName(path)}, one thread, least of {rounds} in processor time", window, s_rows, [.. plain.Select((seconds, i) => seconds - (logit * (s_rows[i] <= MostSequences ? s_rows[i] : 1)))], logit, attended, together);
        fitted.Save(output);
        for (int i = 0; i < s_rows.Length; i++)
        {
            string said = generating.TryGetValue(s_rows[i], out double measured) ? $"; generating {measured * 1e3:0.000}, fitted {fitted.Of(s_rows[i], s_rows[i], attended * s_rows[i] * shape.AttendedBy(40, 1)) * 1e3:0.000}" : "";
            Console.WriteLine($"{s_rows[i],4} rows: a prompt {prompts[i] * 1e3:0.000} ms{said}");
        }

        Console.WriteLine($"a request {request * 1e3:0.000} ms, logits of a row {logit * 1e6:0.0} µs, a row and a token that it attends to {attended * 1e9:0.00} ns, in prompts {together * 1e9:0.00}");
        return 0;
    }

    /// <summary>Seconds of the steps that read a prompt and draw a token.</summary>
    private static async Task<double> PromptAsync(GemmaModel model, Random random, int rows)
    {
        Probe before = new(1, null), probe = new(1, null);
        await SubmitAsync(model, random, 1, before);
        await SubmitAsync(model, random, rows, probe);
        return (probe.Times[0] - before.EndedAt) / 1e6;
    }

    /// <summary>Seconds of a step of sequences that generate behind prompts of some tokens.</summary>
    private static async Task<double> GenerateAsync(GemmaModel model, Random random, int sequences, int context)
    {
        Together together = new(sequences);
        Probe[] probes = [.. Enumerable.Range(0, sequences).Select(_ => new Probe(int.MaxValue, together))];
        await Task.WhenAll(probes.Select(probe => SubmitAsync(model, random, context, probe)));
        return probes[0].Times.Zip(probes[0].Times.Skip(1)).Min(pair => (pair.Second - pair.First) / 1e6);
    }

    private static Task SubmitAsync(GemmaModel model, Random random, int tokens, Probe probe)
    {
        model.Engine.Submit(new GenerationRequest
        {
            Prompt = [.. Enumerable.Range(0, tokens).Select(_ => random.Next(300, 2000))],
            Sink = probe,
            Sampling = new SamplingOptions { Temperature = 0 },
            MaxOutputTokens = 200,
        });
        return probe.Ended;
    }

    /// <summary>Sequences that end together, once all of them have generated for so many steps.</summary>
    private sealed class Together(int count)
    {
        public const int Steps = 16;

        public int Missing { get; set; } = count;
    }

    /// <summary>Notes the engine's processor time at each token.</summary>
    private sealed class Probe(int most, Together? together) : GenerationSink
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _count;

        public List<double> Times { get; } = [];

        public double EndedAt { get; private set; }

        public Task Ended => _ended.Task;

        public override bool OnToken(int token)
        {
            if (together is not null && ++_count == 1)
            {
                together.Missing--;
            }

            if (together is null or { Missing: 0 })
            {
                Times.Add(ProcessorTime.Microseconds());
            }

            return Times.Count < most && Times.Count < Together.Steps;
        }

        public override void OnCompleted(GenerationResult result)
        {
            EndedAt = ProcessorTime.Microseconds();
            _ended.SetResult();
        }
    }
}
