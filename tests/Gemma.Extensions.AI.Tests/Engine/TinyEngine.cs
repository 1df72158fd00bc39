using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>An engine on a small model with random weights.</summary>
internal sealed class TinyEngine : IDisposable
{
    private readonly ModelFile _file;
    private readonly Backend _backend;
    private readonly ModelFile? _draft;

    public TinyEngine(EngineOptions? options = null, string? kernel = "reference", string? path = null, string? draft = null, Func<Backend, Backend>? wrap = null, ILogger? logger = null)
    {
        _file = ModelFile.Open(path ?? TestData.Local("tiny"));
        Backend backend = kernel is Backends.Tiers.Cuda or Backends.Tiers.Gpu or Backends.Tiers.AmxEmulated ? Backends.Tiers.Create(kernel) : CpuBackend.Create(new CpuBackendOptions { Kernel = kernel, Threads = 1 });
        _backend = wrap is null ? backend : wrap(backend);
        Engine = new GemmaEngine(_file.Config, GemmaWeights.Load(_file, _backend), _backend, options ?? Exact, logger,
            draft: (_draft = draft is null ? null : ModelFile.Open(draft)) is { } small ? (small.Config, GemmaWeights.Load(small, _backend)) : null);
    }

    /// <summary>float32 throughout.</summary>
    public static EngineOptions Exact { get; } = new() { KvType = GemmaKvCacheType.F32, KvCacheBytes = 64 << 20 };

    public static IEnumerable<string> Tiers => KernelTier.All.Select(tier => tier.Name);

    /// <summary>Every tier, with weights as they are and with quantised ones.</summary>
    public static TheoryData<string, string> TiersAndFiles
    {
        get
        {
            TheoryData<string, string> data = new();
            foreach (string tier in Tiers)
            {
                data.Add(tier, "tiny");
                data.Add(tier, "gguf/tiny-Q8_0.gguf");
                data.Add(tier, "gguf/tiny-Q4_0.gguf");
            }

            return data;
        }
    }

    public GemmaConfig Config => _file.Config;

    public GemmaEngine Engine { get; }

    public static void SkipWhereMissing(string tier)
    {
        string? reason = KernelTier.All.Single(t => t.Name == tier).Unsupported();
        Assert.SkipWhen(reason is not null, $"{tier}: {reason}");
    }

    /// <summary>Loads an adapter for this model.</summary>
    public LoraWeights Adapter(string path)
    {
        using LoraFile file = LoraFile.Open(path);
        return LoraWeights.Load(path, file, _file.Config, _backend);
    }

    /// <summary>Logits [tokens, vocabulary] of every position from <paramref name="first"/> on.</summary>
    public float[][] Logits(int[] tokens, int first = 0, LoraWeights? adapter = null) => Logits(tokens, out _, first, adapter);

    public float[][] Logits(int[] tokens, out int cached, int first, LoraWeights? adapter = null)
    {
        Collector reader = new(first);
        cached = Engine.EvaluateAsync(tokens, reader, adapter: adapter).GetAwaiter().GetResult().CachedTokens;
        return [.. reader.Rows];
    }

    /// <summary>The same, begun when this returns.</summary>
    public async Task<float[][]> StartLogits(int[] tokens)
    {
        Collector reader = new(0);
        await Engine.EvaluateAsync(tokens, reader);
        return [.. reader.Rows];
    }

    public Generation Start(int[] prompt, int maxOutputTokens = 24, ITokenConstraint? constraint = null, IReadOnlyList<int>? stopTokens = null,
        int priority = 0, string? caller = null, TimeSpan? timeout = null, Func<int, bool>? onToken = null, SamplingOptions? sampling = null, LoraWeights? adapter = null, CancellationToken cancellation = default)
    {
        Generation generation = new(onToken);
        Engine.Submit(new GenerationRequest
        {
            Prompt = prompt,
            Sink = generation,
            MaxOutputTokens = maxOutputTokens,
            Constraint = constraint,
            StopTokens = stopTokens ?? [],
            Priority = priority,
            Caller = caller,
            Timeout = timeout,
            Adapter = adapter,
            Sampling = sampling ?? new SamplingOptions { Temperature = 0 },
            CancellationToken = cancellation,
        });
        return generation;
    }

