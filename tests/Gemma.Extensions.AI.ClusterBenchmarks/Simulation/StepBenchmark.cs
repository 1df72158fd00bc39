using System.Diagnostics;
using Gemma.Extensions.AI.Benchmarks;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>Measures the times of an engine's steps and writes what a simulation needs of them to a file.</summary>
internal static class StepBenchmark
{
    public static async Task<int> RunAsync(string path, string output, int rounds)
    {
        using StepMeter meter = await StepMeter.CreateAsync(path);
        StepTimes fitted = await meter.MeasureAsync(rounds, Console.WriteLine);
        fitted.Save(output);
        return 0;
    }
}

/// <summary>
/// Measures how long steps of the real engine take on one thread, in processor time of that thread, which other programs disturb little: prompts of so many rows, so many sequences that generate, and long
/// contexts. Tokens become text and are read as those of answers are. It keeps two engines, the second to compute beside the first, so that it can measure again at once.
/// </summary>
internal sealed class StepMeter : IDisposable
{
    private const int MostSequences = 16;
    private static readonly int[] s_rows = [1, 2, 3, 4, 6, 8, 12, 16, 32, 48, 64, 96, 128, 256];

    private readonly string _name;
    private readonly GemmaModel _model;
    private readonly GemmaModel _other;
    private readonly Random _random = new(11);

    private StepMeter(string path) => (_name, _model, _other) = (Path.GetFileName(path), Load(path), Load(path));

    /// <summary>Loads a model twice, and computes until no code is compiled any more.</summary>
    public static async Task<StepMeter> CreateAsync(string path)
    {
        StepMeter meter = new(path);
        await meter.SettleAsync();
        return meter;
    }

    public void Dispose()
    {
        _model.Dispose();
        _other.Dispose();
    }

    /// <summary>Measures all times.</summary>
    /// <param name="rounds">Times that each is measured; their median counts.</param>
    /// <param name="say">Told of each; null: nobody is.</param>
    public async Task<StepTimes> MeasureAsync(int rounds, Action<string>? say = null)
    {
        int window = _model.Config.SlidingWindow;
        StepTimes shape = new("", window, [], [], 0, 0, 0);
        double[] prompts = new double[s_rows.Length];
        for (int i = 0; i < s_rows.Length; i++)
        {
            prompts[i] = await PromptsAsync(s_rows[i], rounds);
        }

        Dictionary<int, double> generating = [];
        foreach (int sequences in s_rows.Where(rows => rows <= MostSequences))
        {
            generating[sequences] = await GeneratingAsync(sequences, 32, rounds);
        }

        int far = Math.Min(1024, _model.Engine.ContextLength) - 64, chunk = s_rows[^1];
        double attended = Math.Max(0, (await GeneratingAsync(2, far, rounds) - generating[2]) / (2 * (shape.AttendedBy(far + 8, 1) - shape.AttendedBy(40, 1))));
        double together = Math.Max(0, (await PromptsAsync(3 * chunk, Math.Max(2, rounds / 4)) - (3 * prompts[^1])) / (shape.AttendedBy(0, 3 * chunk) - (3 * shape.AttendedBy(0, chunk))));
        double request = Math.Max(0, prompts[0] - generating[1]); // what a request costs the engine beside its step
        double[] plain = [.. s_rows.Select((rows, i) => generating.TryGetValue(rows, out double seconds) ? seconds - (attended * rows * shape.AttendedBy(40, 1)) : prompts[i] - request - (together * shape.AttendedBy(0, rows)))];
        double logit = Math.Max(0, generating.Where(pair => pair.Key > 1).Sum(pair => pair.Value - (attended * pair.Key * shape.AttendedBy(40, 1)) - (prompts[Array.IndexOf(s_rows, pair.Key)] - request - (together * shape.AttendedBy(0, pair.Key)))) / generating.Keys.Where(count => count > 1).Sum(count => count - 1));
        StepTimes fitted = new($"{_name}, one thread, median of {rounds} in processor time", window, s_rows, [.. plain.Select((seconds, i) => seconds - (logit * (s_rows[i] <= MostSequences ? s_rows[i] : 1)))], logit, attended, together)
        {
            Request = request,
            Beside = await BesideAsync(rounds),
        };
        for (int i = 0; i < s_rows.Length; i++)
        {
            string said = generating.TryGetValue(s_rows[i], out double measured) ? $"; generating {measured * 1e3:0.000}, fitted {fitted.Of(s_rows[i], s_rows[i], attended * s_rows[i] * shape.AttendedBy(40, 1)) * 1e3:0.000}" : "";
            say?.Invoke($"{s_rows[i],4} rows: a prompt {prompts[i] * 1e3:0.000} ms{said}");
        }

        say?.Invoke($"a request {request * 1e3:0.000} ms, logits of a row {logit * 1e6:0.0} µs, a row and a token that it attends to {attended * 1e9:0.00} ns, in prompts {together * 1e9:0.00}; while another core computes {fitted.Beside:0.00} times as long");
        return fitted;
    }

