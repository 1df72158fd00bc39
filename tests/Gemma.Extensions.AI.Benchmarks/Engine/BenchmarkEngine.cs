using System.Diagnostics;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>A model with its engine, and requests whose times are recorded.</summary>
internal sealed class BenchmarkEngine : IDisposable
{
    private readonly ModelFile _file;
    private readonly CpuBackend _backend;

    public BenchmarkEngine(string path, EngineOptions options, int? threads)
    {
        _file = ModelFile.Open(path);
        _backend = CpuBackend.Create(new CpuBackendOptions { Threads = threads });
        Engine = new GemmaEngine(_file.Config, GemmaWeights.Load(_file, _backend), _backend, options);
        Console.WriteLine($"{Path.GetFileName(path)}, {_backend.Name}, {_backend.Threads} threads, {RuntimeInformation}");
    }

    private static string RuntimeInformation => System.Runtime.InteropServices.RuntimeInformation.FrameworkDescription;

    public GemmaEngine Engine { get; }

    public int VocabularySize => _file.Config.VocabularySize;

    public int[] Prompt(int seed, int length)
    {
        var random = new Random(seed);
        return [2, .. Enumerable.Range(1, length - 1).Select(_ => random.Next(300, VocabularySize))];
    }

    public TimedRequest Start(int[] prompt, int tokens, ITokenConstraint? constraint = null, CancellationToken cancellation = default, SamplingOptions? sampling = null, int stopAfter = int.MaxValue)
    {
        var sink = new TimedRequest(stopAfter);
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

    public void Dispose()
    {
        Engine.Dispose();
        _backend.Dispose();
        _file.Dispose();
    }
}

/// <summary>Receives a request and notes when.</summary>
internal sealed class TimedRequest(int stopAfter) : GenerationSink
{
    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly TaskCompletionSource<GenerationResult> _result = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Seconds from the request to each token.</summary>
    public List<double> Times { get; } = [];

    public List<int> Tokens { get; } = [];

    public Task<GenerationResult> Task => _result.Task;

    public double CompletedAfter { get; private set; }

    public double LargestGap => Times.Zip(Times.Skip(1)).Select(pair => pair.Second - pair.First).DefaultIfEmpty(0).Max();

    public override bool OnToken(int token)
    {
        Times.Add(Stopwatch.GetElapsedTime(_start).TotalSeconds);
        Tokens.Add(token);
        return Tokens.Count < stopAfter;
    }

    public override void OnCompleted(GenerationResult result)
    {
        CompletedAfter = Stopwatch.GetElapsedTime(_start).TotalSeconds;
        _result.SetResult(result);
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

    public int GetForcedTokens(Span<int> destination) => 0;

    public ITokenConstraint Clone() => new CopyConstraint(tokens) { _next = _next };
}
