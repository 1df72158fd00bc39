using Gemma.Extensions.AI.Backends;

namespace Gemma.Extensions.AI.Model;

/// <summary>
/// The forward pass of Gemma 2 (technical report, section 2; layer order as in gemma_pytorch), the only one in the project.
/// Holds the activations of one step; weights are shared. Used from one thread at a time.
/// </summary>
internal sealed class GemmaForward : IDisposable
{
    private readonly GemmaConfig _config;
    private readonly GemmaWeights _weights;
    private readonly Backend _backend;
    private readonly AttentionSpec[] _attention;
    private readonly Matrix _x, _h, _qkv, _heads, _branch, _gateUp, _ffn, _selected;
    private readonly Matrix? _logits;

    /// <param name="config">Numbers of the model.</param>
    /// <param name="weights">Weights of the model, loaded by <paramref name="backend"/>.</param>
    /// <param name="backend">Where the operations run.</param>
    /// <param name="pool">Key/value memory; local and global layers both number their layers from 0 within a block of their own.</param>
    /// <param name="maxRows">Most rows of one batch.</param>
    /// <param name="maxLogitRows">Most rows of one call of <see cref="Logits"/>.</param>
    public GemmaForward(GemmaConfig config, GemmaWeights weights, Backend backend, KvPool pool, int maxRows, int maxLogitRows)
    {
        _config = config;
        _weights = weights;
        _backend = backend;
        _attention = [.. Enumerable.Range(0, config.LayerCount).Select(layer => Spec(config, pool, layer))];
        MaxLogitRows = maxLogitRows;
        _x = backend.CreateMatrix(maxRows, config.HiddenSize);
        _h = backend.CreateMatrix(maxRows, config.HiddenSize);
        _qkv = backend.CreateMatrix(maxRows, config.QuerySize + 2 * config.KvSize);
        _heads = backend.CreateMatrix(maxRows, config.QuerySize);
        _branch = backend.CreateMatrix(maxRows, config.HiddenSize);
        _gateUp = backend.CreateMatrix(maxRows, 2 * config.FeedForwardSize);
        _ffn = backend.CreateMatrix(maxRows, config.FeedForwardSize);
        _selected = backend.CreateMatrix(maxLogitRows, config.HiddenSize);
        _logits = weights.Head is null ? null : backend.CreateMatrix(maxLogitRows, config.VocabularySize);
    }

    public int MaxLogitRows { get; }

    /// <summary>Layout of the key/value memory that a model needs: a block serves the local layers or the global layers of some tokens.</summary>
    public static KvLayout KvLayout(GemmaConfig config, int blockTokens, GemmaKvCacheType type) =>
        new((config.LayerCount + 1) / 2, config.KvHeadCount, config.HeadDim, blockTokens, type);

