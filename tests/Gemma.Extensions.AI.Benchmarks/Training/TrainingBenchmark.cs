using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Benchmarks.Training;

/// <summary>The float32 product against the machine's measured FMA peak, and trained tokens per second of a two-million-parameter model.</summary>
internal static unsafe class TrainingBenchmark
{
    private const int FmaSteps = 500_000;
    private const double FmaPeakFlops = FmaSteps * 10.0 * 32;

    public static Command Create()
    {
        Option<int> threads = new("--threads") { DefaultValueFactory = _ => Environment.ProcessorCount };
        Command command = new("training", "Matrix products against the FMA peak; trained tokens per second.") { threads };
        command.SetAction(parse => Run(parse.GetValue(threads)));
        return command;
    }

    private static void Run(int threads)
    {
        Speeds peaks = new();
        Print($"""
            # Training

            .NET {Environment.Version}, {threads} threads. A product runs as training runs it, one micro-batch of 2,048 tokens a thread; the head takes its rows in blocks of 256. Threads share nothing but
            the weights. For 1.5 seconds, the product and fused multiply-adds in registers, the peak, take turns of a few milliseconds that all threads start together; the speeds of the
            threads are added. Median, and best: other guests of the same host take their share of core, cache and memory, least where both are best.

            | layer | product | m x n x k | Gflop/s, median | peak, median | of peak | Gflop/s, best | peak, best | of peak |
            |---|---|---|---|---|---|---|---|---|
            """);
        foreach ((string layer, int m, int n, int k) in new[]
        {
            ("q, k, v", 2048, 320, 192), ("attention output", 2048, 192, 192), ("gate and up", 2048, 768, 192), ("down", 2048, 192, 384), ("head", 256, 2048, 192), ("(1024 cubed)", 1024, 1024, 1024),
        })
        {
            Products(layer, m, n, k, threads, peaks);
        }

        TokensPerSecond(threads, peaks);
    }

    /// <summary>A linear layer of n outputs and k inputs over m rows: forward, input gradient, weight gradient. The peaks seen are added to all peaks.</summary>
    private static void Products(string layer, int m, int n, int k, int threads, Speeds allPeaks)
    {
        FloatBuffer w = new((long)n * k);
        (FloatBuffer X, FloatBuffer Y, FloatBuffer Gradient)[] own = [.. Enumerable.Range(0, threads).Select(_ => (new FloatBuffer((long)m * k), new FloatBuffer((long)m * n), new FloatBuffer((long)n * k)))];
        double flops = 2.0 * m * n * k;
        Report("X·Wᵀ (forward)", t => Gemm.NT(m, n, k, own[t].X.Pointer, k, w.Pointer, k, own[t].Y.Pointer, n, accumulate: false));
        Report("dY·W (input gradient)", t => Gemm.NN(m, k, n, own[t].Y.Pointer, n, w.Pointer, k, own[t].X.Pointer, k, accumulate: false));
        Report("dYᵀ·X (weight gradient)", t => Gemm.TN(n, k, m, own[t].Y.Pointer, n, own[t].X.Pointer, k, own[t].Gradient.Pointer, k, accumulate: true));

        void Report(string product, Action<int> run)
        {
            int repeats = (int)Math.Max(1, 3e8 / flops);
            Speeds speeds = new();
            Speeds peaks = new();
            for (Stopwatch watch = Stopwatch.StartNew(); watch.Elapsed.TotalSeconds < 1.5;)
            {
                double peak = Turn(threads, FmaPeak, FmaPeakFlops);
                peaks.Add(peak);
                allPeaks.Add(peak);
                speeds.Add(Turn(threads, t =>
                {
                    for (int i = 0; i < repeats; i++)
                    {
                        run(t);
                    }
                }, flops * repeats));
            }

            Print($"| {layer} | {product} | {m} x {n} x {k} | {speeds.Median:F0} | {peaks.Median:F0} | {speeds.Median / peaks.Median:F2} | {speeds.Best:F0} | {peaks.Best:F0} | {speeds.Best / peaks.Best:F2} |");
        }
    }

    /// <summary>Gflop/s of all threads, which begin together; each is timed by itself.</summary>
    private static double Turn(int threads, Action<int> run, double flops)
    {
        double[] speeds = new double[threads];
        int ready = 0;
        Thread[] others = [.. Enumerable.Range(1, threads - 1).Select(t => new Thread(() => Time(t)))];
        Array.ForEach(others, thread => thread.Start());
        Time(0);
        Array.ForEach(others, thread => thread.Join());
        return speeds.Sum();

        void Time(int t)
        {
            Interlocked.Increment(ref ready);
            while (Volatile.Read(ref ready) < threads)
            {
            }

            Stopwatch watch = Stopwatch.StartNew();
            run(t);
            speeds[t] = flops / watch.Elapsed.TotalSeconds / 1e9;
        }
    }

