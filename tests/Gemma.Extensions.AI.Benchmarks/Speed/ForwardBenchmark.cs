using System.CommandLine;
using System.Diagnostics;
using System.Numerics.Tensors;
using System.Text.Json;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Devices;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>Speed of the forward pass on a model file: a prompt of random tokens, greedy generation, and generation of several sequences at once.</summary>
internal static class ForwardBenchmark
{
    public static Command Create()
    {
        Option<string?> model = new("--model") { Description = "Model file." };
        Option<string?> shape = new("--shape") { Description = "Instead of a file: random weights of Gemma 2's shape, 2b, 9b, 27b or tiny." };
        Option<string> type = new("--type") { DefaultValueFactory = _ => "BF16", Description = "Type of these: of model files (Q4_K_M) or of all tensors (Q4_K)." };
        Option<string> device = new("--device") { DefaultValueFactory = _ => "cpu", Description = "cpu, or cuda, cuda:1, ..." };
        Option<int> prompt = new("--prompt-tokens") { DefaultValueFactory = _ => 512 };
        Option<int> generate = new("--generate-tokens") { DefaultValueFactory = _ => 64 };
        Option<int> depth = new("--depth") { Description = "Tokens in the context before generating." };
        Option<int> sequences = new("--sequences") { DefaultValueFactory = _ => 1, Description = "Sequences that generate together." };
        Option<int> chunk = new("--chunk") { Description = "Rows of a step of the prompt; 0: as many as the device takes best, or 512." };
        Option<int> repeat = new("--repeat") { DefaultValueFactory = _ => 3 };
        Option<int?> threads = new("--threads");
        Option<string?> kernel = new("--kernel");
        Option<bool> huge = new("--huge-pages") { Description = "Move the weights of a model file to private memory in pages of 2 MB." };
        Option<bool> profile = new("--profile") { Description = "Time of each kind of operation." };
        Option<int> adapters = new("--adapters") { Description = "Adapters with random factors for all projections; sequences take them by turns." };
        Option<int> rank = new("--rank") { DefaultValueFactory = _ => 16, Description = "Rank of the adapters." };
        Command command = new("forward", "Speed of the forward pass: tokens per second of a prompt and of generation, as one JSON line.")
        {
            model, shape, type, device, prompt, generate, depth, sequences, chunk, repeat, threads, kernel, adapters, rank, huge, profile,
        };
        command.SetAction(result => Run(new Settings(
            result.GetValue(model), result.GetValue(shape), result.GetRequiredValue(type), result.GetRequiredValue(device), result.GetValue(prompt), result.GetValue(generate), result.GetValue(depth), result.GetValue(sequences), result.GetValue(chunk),
            result.GetValue(repeat), result.GetValue(threads), result.GetValue(kernel), result.GetValue(adapters), result.GetValue(rank), result.GetValue(huge), result.GetValue(profile))));
        return command;
    }