    /// <summary>
    /// Computes the batch and stores its keys and values. <paramref name="abandon"/> is asked twice a layer; where it says true the pass ends
    /// early, the result is null, and the same batch may be run again later.
    /// </summary>
    /// <returns>Final hidden states [rows, hidden], after the output norm; valid until the next call.</returns>
    public Matrix? Run(ForwardBatch batch, Func<bool>? abandon = null)
    {
        int n = batch.Rows, prompts = batch.PromptRows;
        float epsilon = _config.RmsNormEpsilon;
        ReadOnlySpan<AdapterGroup> adapters = batch.GroupByAdapter();
        _backend.Begin(batch);
        _backend.Embed(_weights.Embedding, batch.Tokens.AsSpan(0, n), _config.EmbeddingScale, _x);  // x [n, hidden]
        _backend.RmsNorm(_x, _weights.Layers[0].AttentionNorm, epsilon, _h, n);         // h [n, hidden]
        for (int i = 0; i < _weights.Layers.Length; i++)
        {
            if (abandon is not null && abandon())
            {
                return null;
            }

            LayerWeights layer = _weights.Layers[i];
            _backend.MatMul(_h, layer.Qkv, _qkv, n, prompts);                           // qkv [n, (heads + 2·kvHeads)·headDim]
            AddAdapters(batch, adapters, i, LayerMap.Qkv, _h, _qkv);
            _backend.RopeAndStore(_qkv, in _attention[i], batch);                       // k, v → key/value memory
            _backend.Attention(_qkv, in _attention[i], batch, _heads);                  // heads [n, heads·headDim]
            _backend.MatMul(_heads, layer.AttentionOutput, _branch, n, prompts);        // branch [n, hidden]
            AddAdapters(batch, adapters, i, LayerMap.AttentionOutput, _heads, _branch);
            if (abandon is not null && abandon())
            {
                return null;
            }

            _backend.AddRmsNorm(_x, _branch, layer.PostAttentionNorm, epsilon, layer.FeedForwardNorm, _h, n);    // x += norm(branch), h = norm(x) [n, hidden]
            _backend.MatMul(_h, layer.GateUp, _gateUp, n, prompts);                     // gateUp [n, 2·ffn]
            AddAdapters(batch, adapters, i, LayerMap.GateUp, _h, _gateUp);
            _backend.GeGlu(_gateUp, _ffn, n);                                           // ffn [n, ffn]
            _backend.MatMul(_ffn, layer.Down, _branch, n, prompts);                     // branch [n, hidden]
            AddAdapters(batch, adapters, i, LayerMap.Down, _ffn, _branch);
            WeightVector next = i + 1 < _weights.Layers.Length ? _weights.Layers[i + 1].AttentionNorm : _weights.OutputNorm;
            _backend.AddRmsNorm(_x, _branch, layer.PostFeedForwardNorm, epsilon, next, _h, n);                   // x += norm(branch), h = norm(x) [n, hidden]
        }

        return _h;
    }

    /// <summary>
    /// Logits of some rows of the batch that <see cref="Run"/> computed last, after the final cap. The last <paramref name="promptRows"/> are multiplied as a prompt's: those that
    /// are read out, which may be many. A row that a token is drawn from is not, be it the last of a prompt: one row is sooner done by the kernels of generation.
    /// </summary>
    /// <returns>[rows.Length, vocabulary] in the order of <paramref name="rows"/>; valid until the next call.</returns>
    /// <exception cref="InvalidOperationException">The model predicts no tokens.</exception>
    public Matrix Logits(ReadOnlySpan<int> rows, int promptRows = 0)
    {
        if (_weights.Head is null || _logits is null)
        {
            throw new InvalidOperationException("The model has no output head, so it has no logits.");
        }

        _backend.SelectRows(_h, rows, _selected);                                       // selected [m, hidden]
        _backend.MatMul(_selected, _weights.Head, _logits, rows.Length, promptRows);    // logits [m, vocabulary]
        if (_config.FinalSoftcap > 0)
        {
            _backend.Softcap(_logits, _config.FinalSoftcap, rows.Length);
        }

        return _logits;
    }

    public void Dispose()
    {
        foreach (Matrix? matrix in (ReadOnlySpan<Matrix?>)[_x, _h, _qkv, _heads, _branch, _gateUp, _ffn, _selected, _logits])
        {
            matrix?.Dispose();
        }
    }

    /// <summary>output[r] += B·(A·x[r]) for the rows that run with an adapter, adapter by adapter; the base's product was one for all rows.</summary>
    private void AddAdapters(ForwardBatch batch, ReadOnlySpan<AdapterGroup> adapters, int layer, LayerMap map, Matrix x, Matrix output)
    {
        foreach (ref readonly AdapterGroup group in adapters)
        {
            if (group.Adapter[LayerMaps.Index(layer, map)] is { } update)
            {
                _backend.AddLowRank(x, update, output, batch.RowsOf(group), group.PromptCount);
            }
        }
    }

    private static AttentionSpec Spec(GemmaConfig config, KvPool pool, int layer)
    {
        bool local = GemmaConfig.IsLocal(layer);
        return new AttentionSpec(
            pool, layer / 2, local, local ? config.SlidingWindow : int.MaxValue, config.HeadCount, config.KvHeadCount, config.HeadDim,
            config.QueryScale, config.AttentionSoftcap, config.RopeBaseOf(layer), config.RopeFactorOf(layer));
    }
}
