using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Quantization;

/// <summary>A backend that does what another does, and sums the squares of everything that weight matrices are multiplied with.</summary>
internal sealed class ImportanceCollector(Backend inner) : Backend
{
    private readonly Dictionary<WeightMatrix, string[]> _names = [];

    /// <summary>The collected matrix.</summary>
    public ImportanceMatrix Matrix { get; } = new();

    public override string Name => inner.Name;

    public override int Threads => inner.Threads;

    public override string? FallbackReason => inner.FallbackReason;

    public override Exception? Failure => inner.Failure;

    public override long KvBytes => inner.KvBytes;

    public override bool HasPromptKernels => inner.HasPromptKernels;

    public override MachineMemory ReadMemory() => inner.ReadMemory();

    public override Matrix CreateMatrix(int rows, int columns) => inner.CreateMatrix(rows, columns);

    public override WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts)
    {
        WeightMatrix weights = inner.LoadWeights(parts);
        string[] names = new string[parts.Length];
        for (int i = 0; i < names.Length; i++)
        {
            names[i] = parts[i].Name;
        }

        _names.Add(weights, names);
        return weights;
    }

    public override WeightVector LoadVector(TensorView tensor, float add) => inner.LoadVector(tensor, add);

    public override LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts) => inner.LoadLowRank(rows, columns, parts);

    public override KvPool CreateKvPool(KvLayout layout, int blockCount) => inner.CreateKvPool(layout, blockCount);

    public override void Begin(ForwardBatch batch) => inner.Begin(batch);

    public override void Wait() => inner.Wait();

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output) => inner.Embed(table, tokens, scale, output);

    public override void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows) => inner.RmsNorm(x, weight, epsilon, output, rows);

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows) => inner.AddRmsNorm(residual, branch, weight, epsilon, rows);

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        foreach (string name in _names[weights])
        {
            for (int row = 0; row < rows; row++)
            {
                Matrix.Add(name, x.Read(row, 1));
            }
        }

        inner.MatMul(x, weights, output, rows, promptRows);
    }

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0) =>
        inner.AddLowRank(x, weights, output, rows, promptRows);

    public override void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch) => inner.RopeAndStore(qkv, in layer, batch);

    public override void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output) => inner.Attention(qkv, in layer, batch, output);

    public override void GeGlu(Matrix gateUp, Matrix output, int rows) => inner.GeGlu(gateUp, output, rows);

    public override void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output) => inner.SelectRows(x, rows, output);

    public override void Softcap(Matrix x, float cap, int rows) => inner.Softcap(x, cap, rows);

    public override void Dispose() => inner.Dispose();
}