    private static void Run(Settings settings)
    {
        long start = Stopwatch.GetTimestamp();
        Backend device = DeviceChoice.Create(new GemmaOptions { Device = settings.Device, Kernel = settings.Kernel, Threads = settings.Threads });
        using TimedBackend backend = new(device);
        using ModelFile? file = settings.Shape is null ? ModelFile.Open(settings.Model ?? throw new ArgumentException("Give --model or --shape."), checkScales: !settings.HugePages) : null;
        if (settings.HugePages)
        {
            file?.MoveToHugePages(CancellationToken.None);
            file?.Interleave(backend.CanInterleave, CancellationToken.None);
        }

        using RandomModel? synthetic = settings.Shape is { } name ? new RandomModel(name, settings.Type) : null;
        GemmaConfig config = file?.Config ?? synthetic!.Config;
        GemmaWeights weights = file is null ? synthetic!.Load(backend) : GemmaWeights.Load(file, backend);
        settings = settings with { Chunk = settings.Chunk > 0 ? settings.Chunk : device.PromptRows ?? 512 };
        const int BlockTokens = 32;
        int context = Math.Max(settings.Prompt, settings.Depth + settings.Generate + 1);
        int blocksEach = (context + BlockTokens - 1) / BlockTokens;
        using KvPool pool = backend.CreateKvPool(GemmaForward.KvLayout(config, BlockTokens, GemmaKvCacheType.F16), 2 * blocksEach * settings.Sequences);
        int rows = Math.Max(settings.Chunk, settings.Sequences);
        using GemmaForward forward = new(config, weights, backend, pool, rows, settings.Sequences);
        LowRankMatrix?[]?[] adapters = settings.Adapters == 0 ? [null] : [.. Enumerable.Range(0, settings.Adapters).Select(seed => RandomAdapter(config, backend, settings.Rank, seed))];
        double load = Stopwatch.GetElapsedTime(start).TotalSeconds;

        int[][] sequences = new int[settings.Sequences][];
        for (int i = 0; i < sequences.Length; i++)
        {
            sequences[i] = [.. Enumerable.Range(2 * blocksEach * i, 2 * blocksEach)];
        }

        ForwardBatch batch = new(rows, settings.Sequences);
        Random random = new(1);
        int[] tokens = [.. Enumerable.Range(0, context).Select(_ => random.Next(1000, config.VocabularySize))];
        Prefill(forward, batch, tokens.AsSpan(0, Math.Clamp(settings.Prompt, 1, 64)), sequences[0], blocksEach, settings.Chunk, adapters[0]);
        List<double> prompt = new();
        backend.Reset();
        for (int i = 0; i < settings.Repeat && settings.Prompt > 0; i++)
        {
            start = Stopwatch.GetTimestamp();
            Prefill(forward, batch, tokens.AsSpan(0, settings.Prompt), sequences[0], blocksEach, settings.Chunk, adapters[0]);
            prompt.Add(settings.Prompt / Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        if (settings.Profile)
        {
            Console.Error.WriteLine($"prompt, per token: {backend.Report(settings.Prompt * settings.Repeat)}");
        }

        for (int i = 0; i < settings.Sequences && settings.Depth > 0; i++)
        {
            Prefill(forward, batch, tokens.AsSpan(0, settings.Depth), sequences[i], blocksEach, settings.Chunk, adapters[i % adapters.Length]);
        }

        List<double> generated = new();
        backend.Reset();
        for (int i = 0; i < settings.Repeat && settings.Generate > 0; i++)
        {
            generated.Add(Generate(forward, batch, settings, tokens, sequences, blocksEach, config.VocabularySize, adapters));
        }

        if (settings.Profile)
        {
            Console.Error.WriteLine($"generating, per step: {backend.Report((settings.Generate + 1) * settings.Repeat)}");
        }

        Console.WriteLine(JsonSerializer.Serialize(new
        {
            engine = "Gemma.Extensions.AI",
            kernel = backend.Name,
            model = settings.Shape is null ? Path.GetFileName(settings.Model) : $"{settings.Shape} {settings.Type}",
            depth = settings.Depth,
            sequences = settings.Sequences,
            adapters = settings.Adapters,
            rank = settings.Adapters == 0 ? 0 : settings.Rank,
            load_seconds = Math.Round(load, 3),
            prompt_tokens_per_second = Median(prompt),
            prompt_samples = prompt.Select(value => Math.Round(value, 1)),
            generate_tokens_per_second = Median(generated),
            generate_samples = generated.Select(value => Math.Round(value, 2)),
            peak_resident_bytes = PeakResident("VmHWM:"),
            anonymous_bytes = PeakResident("RssAnon:"),
            kv_bytes = pool.BlockCount * pool.Layout.BlockBytes,
            weight_bytes = synthetic?.WeightBytes ?? file!.Tensors.Values.Where(tensor => tensor.Shape.Count > 1).Sum(tensor => tensor.ByteLength),
            memory_bytes_per_second = device is CudaBackend cuda ? GpuReport.ReadBandwidth(cuda.Device.Index) : 0,
        }));
    }

    private static LowRankMatrix?[] RandomAdapter(GemmaConfig config, Backend backend, int rank, int seed)
    {
        Random random = new(seed);
        int hidden = config.HiddenSize, queries = config.QuerySize, kv = config.KvSize, wide = config.FeedForwardSize;
        LowRankMatrix?[] updates = new LowRankMatrix?[LayerMaps.Count(config.LayerCount)];
        for (int layer = 0; layer < config.LayerCount; layer++)
        {
            Set(layer, LayerMap.Qkv, hidden, queries, kv, kv);
            Set(layer, LayerMap.AttentionOutput, queries, hidden);
            Set(layer, LayerMap.GateUp, hidden, wide, wide);
            Set(layer, LayerMap.Down, wide, hidden);
        }

        return updates;

        void Set(int layer, LayerMap map, int inputs, params ReadOnlySpan<int> outputs)
        {
            List<LowRankPart> parts = new();
            int first = 0;
            foreach (int count in outputs)
            {
                parts.Add(new LowRankPart(first, rank, Values(rank * inputs), Values(count * rank)));
                first += count;
            }

            updates[LayerMaps.Index(layer, map)] = backend.LoadLowRank(first, inputs, [.. parts]);
        }

        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => 0.01f * (random.NextSingle() - 0.5f))];
    }