    private static void Print(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));

    /// <summary>Ten independent chains of fused multiply-adds.</summary>
    private static void FmaPeak(int thread)
    {
        Vector512<float> x = Vector512.Create(1.0001f), y = Vector512.Create(1e-9f);
        Vector512<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
        for (int s = 0; s < FmaSteps; s++)
        {
            a = Vector512.FusedMultiplyAdd(a, x, y);
            b = Vector512.FusedMultiplyAdd(b, x, y);
            c = Vector512.FusedMultiplyAdd(c, x, y);
            d = Vector512.FusedMultiplyAdd(d, x, y);
            e = Vector512.FusedMultiplyAdd(e, x, y);
            f = Vector512.FusedMultiplyAdd(f, x, y);
            g = Vector512.FusedMultiplyAdd(g, x, y);
            h = Vector512.FusedMultiplyAdd(h, x, y);
            i = Vector512.FusedMultiplyAdd(i, x, y);
            j = Vector512.FusedMultiplyAdd(j, x, y);
        }

        GC.KeepAlive(Vector512.Sum(a + b + c + d + e + f + g + h + i + j));
    }

    /// <summary>A model of two million parameters, and documents of random tokens for it.</summary>
    public static TrainingModel CreateModel(out TrainingDocument[] documents)
    {
        TrainingModel model = new(new GemmaConfig
        {
            VocabularySize = 2048, HiddenSize = 192, FeedForwardSize = 384, LayerCount = 5, HeadCount = 6, KvHeadCount = 2, HeadDim = 32, ContextLength = 1024,
            SlidingWindow = 128, RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 1 / MathF.Sqrt(32), AttentionSoftcap = 50, FinalSoftcap = 30,
        });
        model.Initialize(1);
        Random random = new(1);
        documents = [.. Enumerable.Range(0, 256).Select(_ => new TrainingDocument([.. Enumerable.Range(0, 256).Select(_ => random.Next(2048))]))];
        return model;
    }

    private static void TokensPerSecond(int threads, Speeds peaks)
    {
        TrainingModel model = CreateModel(out TrainingDocument[] documents);
        Print($"""

            {model.Config.ParameterCount:N0} parameters, documents of 256 tokens, loss on every token, updates of 8,192 tokens. The goal, 8,000 trained tokens/s where the peak is 228 Gflop/s,
            is {8000 * peaks.Median / 228:N0} at the median of all peaks above, {peaks.Median:F0} Gflop/s, and {8000 * peaks.Best / 228:N0} at the best, {peaks.Best:F0} Gflop/s. Ten updates, each timed by itself.

            | tokens of a micro-batch | trained tokens/s, median | best | buffers, calculated |
            |---|---|---|---|
            """);
        foreach (int micro in new[] { 512, 1024, 2048 })
        {
            GemmaTrainingOptions options = new(steps: 1000) { MicroBatchTokens = micro, MicroBatches = 8192 / micro, MaxLength = 256, Threads = threads };
            Trainer trainer = new(model, new DocumentSet(documents, 1), options);
            trainer.Run(1);
            Speeds speeds = new();
            for (int update = 2; update <= 11; update++)
            {
                Stopwatch watch = Stopwatch.StartNew();
                int tokens = 0;
                trainer.Run(update, new SynchronousProgress<GemmaTrainingProgress>(p => tokens = p.Tokens));
                speeds.Add(tokens / watch.Elapsed.TotalSeconds);
            }

            Print($"| {micro:N0} | {speeds.Median:N0} | {speeds.Best:N0} | {Trainer.Bytes(model.Config, options) / 1e6:F0} MB |");
        }

        Print($"""

            Peak working set of the benchmark process: {Process.GetCurrentProcess().PeakWorkingSet64 / 1e6:F0} MB. Reproduce: `dotnet run -c Release --project tests/Gemma.Extensions.AI.Benchmarks -- training`
            """);
    }

    /// <summary>Speeds of many turns.</summary>
    private sealed class Speeds
    {
        private readonly List<double> _all = [];

        public double Median => _all.Order().ElementAt(_all.Count / 2);

        public double Best => _all.Max();

        public void Add(double speed) => _all.Add(speed);
    }
}
