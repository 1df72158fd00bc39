using System.Diagnostics;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>A model with its engine, and requests whose times are recorded.</summary>
internal sealed class BenchmarkEngine : IDisposable
{
    private readonly ModelFile _file;
    private readonly CpuBackend _backend;
    private readonly GemmaWeights _weights;

    public BenchmarkEngine(string path, EngineOptions options, int? threads, bool hugePages = false)
    {
        _file = ModelFile.Open(path);
        _backend = CpuBackend.Create(new CpuBackendOptions { Threads = threads });
        if (hugePages)
        {
            _file.MoveToHugePages(CancellationToken.None);
            _file.Interleave(_backend.CanInterleave, CancellationToken.None);
        }

        _weights = GemmaWeights.Load(_file, _backend);
        Engine = new GemmaEngine(_file.Config, _weights, _backend, options);
        Console.WriteLine($"{Path.GetFileName(path)}, {_backend.Name}, {_backend.Threads} threads, {RuntimeInformation}");
    }

    private static string RuntimeInformation => System.Runtime.InteropServices.RuntimeInformation.FrameworkDescription;

    public GemmaEngine Engine { get; }

    public int VocabularySize => _file.Config.VocabularySize;

    public GemmaTokenizer CreateTokenizer() => _file.CreateTokenizer();

    public int[] Prompt(int seed, int length)
    {
        Random random = new(seed);
        return [2, .. Enumerable.Range(1, length - 1).Select(_ => random.Next(300, VocabularySize))];
    }

    public TimedRequest Start(int[] prompt, int tokens, ITokenConstraint? constraint = null, CancellationToken cancellation = default, SamplingOptions? sampling = null, int stopAfter = int.MaxValue)
    {
        TimedRequest sink = new(stopAfter);
        Engine.Submit(new GenerationRequest
        {
            Prompt = prompt,
            Sink = sink,
            MaxOutputTokens = tokens,
            Constraint = constraint,
            Sampling = sampling ?? new SamplingOptions { Temperature = 0 },
            CancellationToken = cancellation,
        });
        return sink;
    }

    /// <summary>Seconds a token of a greedy answer without the engine: the forward pass in a loop, as simple as it can be. The engine must be idle.</summary>
    public double DecodeDirectly(int[] prompt, int tokens)
    {
        const int BlockTokens = 32;
        GemmaConfig config = _file.Config;
        GenerationRequest request = new() { Prompt = prompt, Sink = new TimedRequest(tokens), MaxOutputTokens = tokens, Sampling = new SamplingOptions { Temperature = 0 } };
        Sequence sequence = new(request, config.ContextLength, VocabularySize, BlockTokens, 0, 0);
        using KvCache pool = new(
            _backend.CreateKvPool(GemmaForward.KvLayout(config, BlockTokens, GemmaKvCacheType.F16), 2 * sequence.Blocks.Global.Length), config.SlidingWindow, keepPrefixes: false);
        using GemmaForward forward = new(config, _weights, _backend, pool.Pool, prompt.Length, 1);
        ForwardBatch batch = new(prompt.Length, 1);
        long start = 0;
        for (int i = 0; i < tokens; i++)
        {
            pool.TryHold(sequence.Blocks, sequence.Count);
            batch.Clear();
            batch.Add(sequence.Upcoming(sequence.Pending), sequence.Computed, sequence.Blocks.Local, sequence.Blocks.Global, isPrompt: i == 0);
            forward.Run(batch);
            pool.Commit(sequence.Blocks, sequence.Tokens);
            sequence.Append(sequence.Sampler!.Sample(forward.Logits([batch.Rows - 1]).Read(0, 1), default));
            start = i == 0 ? Stopwatch.GetTimestamp() : start;
        }

        return Stopwatch.GetElapsedTime(start).TotalSeconds / (tokens - 1);
    }

    public void Dispose()
    {
        Engine.Dispose();
        _backend.Dispose();
        _file.Dispose();
    }
}

/// <summary>Allows only the tokens of a text, one after another: what a model that copies its prompt would say.</summary>
internal sealed class CopyConstraint(int[] tokens) : ITokenConstraint
{
    private int _next;

    public bool TryFillMask(Span<ulong> mask)
    {
        mask.Clear();
        int token = tokens[_next % tokens.Length];
        mask[token >> 6] |= 1UL << (token & 63);
        return true;
    }

    public bool IsAllowed(int token) => token == tokens[_next % tokens.Length];

    public void Accept(int token) => _next++;

    public int GetForcedTokens(Span<int> destination, ref long budget) => 0;

    public ITokenConstraint Clone() => new CopyConstraint(tokens) { _next = _next };
}