    private static void Prefill(GemmaForward forward, ForwardBatch batch, ReadOnlySpan<int> tokens, int[] blocks, int blocksEach, int chunk, LowRankMatrix?[]? adapter)
    {
        for (int start = 0; start < tokens.Length; start += chunk)
        {
            batch.Clear();
            batch.Add(tokens.Slice(start, Math.Min(chunk, tokens.Length - start)), start, blocks, blocks[blocksEach..], adapter, isPrompt: true);
            forward.Run(batch);
        }

        forward.Logits([batch.Rows - 1]);
    }

    private static double Generate(GemmaForward forward, ForwardBatch batch, Settings settings, int[] tokens, int[][] sequences, int blocksEach, int vocabulary, LowRankMatrix?[]?[] adapters)
    {
        int[][] global = [.. sequences.Select(blocks => blocks[blocksEach..])];
        int[] last = [.. sequences.Select((_, i) => tokens[i])], rows = [.. Enumerable.Range(0, sequences.Length)];
        long start = 0;
        for (int step = 0; step <= settings.Generate; step++)
        {
            if (step == 1)
            {
                start = Stopwatch.GetTimestamp();
            }

            batch.Clear();
            for (int i = 0; i < sequences.Length; i++)
            {
                batch.Add([last[i]], settings.Depth + step, sequences[i], global[i], adapters[i % adapters.Length]);
            }

            forward.Run(batch);
            Matrix logits = forward.Logits(rows);
            for (int i = 0; i < sequences.Length; i++)
            {
                last[i] = TensorPrimitives.IndexOfMax<float>(logits.Read(i, 1));
            }
        }

        return sequences.Length * settings.Generate / Stopwatch.GetElapsedTime(start).TotalSeconds;
    }

    private static double Median(List<double> values)
    {
        if (values.Count == 0)
        {
            return 0;
        }

        double[] sorted = [.. values.Order()];
        return Math.Round((sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2, 2);
    }

    private static long PeakResident(string field)
    {
        if (!OperatingSystem.IsLinux())
        {
            return Process.GetCurrentProcess().PeakWorkingSet64;
        }

        string line = File.ReadLines("/proc/self/status").First(text => text.StartsWith(field, StringComparison.Ordinal));
        return 1024 * long.Parse(line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1]);
    }

    private sealed record Settings(
        string? Model, string? Shape, string Type, string Device, int Prompt, int Generate, int Depth, int Sequences, int Chunk, int Repeat, int? Threads, string? Kernel, int Adapters, int Rank, bool HugePages, bool Profile);
}