    public int[] Generate(int[] prompt, int maxOutputTokens = 24, ITokenConstraint? constraint = null)
    {
        Generation generation = Start(prompt, maxOutputTokens, constraint);
        Assert.Null(generation.Result.Error);
        return generation.Tokens;
    }

    /// <summary>Token ids that look random but are the same on every run.</summary>
    public static int[] Prompt(int seed, int length)
    {
        Random random = new(seed);
        return [2, .. Enumerable.Range(1, length - 1).Select(_ => random.Next(217, 1024))];
    }

    public void Dispose()
    {
        Engine.Dispose();
        _backend.Dispose();
        _draft?.Dispose();
        _file.Dispose();
    }

    private sealed class Collector(int first) : RowReader
    {
        public List<float[]> Rows { get; } = [];
        public override int FirstPosition => first;
        public override bool WantsHidden => false;
        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
            Assert.Equal(first + Rows.Count, position);
            Rows.Add(values.ToArray());
        }
    }
}

/// <summary>Holds the engine's thread at a token, so that what a test does meanwhile comes before the next step, however slow the machine is.</summary>
internal sealed class Gate : IDisposable
{
    private readonly ManualResetEventSlim _reached = new();
    private readonly ManualResetEventSlim _open = new();

    /// <summary>To be called for a token. True.</summary>
    public bool Pass()
    {
        _reached.Set();
        Assert.True(_open.Wait(TimeSpan.FromSeconds(30)), "The gate was not opened.");
        return true;
    }

    public void WaitUntilReached() => Assert.True(_reached.Wait(TimeSpan.FromSeconds(30)), "No token came.");

    public void Open() => _open.Set();

    /// <summary>A test that failed must not leave the engine waiting.</summary>
    public void Dispose() => _open.Set();
}

/// <summary>Collects what a request produces, and checks that completion comes once and last.</summary>
internal sealed class Generation(Func<int, bool>? onToken = null) : GenerationSink
{
    private readonly TaskCompletionSource<GenerationResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<int> _tokens = [];

    public int[] Tokens
    {
        get
        {
            lock (_tokens)
            {
                return [.. _tokens];
            }
        }
    }

    public Task<GenerationResult> Task => _result.Task;

    public GenerationResult Result
    {
        get
        {
            Assert.True(Task.Wait(TimeSpan.FromMinutes(15)), "The request did not complete within a quarter of an hour."); // long, because busy machines are slow: it only keeps a hung engine from hanging the run
            return Task.Result;
        }
    }

    public override bool OnToken(int token)
    {
        Assert.False(Task.IsCompleted);
        lock (_tokens)
        {
            _tokens.Add(token);
        }

        return onToken?.Invoke(token) ?? true;
    }

    public override void OnCompleted(GenerationResult result) => _result.SetResult(result);
}

internal static class Difference
{
    public static float Largest(float[][] a, float[][] b)
    {
        Assert.Equal(a.Length, b.Length);
        return a.Zip(b).Max(pair => pair.First.Zip(pair.Second).Max(x => Math.Abs(x.First - x.Second)));
    }

    /// <summary>KL(expected ‖ actual) of the softmax distributions, in nats.</summary>
    public static double Divergence(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        double expectedNorm = LogSumExp(expected);
        double actualNorm = LogSumExp(actual);
        double sum = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double p = expected[i] - expectedNorm;
            sum += Math.Exp(p) * (p - (actual[i] - actualNorm));
        }

        return sum;
    }

    public static double LogSumExp(ReadOnlySpan<float> values)
    {
        double max = double.NegativeInfinity;
        foreach (float value in values)
        {
            max = Math.Max(max, value);
        }

        double sum = 0;
        foreach (float value in values)
        {
            sum += Math.Exp(value - max);
        }

        return max + Math.Log(sum);
    }
}
