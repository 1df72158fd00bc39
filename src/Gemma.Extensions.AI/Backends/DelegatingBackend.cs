using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Backends;

/// <summary>
/// Passes every operation on to another backend, so that a subclass can watch or change some of them. Two norms at once stay two operations: a subclass sees each.
/// </summary>
internal abstract class DelegatingBackend(Backend inner) : Backend
{
    public override string Name => Inner.Name;

    public override int Threads => Inner.Threads;

    public override string? FallbackReason => Inner.FallbackReason;

    public override Exception? Failure => Inner.Failure;

    public override bool HasPromptKernels => Inner.HasPromptKernels;

    public override int? PromptRows => Inner.PromptRows;

    public override bool ReadsMappedWeights => Inner.ReadsMappedWeights;

    public override long KvBytes => Inner.KvBytes;

    protected Backend Inner { get; } = inner;

    public override MachineMemory ReadMemory() => Inner.ReadMemory();

    public override Matrix CreateMatrix(int rows, int columns) => Inner.CreateMatrix(rows, columns);

    public override bool CanInterleave(TensorView tensor) => Inner.CanInterleave(tensor);

    public override WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts) => Inner.LoadWeights(parts);

    public override WeightVector LoadVector(TensorView tensor, float add) => Inner.LoadVector(tensor, add);

    public override LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts) => Inner.LoadLowRank(rows, columns, parts);

    public override KvPool CreateKvPool(KvLayout layout, int blockCount) => Inner.CreateKvPool(layout, blockCount);

    public override void Begin(ForwardBatch batch) => Inner.Begin(batch);

    public override void Wait() => Inner.Wait();

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output) => Inner.Embed(table, tokens, scale, output);

    public override void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows) => Inner.RmsNorm(x, weight, epsilon, output, rows);

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows) => Inner.AddRmsNorm(residual, branch, weight, epsilon, rows);

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0) => Inner.MatMul(x, weights, output, rows, promptRows);

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0) =>
        Inner.AddLowRank(x, weights, output, rows, promptRows);

    public override void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch) => Inner.RopeAndStore(qkv, in layer, batch);

    public override void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output) => Inner.Attention(qkv, in layer, batch, output);

    public override void GeGlu(Matrix gateUp, Matrix output, int rows) => Inner.GeGlu(gateUp, output, rows);

    public override void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output) => Inner.SelectRows(x, rows, output);

    public override void Softcap(Matrix x, float cap, int rows) => Inner.Softcap(x, cap, rows);

    public override void Dispose() => Inner.Dispose();
}
