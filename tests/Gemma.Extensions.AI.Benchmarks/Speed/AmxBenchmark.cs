using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Benchmarks.Engine;
using Gemma.Extensions.AI.Benchmarks.Training;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// What the tier amx-bf16 is meant to give, in one command: products under the roof of the tiles, prompts beside the tier below it by turns, many chats, and generation against the
/// bandwidth of the moment. Where the machine has no AMX it says so and measures what does not need it.
/// </summary>
internal static class AmxBenchmark
{
    private const string Tier = "amx-bf16", Below = "avx512-bf16";
    private const int BlockTokens = 32, Chunk = EngineOptions.PromptKernelChunk;

    public static Command Create()
    {
        Option<string> models = new("--models") { Required = true, Description = "Directory of the synthetic model files; they are made there if missing (2B: 1.6 to 5.2 GB each)." };
        Option<string> shape = new("--shape") { DefaultValueFactory = _ => "2b", Description = "2b, 9b or 27b." };
        Option<string[]> types = new("--types") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => [.. SyntheticFile.Mixtures] };
        Option<string[]> parts = new("--parts") { AllowMultipleArgumentsPerToken = true, DefaultValueFactory = _ => ["kernels", "prompts", "chats", "generation", "trainer", "soak"] };
        Option<int> rounds = new("--rounds") { DefaultValueFactory = _ => 5 };
        Option<int?> threads = new("--threads");
        Option<string?> tiny = new("--soak-model") { Description = "The tiny reference model, for 10,000 concurrent requests on the tier." };
        Option<string?> results = new("--results") { Description = "Directory for amx.md." };
        Command command = new("amx", "The tier amx-bf16 against its targets: kernels, prompts, chats, generation, training. Without AMX what does not need it.") { models, shape, types, parts, rounds, threads, tiny, results };
        command.SetAction(parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            Settings settings = new(
                parse.GetRequiredValue(models), parse.GetValue(shape)!, parse.GetValue(types)!, parse.GetValue(rounds), parse.GetValue(threads) ?? ProcessorTopology.PhysicalCores(), parse.GetValue(tiny));
            Run(settings, parse.GetValue(parts)!, parse.GetValue(results));
        });
        return command;
    }

    private static void Run(Settings settings, string[] parts, string? results)
    {
        string? refusal = AmxKernels.Unsupported() ?? AmxSupport.Machine.Refusal(ExecutableMemory.TryCreate);
        List<string> lines = new()
        {
            $"# Prompts by AMX, {settings.Shape.ToUpperInvariant()}", "",
            $"{CompareBenchmark.Processor()}, {settings.Threads} threads, {RuntimeInformation.FrameworkDescription}, {DateTime.UtcNow:yyyy-MM-dd}, synthetic files, medians of {settings.Rounds} rounds by turns.",
            refusal is null ? "AMX is used." : $"**No AMX here: {refusal}.** Rows that need it are left out.", "",
            "| what | before | now | ratio | target | |", "|---|---|---|---|---|---|",
        };
        lines.ForEach(Console.WriteLine);
        foreach ((string name, bool needsAmx, Func<Settings, IEnumerable<string>> run) in ((string, bool, Func<Settings, IEnumerable<string>>)[])
            [("kernels", true, Kernels), ("prompts", true, Prompts), ("chats", false, Chats), ("generation", false, Generation), ("trainer", true, Trained), ("soak", true, Soaked)])
        {
            if (parts.Contains(name) && !(needsAmx && refusal is not null))
            {
                foreach (string line in run(settings))
                {
                    lines.Add(line);
                    Console.WriteLine(line);
                }
            }
        }

        if (results is not null)
        {
            File.WriteAllLines(Path.Combine(results, "amx.md"), [.. lines, "", $"Command: `amx --models DIR --shape {settings.Shape} --types {string.Join(' ', settings.Types)} --rounds {settings.Rounds}`."]);
        }
    }

    private static string Row(string what, string before, string now, double ratio, double target) =>
        $"| {what} | {before} | {now} | {ratio:F2} | {target:F2} | {(ratio >= target ? "reached" : "**missed**")} |";

    /// <summary>A product of 512 rows by the gate and up projections, in the two tiers by turns, and its share of what the tiles could do.</summary>
    private static IEnumerable<string> Kernels(Settings settings)
    {
        const int Rows = 512;
        double peak = MachinePeaks.TileGigaops(settings.Threads);
        foreach (string type in settings.Types)
        {
            using ModelFile file = ModelFile.Open(settings.File(type));
            using CpuBackend amx = Backend(Tier, settings), below = Backend(Below, settings);
            TensorView gate = file.Tensors["blk.3.ffn_gate.weight"], up = file.Tensors["blk.3.ffn_up.weight"];
            double[] seconds = Medians(settings.Rounds, Product(amx, gate, up, Rows), Product(below, gate, up, Rows));
            double operations = 2.0 * Rows * (gate.Rows + up.Rows) * gate.Columns / 1e9;
            yield return $"| kernel {gate.Format.Name}, {Rows} rows, Gop/s of {peak:F0} | {operations / seconds[1]:F0} | {operations / seconds[0]:F0} | {seconds[1] / seconds[0]:F2} | | {operations / seconds[0] / peak:P0} of the tiles' peak |";
        }
    }

    private static Func<double> Product(CpuBackend backend, TensorView gate, TensorView up, int rows)
    {
        WeightMatrix weights = backend.LoadWeights(gate, up);
        Matrix x = backend.CreateMatrix(rows, weights.Columns), y = backend.CreateMatrix(rows, weights.Rows);
        Random random = new(1);
        for (int r = 0; r < rows; r++)
        {
            x.Write(r, [.. Enumerable.Range(0, weights.Columns).Select(_ => random.NextSingle() - 0.5f)]);
        }

        return () => Seconds(() => backend.MatMul(x, weights, y, rows, rows));
    }

    /// <summary>Prompts in the two tiers by turns, on one mapped file.</summary>
    private static IEnumerable<string> Prompts(Settings settings)
    {
        foreach (string type in settings.Types)
        {
            using ModelFile file = ModelFile.Open(settings.File(type));
            using Loop amx = new(file, Backend(Tier, settings));
            using Loop below = new(file, Backend(Below, settings));
            foreach (int tokens in type == settings.Types[0] ? (int[])[512, 4096] : [512])
            {
                double[] seconds = Medians(settings.Rounds, () => amx.Prompt(tokens), () => below.Prompt(tokens));
                yield return Row($"prompt {tokens}, {type}, tok/s", $"{tokens / seconds[1]:F1}", $"{tokens / seconds[0]:F1}", seconds[1] / seconds[0], 4);
            }
        }
    }

    /// <summary>16 chats at once against one, by turns, in the tier that the machine gets by itself, from the mapped file and from private memory.</summary>
    private static IEnumerable<string> Chats(Settings settings)
    {
        EngineOptions options = new() { SpeculativeTokens = 0, PrefixCache = false };
        using BenchmarkEngine mapped = new(settings.File(settings.Types[0]), options, settings.Threads), huge = new(settings.File(settings.Types[0]), options, settings.Threads, hugePages: true);
        double[] seconds = Medians(settings.Rounds, () => SecondsPerStep(mapped, 1), () => SecondsPerStep(mapped, 16), () => SecondsPerStep(huge, 1), () => SecondsPerStep(huge, 16));
        double target = AmxKernels.Unsupported() is null ? 8 : 6;
        yield return Row($"16 chats, {settings.Types[0]}, tok/s in total", $"{1 / seconds[0]:F2} (one)", $"{16 / seconds[1]:F2}", 16 * seconds[0] / seconds[1], target);
        yield return Row($"the same, huge pages; one chat has {1 / seconds[2]:F2}", $"{1 / seconds[0]:F2} (one, mapped)", $"{16 / seconds[3]:F2}", 16 * seconds[0] / seconds[3], target);
    }

    private static double SecondsPerStep(BenchmarkEngine engine, int chats)
    {
        const int Tokens = 24;
        TimedRequest[] requests = [.. Enumerable.Range(0, chats).Select(i => engine.Start(engine.Prompt(i, 16), Tokens))];
        Task.WaitAll(requests.Select(request => request.Task));

        // All generate from the token on that the last one began with; steps are shared, so one of them tells the time.
        TimedRequest last = requests.MaxBy(request => requests[0].Until(request) + request.Times[0])!;
        double end = requests.Min(request => last.Until(request) + request.Times[^1]);
        double[] times = [.. last.Times.Skip(1).Where(time => time <= end)];
        return (times[^1] - times[0]) / (times.Length - 1);
    }

    /// <summary>
    /// Generation between two measurements of the read bandwidth: bytes of weights that a token reads against what could be read meanwhile, the best of six passes over memory. Beside it what loads
    /// alone read of the weights where they lie (the mapped file, and what <see cref="GemmaOptions.HugePages"/> makes of it): the median of passes, since the best of a few is more than a machine with neighbours gives in the mean.
    /// </summary>
    private static IEnumerable<string> Generation(Settings settings)
    {
        foreach ((string type, bool huge) in settings.Types.SelectMany(type => ((string, bool)[])[(type, false), (type, true)]))
        {
            using ModelFile file = ModelFile.Open(settings.File(type));
            long moved = huge ? file.MoveToHugePages(CancellationToken.None) : 0;
            CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Threads = settings.Threads });
            file.Interleave(backend.CanInterleave, CancellationToken.None);
            using Loop loop = new(file, backend);
            double gigabytes = file.Tensors.Values.Sum(tensor => tensor.ByteLength) / 1e9;
            loop.Generate(4);
            List<double> shares = new();
            List<double> speeds = new();
            double before = MachinePeaks.ReadBandwidth(settings.Threads), fileBefore = FileBandwidth(file, settings.Threads);
            List<double> bandwidths = new() { before };
            List<double> fileBandwidths = new() { fileBefore };
            List<double> fileShares = new();
            for (int i = 0; i < settings.Rounds; i++)
            {
                double seconds = loop.Generate(24), fileAfter = FileBandwidth(file, settings.Threads), after = MachinePeaks.ReadBandwidth(settings.Threads);
                fileShares.Add(gigabytes / seconds / ((fileBefore + fileAfter) / 2));
                fileBandwidths.Add(fileBefore = fileAfter);
                shares.Add(gigabytes / seconds / ((before + after) / 2));
                speeds.Add(1 / seconds);
                bandwidths.Add(before = after);
            }

            yield return Row($"generation, {type}{(huge ? ", huge pages" : "")}, GB/s read of what can be read", $"{Median(bandwidths):F1}", $"{Median(speeds) * gigabytes:F1} ({Median(speeds):F2} tok/s)", Median(shares), 0.9);
            string place = huge ? $"of these weights, {moved / 1e9 / gigabytes:P0} of them moved" : $"of the mapped file, {HugeShare(file):P0} of it in pages of 2 MB";
            yield return $"| the same, of what loads read {place} | {Median(fileBandwidths):F1} | | {Median(fileShares):F2} | | |";
        }
    }

    private static unsafe double FileBandwidth(ModelFile file, int threads)
    {
        byte* first = (byte*)file.Tensors.Values.Min(tensor => (nuint)tensor.Data);
        return Median([.. MachinePeaks.ReadPasses(threads, first, file.Tensors.Values.Sum(tensor => tensor.ByteLength), 3)]);
    }

    /// <summary>The part of a file that this process has mapped by huge pages.</summary>
    private static double HugeShare(ModelFile file)
    {
        const string Field = "FilePmdMapped:";
        double kilobytes = OperatingSystem.IsLinux()
            ? File.ReadLines("/proc/self/smaps").Where(line => line.StartsWith(Field, StringComparison.Ordinal)).Sum(line => double.Parse(line[Field.Length..^2], CultureInfo.InvariantCulture)) : 0;
        return kilobytes * 1024 / file.Tensors.Values.Sum(tensor => tensor.ByteLength);
    }

    /// <summary>Updates of the trainer by tiles and by float32, by turns.</summary>
    private static IEnumerable<string> Trained(Settings settings)
    {
        const int Micro = 2048, Update = 8192;
        TrainingModel model = TrainingBenchmark.CreateModel(out TrainingDocument[] documents);
        GemmaTrainingOptions options = new(steps: 1000) { MicroBatchTokens = Micro, MicroBatches = Update / Micro, MaxLength = 256, Threads = settings.Threads };
        Trainer trainer = new(model, new DocumentSet(documents, 1), options);
        int update = 0, tokens = 0;
        double[] seconds = Medians(settings.Rounds, () => One(isOff: false), () => One(isOff: true));
        Gemm.IsMatrixOff = false;
        yield return Row($"trainer, tokens/s of {model.Config.ParameterCount / 1e6:F1} M parameters", $"{tokens / seconds[1]:F0}", $"{tokens / seconds[0]:F0}", seconds[1] / seconds[0], 1.3);

        double One(bool isOff)
        {
            Gemm.IsMatrixOff = isOff;
            return Seconds(() => trainer.Run(++update, new SynchronousProgress<GemmaTrainingProgress>(progress => tokens = progress.Tokens)));
        }
    }

    /// <summary>Many requests at a time on the tier: no mixed text, no memory left behind.</summary>
    private static IEnumerable<string> Soaked(Settings settings)
    {
        if (settings.SoakModel is null)
        {
            yield return "| soak | | left out: give --soak-model | | | |";
            yield break;
        }

        const int Requests = 10_000;
        using Soak soak = new(settings.SoakModel, kinds: 240, concurrent: 32, kvBytes: 1 << 20, _ => Backend(Tier, settings));
        SoakReport report = soak.RunAsync(Requests).GetAwaiter().GetResult();
        yield return $"| soak of {Requests:N0} requests | | {report.Wrong} wrong, {report.Failed} failed, {report.UsedBlocks} blocks held, {report.Preemptions:N0} preemptions, {report.Took.TotalSeconds:F0} s | | 0 | {(report.Clean ? "reached" : "**missed**")} |";
    }

    private static CpuBackend Backend(string tier, Settings settings) => CpuBackend.Create(new CpuBackendOptions { Kernel = tier, Threads = settings.Threads });

    /// <summary>Median seconds of each, run by turns after one round that does not count.</summary>
    private static double[] Medians(int rounds, params ReadOnlySpan<Func<double>> runs)
    {
        List<double>[] all = [.. Enumerable.Range(0, runs.Length).Select(_ => new List<double>())];
        for (int round = -1; round < rounds; round++)
        {
            for (int i = 0; i < runs.Length; i++)
            {
                double seconds = runs[i]();
                if (round >= 0)
                {
                    all[i].Add(seconds);
                }
            }
        }

        return [.. all.Select(Median)];
    }

    private static double Median(List<double> values)
    {
        double[] sorted = [.. values.Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    private static double Seconds(Action run)
    {
        long start = Stopwatch.GetTimestamp();
        run();
        return Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private sealed record Settings(string Models, string Shape, string[] Types, int Rounds, int Threads, string? SoakModel)
    {
        public string File(string type) => SyntheticFile.Ensure(Models, Shape, type);
    }

    /// <summary>The forward pass in a loop, one sequence.</summary>
    private sealed class Loop : IDisposable
    {
        private const int Context = 4096;

        private readonly CpuBackend _backend;
        private readonly GemmaForward _forward;
        private readonly KvPool _pool;
        private readonly ForwardBatch _batch = new(Chunk, 1);
        private readonly int[] _local = [.. Enumerable.Range(0, Context / BlockTokens)], _global = [.. Enumerable.Range(Context / BlockTokens, Context / BlockTokens)], _tokens;

        public Loop(ModelFile file, CpuBackend backend)
        {
            _backend = backend;
            _pool = backend.CreateKvPool(GemmaForward.KvLayout(file.Config, BlockTokens, GemmaKvCacheType.F16), 2 * Context / BlockTokens);
            _forward = new GemmaForward(file.Config, GemmaWeights.Load(file, backend), backend, _pool, Chunk, 1);
            Random random = new(1);
            _tokens = [.. Enumerable.Range(0, Context).Select(_ => random.Next(1000, file.Config.VocabularySize))];
        }

        /// <summary>Seconds to read a prompt.</summary>
        public double Prompt(int tokens) => Seconds(() =>
        {
            for (int start = 0; start < tokens; start += Chunk)
            {
                Step(_tokens.AsSpan(start, Math.Min(Chunk, tokens - start)), start, isPrompt: true);
            }

            _forward.Logits([_batch.Rows - 1]);
        });

        /// <summary>Seconds a token, after 16 of a prompt.</summary>
        public double Generate(int tokens)
        {
            Step(_tokens.AsSpan(0, 16), 0, isPrompt: true);
            int token = TensorPrimitives.IndexOfMax<float>(_forward.Logits([15]).Read(0, 1));
            return Seconds(() =>
            {
                for (int i = 0; i < tokens; i++)
                {
                    Step([token], 16 + i, isPrompt: false);
                    token = TensorPrimitives.IndexOfMax<float>(_forward.Logits([0]).Read(0, 1));
                }
            }) / tokens;
        }

        private void Step(ReadOnlySpan<int> tokens, int start, bool isPrompt)
        {
            _batch.Clear();
            _batch.Add(tokens, start, _local, _global, isPrompt: isPrompt);
            _forward.Run(_batch);
        }

        public void Dispose()
        {
            _forward.Dispose();
            _pool.Dispose();
            _backend.Dispose();
        }
    }
}
