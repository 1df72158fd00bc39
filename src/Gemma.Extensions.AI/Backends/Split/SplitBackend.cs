using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Backends.Split;

/// <summary>
/// Shares a model between two backends: the first embeds tokens and computes the first layers, the second the other layers and the output head. An operation runs where its weights or
/// its layer are, or else where its input is, and matrices are carried over where that changes: twice a pass.
/// </summary>
internal sealed class SplitBackend : Backend
{
    private readonly Backend _first, _second;
    private readonly int _firstLayers, _layers;
    private readonly bool _isTied;

    /// <param name="first">Usually the CPU. Owned from here on.</param>
    /// <param name="second">Usually a GPU. Owned from here on.</param>
    /// <param name="firstLayers">Layers of the first; even, since a local and a global layer share a place in key/value memory.</param>
    /// <param name="layers">Layers of the model.</param>
    /// <param name="isTied">Whether the embedding is the output head too.</param>
    public SplitBackend(Backend first, Backend second, int firstLayers, int layers, bool isTied)
    {
        if (firstLayers < 0 || firstLayers > layers || firstLayers % 2 != 0)
        {
            throw new ArgumentOutOfRangeException(nameof(firstLayers), firstLayers, $"An even number from 0 to {layers} is expected.");
        }

        (_first, _second, _firstLayers, _layers, _isTied) = (first, second, firstLayers, layers, isTied);
    }

    public override string Name => $"{_second.Name}, {_layers - _firstLayers} of {_layers} layers, and {_first.Name}";

    public override int Threads => _first.Threads;

    public override string? FallbackReason => _first.FallbackReason ?? _second.FallbackReason;

    public override Exception? Failure => _second.Failure ?? _first.Failure;

    /// <summary>Default memory for keys and values of all layers, limited so that each side's share fits it.</summary>
    public override long KvBytes => (long)Math.Min(
        _firstLayers == 0 ? double.MaxValue : (double)_first.KvBytes * _layers / _firstLayers,
        _firstLayers == _layers ? double.MaxValue : (double)_second.KvBytes * _layers / (_layers - _firstLayers));

    public override bool HasPromptKernels => _first.HasPromptKernels || _second.HasPromptKernels;

    public override MachineMemory ReadMemory() => _first.ReadMemory();

    public override Matrix CreateMatrix(int rows, int columns) => new SplitMatrix(_first.CreateMatrix(rows, columns), _second.CreateMatrix(rows, columns));

    public override WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts)
    {
        bool isSecond = IsSecond(parts[0].Name), isEmbedding = parts[0].Name == GemmaTensors.Embedding;
        return new SplitWeights(isSecond ? null : _first.LoadWeights(parts), isSecond || (isEmbedding && _isTied) ? _second.LoadWeights(parts) : null);
    }

    public override WeightVector LoadVector(TensorView tensor, float add)
    {
        bool isSecond = IsSecond(tensor.Name);
        return new SplitVector((isSecond ? _second : _first).LoadVector(tensor, add), isSecond);
    }

    public override LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts) =>
        new SplitLowRank(_first.LoadLowRank(rows, columns, parts), _second.LoadLowRank(rows, columns, parts));

    public override KvPool CreateKvPool(KvLayout layout, int blockCount)
    {
        int first = Math.Min(_firstLayers / 2, layout.Layers);
        return new SplitKvPool(
            layout, blockCount, _first.CreateKvPool(layout with { Layers = first }, blockCount), _second.CreateKvPool(layout with { Layers = layout.Layers - first }, blockCount));
    }

    public override void Begin(ForwardBatch batch)
    {
        _first.Begin(batch);
        _second.Begin(batch);
    }

    public override void Wait()
    {
        _first.Wait();
        _second.Wait();
    }

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output) =>
        _first.Embed(((SplitWeights)table).First!, tokens, scale, ((SplitMatrix)output).Output(isSecond: false));

    public override void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows)
    {
        SplitVector vector = (SplitVector)weight;
        Side(vector.IsSecond).RmsNorm(On(x, vector.IsSecond, rows), vector.Inner, epsilon, Output(output, vector.IsSecond), rows);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows)
    {
        SplitVector vector = (SplitVector)weight;
        Side(vector.IsSecond).AddRmsNorm(On(residual, vector.IsSecond, rows), On(branch, vector.IsSecond, rows), vector.Inner, epsilon, rows);
    }

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        // The embedding is multiplied with as the output head only, which is the second's.
        SplitWeights split = (SplitWeights)weights;
        bool isSecond = split.Second is not null;
        Side(isSecond).MatMul(On(x, isSecond, rows), split.Second ?? split.First!, Output(output, isSecond), rows, promptRows);
    }

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        SplitLowRank update = (SplitLowRank)weights;
        bool isSecond = ((SplitMatrix)output).IsOnSecond;
        int all = rows.Length == 0 ? 0 : rows[^1] + 1;
        Side(isSecond).AddLowRank(On(x, isSecond, all), isSecond ? update.Second : update.First, On(output, isSecond, all), rows, promptRows);
    }

    public override void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch)
    {
        bool isSecond = Inner(layer, out AttentionSpec inner);
        Side(isSecond).RopeAndStore(On(qkv, isSecond, batch.Rows), in inner, batch);
    }

    public override void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output)
    {
        bool isSecond = Inner(layer, out AttentionSpec inner);
        Side(isSecond).Attention(On(qkv, isSecond, batch.Rows), in inner, batch, Output(output, isSecond));
    }

    public override void GeGlu(Matrix gateUp, Matrix output, int rows)
    {
        bool isSecond = ((SplitMatrix)gateUp).IsOnSecond;
        Side(isSecond).GeGlu(On(gateUp, isSecond, rows), Output(output, isSecond), rows);
    }

    public override void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output)
    {
        bool isSecond = ((SplitMatrix)x).IsOnSecond;
        Side(isSecond).SelectRows(On(x, isSecond, 0), rows, Output(output, isSecond));
    }

    public override void Softcap(Matrix x, float cap, int rows)
    {
        bool isSecond = ((SplitMatrix)x).IsOnSecond;
        Side(isSecond).Softcap(On(x, isSecond, rows), cap, rows);
    }

    public override void Dispose()
    {
        _first.Dispose();
        _second.Dispose();
    }

    private Backend Side(bool isSecond) => isSecond ? _second : _first;

    private static Matrix On(Matrix matrix, bool isSecond, int rows) => ((SplitMatrix)matrix).On(isSecond, rows);

    private static Matrix Output(Matrix matrix, bool isSecond) => ((SplitMatrix)matrix).Output(isSecond);

    /// <summary>Tensors of a layer are named blk.N.…; behind the layers come the last norm and the output head.</summary>
    private bool IsSecond(string tensor) => GemmaTensors.LayerOf(tensor) is { } layer ? layer >= _firstLayers : tensor != GemmaTensors.Embedding;

    /// <summary>A layer as its side knows it. Layers alternate between local and global, and one of each has the same place in its pool.</summary>
    private bool Inner(in AttentionSpec layer, out AttentionSpec inner)
    {
        SplitKvPool pool = (SplitKvPool)layer.Pool;
        int first = pool.First.Layout.Layers;
        bool isSecond = layer.PoolLayer >= first;
        inner = isSecond ? layer with { Pool = pool.Second, PoolLayer = layer.PoolLayer - first } : layer with { Pool = pool.First };
        return isSecond;
    }
}
