using System.Diagnostics;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>Passes every operation on and adds up the time of each kind.</summary>
internal sealed class TimedBackend(Backend inner) : Backend
{
    private readonly SortedDictionary<string, long> _ticks = [];

    public override string Name => inner.Name;

    public override int Threads => inner.Threads;

    public override string? FallbackReason => inner.FallbackReason;

    public override Exception? Failure => inner.Failure;

    public override bool HasPromptKernels => inner.HasPromptKernels;

    public override long KvBytes => inner.KvBytes;

    public void Reset() => _ticks.Clear();

    public string Report(double perTokens) =>
        string.Join(", ", _ticks.OrderByDescending(entry => entry.Value).Select(entry => $"{entry.Key} {entry.Value * 1000.0 / Stopwatch.Frequency / perTokens:F3} ms"));

    public override MachineMemory ReadMemory() => inner.ReadMemory();

    public override void Begin(ForwardBatch batch) => inner.Begin(batch);

    public override void Wait() => inner.Wait();

    public override Matrix CreateMatrix(int rows, int columns) => inner.CreateMatrix(rows, columns);

    public override WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts) => inner.LoadWeights(parts);

    public override WeightVector LoadVector(TensorView tensor, float add) => inner.LoadVector(tensor, add);

    public override LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts) => inner.LoadLowRank(rows, columns, parts);

    public override KvPool CreateKvPool(KvLayout layout, int blockCount) => inner.CreateKvPool(layout, blockCount);

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output)
    {
        long start = Stopwatch.GetTimestamp();
        inner.Embed(table, tokens, scale, output);
        Add("embed", start);
    }

    public override void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        inner.RmsNorm(x, weight, epsilon, output, rows);
        Add("norm", start);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        inner.AddRmsNorm(residual, branch, weight, epsilon, rows);
        Add("norm", start);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, WeightVector next, Matrix output, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        inner.AddRmsNorm(residual, branch, weight, epsilon, next, output, rows);
        Add("norm", start);
    }

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        long start = Stopwatch.GetTimestamp();
        inner.MatMul(x, weights, output, rows, promptRows);
        Add($"matmul {weights.Rows}x{weights.Columns}", start);
    }

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        long start = Stopwatch.GetTimestamp();
        inner.AddLowRank(x, weights, output, rows, promptRows);
        Add("adapters", start);
    }

    public override void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch)
    {
        long start = Stopwatch.GetTimestamp();
        inner.RopeAndStore(qkv, layer, batch);
        Add("rope and store", start);
    }

    public override void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output)
    {
        long start = Stopwatch.GetTimestamp();
        inner.Attention(qkv, layer, batch, output);
        Add("attention", start);
    }

    public override void GeGlu(Matrix gateUp, Matrix output, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        inner.GeGlu(gateUp, output, rows);
        Add("geglu", start);
    }

    public override void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output)
    {
        long start = Stopwatch.GetTimestamp();
        inner.SelectRows(x, rows, output);
        Add("select", start);
    }

    public override void Softcap(Matrix x, float cap, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        inner.Softcap(x, cap, rows);
        Add("softcap", start);
    }

    public override void Dispose() => inner.Dispose();

    private void Add(string name, long start) => _ticks[name] = _ticks.GetValueOrDefault(name) + Stopwatch.GetTimestamp() - start;
}
