using System.Diagnostics;
using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>Passes every operation on and adds up the time of each kind.</summary>
internal sealed class TimedBackend(Backend inner) : DelegatingBackend(inner)
{
    private readonly SortedDictionary<string, long> _ticks = [];

    public void Reset() => _ticks.Clear();

    public string Report(double perTokens) =>
        string.Join(", ", _ticks.OrderByDescending(entry => entry.Value).Select(entry => $"{entry.Key} {entry.Value * 1000.0 / Stopwatch.Frequency / perTokens:F3} ms"));

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.Embed(table, tokens, scale, output);
        Add("embed", start);
    }

    public override void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.RmsNorm(x, weight, epsilon, output, rows);
        Add("norm", start);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.AddRmsNorm(residual, branch, weight, epsilon, rows);
        Add("norm", start);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, WeightVector next, Matrix output, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.AddRmsNorm(residual, branch, weight, epsilon, next, output, rows);
        Add("norm", start);
    }

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.MatMul(x, weights, output, rows, promptRows);
        Add($"matmul {weights.Rows}x{weights.Columns}", start);
    }

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.AddLowRank(x, weights, output, rows, promptRows);
        Add("adapters", start);
    }

    public override void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.RopeAndStore(qkv, layer, batch);
        Add("rope and store", start);
    }

    public override void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.Attention(qkv, layer, batch, output);
        Add("attention", start);
    }

    public override void GeGlu(Matrix gateUp, Matrix output, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.GeGlu(gateUp, output, rows);
        Add("geglu", start);
    }

    public override void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.SelectRows(x, rows, output);
        Add("select", start);
    }

    public override void Softcap(Matrix x, float cap, int rows)
    {
        long start = Stopwatch.GetTimestamp();
        Inner.Softcap(x, cap, rows);
        Add("softcap", start);
    }

    private void Add(string name, long start) => _ticks[name] = _ticks.GetValueOrDefault(name) + Stopwatch.GetTimestamp() - start;
}
