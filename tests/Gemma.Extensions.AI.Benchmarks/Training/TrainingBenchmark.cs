using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Benchmarks.Training;

/// <summary>The float32 product against the machine's measured FMA peak, and trained tokens per second of a two-million-parameter model.</summary>
internal static unsafe class TrainingBenchmark
{
    public static Command Create()
    {
        var threads = new Option<int>("--threads") { DefaultValueFactory = _ => Environment.ProcessorCount };
        var command = new Command("training", "Matrix products against the FMA peak; trained tokens per second.") { threads };
        command.SetAction(parse => Run(parse.GetValue(threads)));
        return command;
    }

    private static void Run(int threads)
    {
        double peak = Best(() => FmaPeak(threads));
        Print($"""
            # Training

            .NET {Environment.Version}, {threads} threads. float32 FMA peak, measured in registers: {peak:F0} Gflop/s. A product runs as training runs it, one micro-batch a thread
            of 2,048 tokens; the head takes its rows in blocks of 256. Threads share nothing but the weights. The best of many measurements of some milliseconds.

            | layer | product | m x n x k | Gflop/s | of peak |
            |---|---|---|---|---|
            """);
        foreach ((string layer, int m, int n, int k) in new[]
        {
            ("q, k, v", 2048, 320, 192), ("attention output", 2048, 192, 192), ("gate and up", 2048, 768, 192), ("down", 2048, 192, 384), ("head", 256, 2048, 192), ("(1024 cubed)", 1024, 1024, 1024),
        })
        {
            Products(layer, m, n, k, threads, peak);
        }

        TokensPerSecond(threads, peak);
    }

    /// <summary>A linear layer of n outputs and k inputs over m rows: forward, input gradient, weight gradient.</summary>
    private static void Products(string layer, int m, int n, int k, int threads, double peak)
    {
        var w = new FloatBuffer((long)n * k);
        (FloatBuffer X, FloatBuffer Y, FloatBuffer Gradient)[] own = [.. Enumerable.Range(0, threads).Select(_ => (new FloatBuffer((long)m * k), new FloatBuffer((long)m * n), new FloatBuffer((long)n * k)))];
        Report("X·Wᵀ (forward)", t => Gemm.NT(m, n, k, own[t].X.Pointer, k, w.Pointer, k, own[t].Y.Pointer, n, accumulate: false));
        Report("dY·W (input gradient)", t => Gemm.NN(m, k, n, own[t].Y.Pointer, n, w.Pointer, k, own[t].X.Pointer, k, accumulate: false));
        Report("dYᵀ·X (weight gradient)", t => Gemm.TN(n, k, m, own[t].Y.Pointer, n, own[t].X.Pointer, k, own[t].Gradient.Pointer, k, accumulate: true));

        void Report(string product, Action<int> run)
        {
            int repeats = (int)Math.Max(1, 5e8 / (2.0 * m * n * k));
            double speed = Best(() =>
            {
                var watch = Stopwatch.StartNew();
                Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, t =>
                {
                    for (int i = 0; i < repeats; i++)
                    {
                        run(t);
                    }
                });
                return 2.0 * m * n * k * repeats * threads / watch.Elapsed.TotalSeconds / 1e9;
            });
            Print($"| {layer} | {product} | {m} x {n} x {k} | {speed:F0} | {speed / peak:F2} |");
        }
    }

    private static void Print(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));

    /// <summary>Ten independent chains of fused multiply-adds a thread.</summary>
    private static double FmaPeak(int threads)
    {
        const long Steps = 2_000_000;
        var watch = Stopwatch.StartNew();
        Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, _ =>
        {
            Vector512<float> x = Vector512.Create(1.0001f), y = Vector512.Create(1e-9f);
            Vector512<float> a = x, b = x, c = x, d = x, e = x, f = x, g = x, h = x, i = x, j = x;
            for (long s = 0; s < Steps; s++)
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
        });
        return threads * Steps * 10.0 * 32 / watch.Elapsed.TotalSeconds / 1e9;
    }

    private static void TokensPerSecond(int threads, double peak)
    {
        var model = new TrainingModel(new GemmaConfig
        {
            VocabularySize = 2048, HiddenSize = 192, FeedForwardSize = 384, LayerCount = 5, HeadCount = 6, KvHeadCount = 2, HeadDim = 32, ContextLength = 1024,
            SlidingWindow = 128, RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 1 / MathF.Sqrt(32), AttentionSoftcap = 50, FinalSoftcap = 30,
        });
        model.Initialize(1);
        var random = new Random(1);
        TrainingDocument[] documents = [.. Enumerable.Range(0, 256).Select(_ => new TrainingDocument([.. Enumerable.Range(0, 256).Select(_ => random.Next(2048))]))];
        Print($"""

            {model.Config.ParameterCount:N0} parameters, documents of 256 tokens, loss on every token, updates of 8,192 tokens. The goal, 8,000 trained tokens/s where the peak is 228 Gflop/s, is {8000 * peak / 228:N0} here.

            | tokens of a micro-batch | trained tokens/s | buffers, calculated |
            |---|---|---|
            """);
        foreach (int micro in new[] { 512, 1024, 2048 })
        {
            var options = new TrainingOptions { Steps = 1000, MicroBatchTokens = micro, MicroBatches = 8192 / micro, MaxLength = 256, Threads = threads };
            var trainer = new Trainer(model, new DocumentSet(documents, 1), options);
            trainer.Run(1);
            var watch = Stopwatch.StartNew();
            long tokens = 0;
            trainer.Run(8, p => tokens += p.Tokens);
            Print($"| {micro:N0} | {tokens / watch.Elapsed.TotalSeconds:N0} | {Trainer.Bytes(model.Config, options) / 1e6:F0} MB |");
        }

        Print($"""

            Peak working set of the benchmark process: {Process.GetCurrentProcess().PeakWorkingSet64 / 1e6:F0} MB. Reproduce: `dotnet run -c Release --project tests/Gemma.Extensions.AI.Benchmarks -- training`
            """);
    }

    /// <summary>The fastest of many short measurements: what the machine's other work takes is not the program's.</summary>
    private static double Best(Func<double> measure)
    {
        double best = 0;
        for (var watch = Stopwatch.StartNew(); watch.Elapsed.TotalSeconds < 1;)
        {
            best = Math.Max(best, measure());
        }

        return best;
    }
}