    private static GemmaModel Load(string path) => GemmaModel.Load(path, new GemmaOptions { Threads = 1, SpeculativeTokens = 0, MaxConcurrentRequests = MostSequences });

    /// <summary>Computes until code is compiled no more: what is used often is compiled once more, better, while it runs.</summary>
    private async Task SettleAsync()
    {
        TimeSpan stretch = TimeSpan.FromSeconds(2);
        for (double share = 1; share > 0.01;)
        {
            (long began, double compiled) = (Stopwatch.GetTimestamp(), ThreadTimes.OfThisProcess().Compiler);
            while (Stopwatch.GetElapsedTime(began) < stretch)
            {
                foreach (int rows in s_rows)
                {
                    await PromptAsync(_model, _random, rows);
                    await GenerateAsync(_model, _random, Math.Min(rows, MostSequences), 32);
                }
            }

            share = (ThreadTimes.OfThisProcess().Compiler - compiled) / Stopwatch.GetElapsedTime(began).TotalSeconds;
        }
    }

    /// <summary>How many times as long steps take while the other engine computes on another core.</summary>
    private async Task<double> BesideAsync(int rounds)
    {
        double[] alone = [await PromptsAsync(64, rounds), await GeneratingAsync(4, 32, rounds)];
        using CancellationTokenSource stop = new();
        Task computing = Task.Run(async () =>
        {
            Random dice = new(12);
            while (!stop.IsCancellationRequested)
            {
                await GenerateAsync(_other, dice, 4, 32);
                await PromptAsync(_other, dice, 64);
            }
        });
        await GenerateAsync(_model, _random, 4, 32); // until the other one has begun
        double[] beside = [await PromptsAsync(64, rounds), await GeneratingAsync(4, 32, rounds)];
        await stop.CancelAsync();
        await computing;
        return Math.Max(1, alone.Zip(beside).Average(pair => pair.Second / pair.First));
    }

    private async Task<double> PromptsAsync(int rows, int rounds)
    {
        List<double> times = [];
        for (int round = 0; round < rounds; round++)
        {
            times.Add(await PromptAsync(_model, _random, rows));
        }

        return Median(times);
    }

    private async Task<double> GeneratingAsync(int sequences, int context, int rounds)
    {
        List<double> times = [];
        for (int round = 0; round < Math.Max(1, rounds / 4); round++)
        {
            times.AddRange(await GenerateAsync(_model, _random, sequences, context));
        }

        return Median(times);
    }

    private static double Median(List<double> times) => times.Order().ElementAt((times.Count - 1) / 2);

    /// <summary>Seconds of the steps that read a prompt and draw a token.</summary>
    private static async Task<double> PromptAsync(GemmaModel model, Random random, int rows)
    {
        Probe before = new(model, 1, null), probe = new(model, 1, null);
        await SubmitAsync(model, random, 1, before);
        await SubmitAsync(model, random, rows, probe);
        return (probe.Times[0] - before.EndedAt) / 1e6;
    }

    /// <summary>Seconds of each step of sequences that generate behind prompts of some tokens.</summary>
    private static async Task<IEnumerable<double>> GenerateAsync(GemmaModel model, Random random, int sequences, int context)
    {
        Together together = new(sequences);
        Probe[] probes = [.. Enumerable.Range(0, sequences).Select(_ => new Probe(model, int.MaxValue, together))];
        await Task.WhenAll(probes.Select(probe => SubmitAsync(model, random, context, probe)));
        return probes[0].Times.Zip(probes[0].Times.Skip(1)).Select(pair => (pair.Second - pair.First) / 1e6);
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

    /// <summary>An answer that is read, and the engine's processor time at each of its tokens.</summary>
    private sealed class Probe : GenerationSink
    {
        private readonly AnswerSink _answer;
        private readonly int _most;
        private readonly Together? _together;
        private readonly Task _reading;
        private int _count;

        public Probe(GemmaModel model, int most, Together? together)
        {
            (_answer, _most, _together) = (new AnswerSink(model.Tokenizer, [], mayCall: false, textIsFree: false, keepsTokens: true), most, together);
            _reading = Task.Run(async () =>
            {
                await foreach (AnswerPart part in _answer.Parts.ReadAllAsync())
                {
                    GC.KeepAlive(part);
                }
            });
        }

        public List<double> Times { get; } = [];

        public double EndedAt { get; private set; }

        public Task Ended => _reading;

        public override bool OnToken(int token)
        {
            _answer.OnToken(token);
            if (_together is not null && ++_count == 1)
            {
                _together.Missing--;
            }

            if (_together is null or { Missing: 0 })
            {
                Times.Add(ProcessorTime.Microseconds());
            }

            return Times.Count < _most && Times.Count < Together.Steps;
        }

        public override void OnCompleted(GenerationResult result)
        {
            EndedAt = ProcessorTime.Microseconds();
            _answer.OnCompleted(result);
        }
    }
}
