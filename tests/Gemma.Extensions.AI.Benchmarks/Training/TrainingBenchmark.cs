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
        double peak = Best(3, () => FmaPeak(threads));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"float32 FMA peak, measured in registers, {threads} threads: {peak:F0} Gflop/s"));
        Console.WriteLine("| product | m x n x k | Gflop/s | of peak |\n|---|---|---|---|");
        foreach ((int m, int n, int k) in new[] { (1024, 1024, 1024), (2048, 768, 192), (2048, 192, 384) })
        {
            FloatBuffer a = new((long)m * Math.Max(n, k)), b = new((long)n * k), c = new((long)m * Math.Max(n, k)), w = new((long)n * k);
            Report("X·Wᵀ (forward)", m, n, k, row => Gemm.NT(row.Count, n, k, a.Pointer + (long)row.First * k, k, b.Pointer, k, c.Pointer + (long)row.First * n, n, false), m);
            Report("dY·W (input gradient)", m, k, n, row => Gemm.NN(row.Count, k, n, a.Pointer + (long)row.First * n, n, b.Pointer, k, c.Pointer + (long)row.First * k, k, false), m);
            Report("dYᵀ·X (weight gradient)", n, k, m, row => Gemm.TN(row.Count, k, m, a.Pointer + row.First, n, c.Pointer, k, w.Pointer + (long)row.First * k, k, true), n);
        }

        void Report(string name, int m, int n, int k, Action<(int First, int Count)> rows, int split)
        {
            int repeats = (int)Math.Max(3, 4e9 / (2.0 * m * n * k));
            double speed = Best(5, () =>
            {
                var watch = Stopwatch.StartNew();
                for (int i = 0; i < repeats; i++)
                {
                    Gemm.Parallel(threads, split, (first, count) => rows((first, count)));
                }

                return 2.0 * m * n * k * repeats / watch.Elapsed.TotalSeconds / 1e9;
            });
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"| {name} | {m} x {n} x {k} | {speed:F0} | {speed / peak:F2} |"));
        }

        TokensPerSecond(threads);
    }

    /// <summary>Ten independent chains of fused multiply-adds a thread.</summary>
    private static double FmaPeak(int threads)
    {
        const long Steps = 40_000_000;
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

    private static void TokensPerSecond(int threads)
    {
        var model = new TrainingModel(new GemmaConfig
        {
            VocabularySize = 2048, HiddenSize = 192, FeedForwardSize = 384, LayerCount = 5, HeadCount = 6, KvHeadCount = 2, HeadDim = 32, ContextLength = 1024,
            SlidingWindow = 128, RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 1 / MathF.Sqrt(32), AttentionSoftcap = 50, FinalSoftcap = 30,
        });
        model.Initialize(1);
        var random = new Random(1);
        TrainingDocument[] documents = [.. Enumerable.Range(0, 256).Select(_ => new TrainingDocument([.. Enumerable.Range(0, 256).Select(_ => random.Next(2048))]))];
        var options = new TrainingOptions { Steps = 1000, MicroBatchTokens = 2048, MicroBatches = 2 * threads, MaxLength = 256, Threads = threads };
        var trainer = new Trainer(model, new DocumentSet(documents, 1), options);
        trainer.Run(2);
        var watch = Stopwatch.StartNew();
        long tokens = 0;
        trainer.Run(10, p => tokens += p.Tokens);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"\n{model.Config.ParameterCount:N0} parameters, documents of 256 tokens, loss on every token, {threads} threads: {tokens / watch.Elapsed.TotalSeconds:F0} trained tokens/s, {Process.GetCurrentProcess().PeakWorkingSet64 / 1e6:F0} MB peak working set of the benchmark process"));
    }

    private static double Best(int times, Func<double> measure) => Enumerable.Range(0, times).Max(_ => measure());
}
