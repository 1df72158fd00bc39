using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;

namespace Gemma.Extensions.AI.Training;

/// <summary>Sums over the targets of one or more batches.</summary>
/// <param name="Loss">Sum of the minimised loss.</param>
/// <param name="NegativeLogLikelihood">Sum of −log p(label).</param>
/// <param name="Correct">Targets whose most likely token is the label.</param>
/// <param name="Targets">Targets.</param>
internal readonly record struct LossSums(double Loss, double NegativeLogLikelihood, int Correct, int Targets)
{
    public static LossSums operator +(LossSums a, LossSums b) => new(
        a.Loss + b.Loss, a.NegativeLogLikelihood + b.NegativeLogLikelihood, a.Correct + b.Correct, a.Targets + b.Targets);
}

/// <summary>Mixture of label loss and teacher: (1 − Mix)·CE + Mix·T²·KL(teacher‖student), both softened by T.</summary>
/// <param name="Mix">Share of the teacher, 0 to 1.</param>
/// <param name="Temperature">T.</param>
internal readonly record struct LossOptions(float Mix, float Temperature)
{
    public static LossOptions Label => new(0, 1);
}

/// <summary>
/// Forward and hand-derived backward pass of Gemma 2 over a packed batch, with the memory that one worker needs for it. Reads like the
/// model: one operation a line, the backward in reverse order. Not thread-safe; workers have one each.
/// </summary>
internal sealed unsafe class GemmaBackprop
{
    /// <summary>Rows of logits computed at once where the vocabulary is large: every row more is 2 MB, every row less reads the embedding more often.</summary>
    private const int MinHeadRows = 64;

    private readonly TrainedWeights _model;
    private readonly GemmaConfig _config;
    private readonly int _maxTokens, _headRows;
    private readonly LayerState[] _layers;
    private readonly string _head;
    private readonly FloatBuffer _last, _selected, _normalised, _logits, _scratch, _rope, _localRope;
    private readonly FloatBuffer _dX, _dBranch, _dNorm, _dWide, _dQkv, _dHead, _dSelected;

    /// <param name="model">Weights, trained or not; read, never written.</param>
    /// <param name="maxTokens">Tokens of the largest batch.</param>
    /// <param name="maxLength">Tokens of the longest document.</param>
    public GemmaBackprop(TrainedWeights model, int maxTokens, int maxLength)
    {
        GemmaConfig c = _config = model.Config;
        _model = model;
        _maxTokens = maxTokens;
        _headRows = HeadRows(c);
        _head = GemmaTensors.LogitsOf(c);
        _layers = [.. Enumerable.Range(0, c.LayerCount).Select(_ => new LayerState(c, maxTokens))];
        long hidden = (long)maxTokens * c.HiddenSize;
        _last = new(hidden);
        _selected = new(hidden);
        _normalised = new(hidden);
        _dX = new(hidden);
        _dBranch = new(hidden);
        _dNorm = new(hidden);
        _dHead = new((long)maxTokens * c.QuerySize);
        _dSelected = new(hidden);
        _dWide = new((long)maxTokens * 3 * c.FeedForwardSize);
        _dQkv = new((long)maxTokens * (c.QuerySize + 2 * c.KvSize));
        _logits = new(2L * _headRows * c.VocabularySize);
        _scratch = new(Attention.ScratchSize(maxLength, c.HeadCount / c.KvHeadCount, c.HeadDim));
        _rope = RopeTable(c, 1, maxLength);
        _localRope = HasLocalRope(c) ? RopeTable(c, 0, maxLength) : _rope;
    }

    /// <summary>Targets whose logits exist at once.</summary>
    public static int HeadRows(GemmaConfig c) => Math.Clamp((1 << 19) / c.VocabularySize, MinHeadRows, 256);

    /// <summary>Bytes of float32 that a worker holds for batches of this size.</summary>
    public static long WorkerBytes(GemmaConfig c, int maxTokens, int maxLength) => 4L * (
        (long)maxTokens * (c.LayerCount * (6L * c.HiddenSize + 2L * c.QuerySize + 2L * c.KvSize + c.HeadCount + 3L * c.FeedForwardSize)
            + 7L * c.HiddenSize + 2L * c.QuerySize + 2L * c.KvSize + 3L * c.FeedForwardSize)
        + 2L * HeadRows(c) * c.VocabularySize + Attention.ScratchSize(maxLength, c.HeadCount / c.KvHeadCount, c.HeadDim) + (HasLocalRope(c) ? 2L : 1) * maxLength * c.HeadDim);

    /// <summary>Loss of the batch without gradients.</summary>
    public LossSums Evaluate(PackedBatch batch, LossOptions loss)
    {
        Forward(batch);
        return Head(batch, loss, 0, null);
    }

    /// <summary>Adds <paramref name="scale"/> × the gradient of the summed loss to <paramref name="gradient"/>, laid out like the trained weights.</summary>
    public LossSums Accumulate(PackedBatch batch, LossOptions loss, float scale, FloatBuffer gradient)
    {
        Forward(batch);
        LossSums sums = Head(batch, loss, scale, gradient);
        Backward(batch, gradient);
        return sums;
    }

    /// <summary>Logits after the final cap, [tokens, vocabulary], of every row of a batch.</summary>
    public float[] Logits(PackedBatch batch)
    {
        Forward(batch);
        int tokens = batch.Tokens.Length, hidden = _config.HiddenSize, vocabulary = _config.VocabularySize;
        Operations.RmsNorm(_last.Pointer, W("output_norm.weight"), _config.RmsNormEpsilon, _normalised.Pointer, tokens, hidden);
        float[] logits = new float[(long)tokens * vocabulary];
        fixed (float* output = logits)
        {
            Gemm.NT(tokens, vocabulary, hidden, _normalised.Pointer, hidden, W(_head), hidden, output, vocabulary, accumulate: false);
        }

        if (_config.FinalSoftcap != 0)
        {
            GradientMath.SoftCap(logits, _config.FinalSoftcap);
        }

        return logits;
    }

    private void Forward(PackedBatch batch)
    {
        GemmaConfig c = _config;
        int tokens = batch.Tokens.Length, hidden = c.HiddenSize, wide = c.FeedForwardSize, qkvSize = c.QuerySize + 2 * c.KvSize;
        if (tokens > _maxTokens)
        {
            throw new ArgumentException($"The batch has {tokens:N0} tokens, but this worker was made for {_maxTokens:N0}.", nameof(batch));
        }

        float* scratch = _scratch.Pointer;
        Operations.Embed(W("token_embd.weight"), batch.Tokens, c.EmbeddingScale, _layers[0].Input.Pointer, hidden);
        for (int l = 0; l < c.LayerCount; l++)
        {
            LayerState s = _layers[l];
            string p = $"blk.{l}.";
            float* output = l + 1 < c.LayerCount ? _layers[l + 1].Input.Pointer : _last.Pointer;
            Operations.RmsNorm(s.Input.Pointer, W(p + "attn_norm.weight"), c.RmsNormEpsilon, s.AttentionInput.Pointer, tokens, hidden);
            _model.Forward(l, LayerMap.Qkv, tokens, s.AttentionInput.Pointer, s.Qkv.Pointer);
            Rope(l, s.Qkv, batch.Positions, 1);
            for (int d = 0; d + 1 < batch.Starts.Length; d++)
            {
                int start = batch.Starts[d];
                Attention.Forward(Shape(l, batch.Starts[d + 1] - start), s.Qkv.Pointer + (long)start * qkvSize,
                    s.Heads.Pointer + (long)start * c.QuerySize, s.LogSumExp.Pointer + start, tokens, scratch);
            }

            _model.Forward(l, LayerMap.AttentionOutput, tokens, s.Heads.Pointer, s.AttentionOutput.Pointer);
            Operations.AddRmsNorm(s.Input.Pointer, s.AttentionOutput.Pointer, W(p + "post_attention_norm.weight"), c.RmsNormEpsilon, s.Middle.Pointer, tokens, hidden);
            Operations.RmsNorm(s.Middle.Pointer, W(p + "ffn_norm.weight"), c.RmsNormEpsilon, s.FeedForwardInput.Pointer, tokens, hidden);
            _model.Forward(l, LayerMap.GateUp, tokens, s.FeedForwardInput.Pointer, s.GateUp.Pointer);
            Operations.GeGlu(s.GateUp.Pointer, s.Activated.Pointer, tokens, wide);
            _model.Forward(l, LayerMap.Down, tokens, s.Activated.Pointer, s.FeedForwardOutput.Pointer);
            Operations.AddRmsNorm(s.Middle.Pointer, s.FeedForwardOutput.Pointer, W(p + "post_ffw_norm.weight"), c.RmsNormEpsilon, output, tokens, hidden);
        }
    }

    /// <summary>From the gradient of the last layer's output in _dX down to the embedding.</summary>
    private void Backward(PackedBatch batch, FloatBuffer gradient)
    {
        GemmaConfig c = _config;
        int tokens = batch.Tokens.Length, hidden = c.HiddenSize, wide = c.FeedForwardSize, qkvSize = c.QuerySize + 2 * c.KvSize;
        float* scratch = _scratch.Pointer;
        float* dX = _dX.Pointer;
        float* dWide = _dWide.Pointer;
        float* dGateUp = dWide + (long)tokens * wide;
        for (int l = c.LayerCount - 1; l >= 0; l--)
        {
            LayerState s = _layers[l];
            string p = $"blk.{l}.";
            Operations.RmsNormBackward(s.FeedForwardOutput.Pointer, W(p + "post_ffw_norm.weight"), c.RmsNormEpsilon, dX, _dBranch.Pointer, G(p + "post_ffw_norm.weight"), tokens, hidden, false);
            _model.Backward(l, LayerMap.Down, tokens, s.Activated.Pointer, _dBranch.Pointer, dWide, gradient);
            Operations.GeGluBackward(s.GateUp.Pointer, dWide, dGateUp, tokens, wide);
            _model.Backward(l, LayerMap.GateUp, tokens, s.FeedForwardInput.Pointer, dGateUp, _dNorm.Pointer, gradient);
            Operations.RmsNormBackward(s.Middle.Pointer, W(p + "ffn_norm.weight"), c.RmsNormEpsilon, _dNorm.Pointer, dX, G(p + "ffn_norm.weight"), tokens, hidden, true);

            Operations.RmsNormBackward(s.AttentionOutput.Pointer, W(p + "post_attention_norm.weight"), c.RmsNormEpsilon, dX, _dBranch.Pointer, G(p + "post_attention_norm.weight"), tokens, hidden, false);
            _model.Backward(l, LayerMap.AttentionOutput, tokens, s.Heads.Pointer, _dBranch.Pointer, _dHead.Pointer, gradient);
            _dQkv.Span[..(tokens * qkvSize)].Clear();
            for (int d = 0; d + 1 < batch.Starts.Length; d++)
            {
                int start = batch.Starts[d];
                Attention.Backward(Shape(l, batch.Starts[d + 1] - start), s.Qkv.Pointer + (long)start * qkvSize, s.Heads.Pointer + (long)start * c.QuerySize,
                    s.LogSumExp.Pointer + start, tokens, _dHead.Pointer + (long)start * c.QuerySize, _dQkv.Pointer + (long)start * qkvSize, scratch);
            }

            Rope(l, _dQkv, batch.Positions, -1);
            _model.Backward(l, LayerMap.Qkv, tokens, s.AttentionInput.Pointer, _dQkv.Pointer, _dNorm.Pointer, gradient);
            Operations.RmsNormBackward(s.Input.Pointer, W(p + "attn_norm.weight"), c.RmsNormEpsilon, _dNorm.Pointer, dX, G(p + "attn_norm.weight"), tokens, hidden, true);
        }

        if (G("token_embd.weight") is var dTable && dTable is not null)
        {
            Operations.EmbedBackward(batch.Tokens, c.EmbeddingScale, dX, dTable, hidden);
        }

        float* G(string name) => _model.Gradient(gradient, name);
    }

    /// <summary>
    /// Final norm, head, cap and loss at the target rows only, a few rows at a time so that [tokens, vocabulary] never exists. With a
    /// gradient, leaves the gradient of the last layer's output in _dX.
    /// </summary>
    private LossSums Head(PackedBatch batch, LossOptions loss, float scale, FloatBuffer? gradient)
    {
        GemmaConfig c = _config;
        int hidden = c.HiddenSize, vocabulary = c.VocabularySize, targets = batch.TargetRows.Length;
        float* head = W(_head);
        for (int i = 0; i < targets; i++)
        {
            Row(_last, batch.TargetRows[i]).CopyTo(Row(_selected, i));
        }

        Operations.RmsNorm(_selected.Pointer, W("output_norm.weight"), c.RmsNormEpsilon, _normalised.Pointer, targets, hidden);
        LossSums sums = default;
        for (int first = 0; first < targets; first += _headRows)
        {
            int rows = Math.Min(_headRows, targets - first);
            float* x = _normalised.Pointer + (long)first * hidden;
            Gemm.NT(rows, vocabulary, hidden, x, hidden, head, hidden, _logits.Pointer, vocabulary, accumulate: false);
            TeacherTargets? teacher = loss.Mix > 0 ? batch.TeacherAt(first, rows) : null;
            for (int r = 0; r < rows; r++)
            {
                sums += HeadLoss.Row(_logits.Span.Slice(r * vocabulary, vocabulary), _logits.Span.Slice((rows + r) * vocabulary, vocabulary),
                    batch.Labels[first + r], teacher, r, loss, c.FinalSoftcap, scale);
            }

            if (gradient is not null)
            {
                float* dLogits = _logits.Pointer + (long)rows * vocabulary;
                Gemm.NN(rows, hidden, vocabulary, dLogits, vocabulary, head, hidden, _dSelected.Pointer + (long)first * hidden, hidden, accumulate: false);
                if (_model.Gradient(gradient, _head) is var dHead && dHead is not null)
                {
                    Gemm.TN(vocabulary, hidden, rows, dLogits, vocabulary, x, hidden, dHead, hidden, accumulate: true);
                }
            }
        }

        if (gradient is not null)
        {
            Operations.RmsNormBackward(_selected.Pointer, W("output_norm.weight"), c.RmsNormEpsilon, _dSelected.Pointer, _dBranch.Pointer,
                _model.Gradient(gradient, "output_norm.weight"), targets, hidden, false);
            _dX.Span[..(batch.Tokens.Length * hidden)].Clear();
            for (int i = 0; i < targets; i++)
            {
                Row(_dBranch, i).CopyTo(Row(_dX, batch.TargetRows[i]));
            }
        }

        return sums;

        Span<float> Row(FloatBuffer matrix, int row) => matrix.Span.Slice(row * hidden, hidden);
    }

    private void Rope(int layer, FloatBuffer qkv, int[] positions, float direction) => Operations.Rope(
        qkv.Pointer, _config.QuerySize + 2 * _config.KvSize, _config.HeadCount + _config.KvHeadCount, _config.HeadDim, positions,
        (GemmaConfig.IsLocal(layer) ? _localRope : _rope).Pointer, _rope.Length / 2, direction);

    private Attention.Shape Shape(int layer, int length) => new(
        length, _config.HeadCount, _config.KvHeadCount, _config.HeadDim, GemmaConfig.IsLocal(layer) ? _config.SlidingWindow : int.MaxValue,
        _config.QueryScale, _config.AttentionSoftcap);

    private float* W(string name) => _model.Tensor(name);

    private static bool HasLocalRope(GemmaConfig c) => c.LocalRopeBase is not null || c.LocalRopeFactor is not null;

    /// <summary>Cosines and sines of the layers of the same type, by position.</summary>
    private static FloatBuffer RopeTable(GemmaConfig c, int layer, int maxLength)
    {
        int half = c.HeadDim / 2;
        FloatBuffer table = new(2L * maxLength * half);
        for (int position = 0; position < maxLength; position++)
        {
            for (int i = 0; i < half; i++)
            {
                double angle = position * Math.Pow(c.RopeBaseOf(layer), -2.0 * i / c.HeadDim) / c.RopeFactorOf(layer);
                table.Span[position * half + i] = (float)Math.Cos(angle);
                table.Span[(maxLength + position) * half + i] = (float)Math.Sin(angle);
            }
        }

        return table;
    }

    /// <summary>Activations of one layer that the backward needs, [tokens, …].</summary>
    private sealed class LayerState(GemmaConfig c, int tokens)
    {
        public readonly FloatBuffer Input = new((long)tokens * c.HiddenSize);
        public readonly FloatBuffer AttentionInput = new((long)tokens * c.HiddenSize);
        public readonly FloatBuffer Qkv = new((long)tokens * (c.QuerySize + 2 * c.KvSize));
        public readonly FloatBuffer LogSumExp = new((long)tokens * c.HeadCount);
        public readonly FloatBuffer Heads = new((long)tokens * c.QuerySize);
        public readonly FloatBuffer AttentionOutput = new((long)tokens * c.HiddenSize);
        public readonly FloatBuffer Middle = new((long)tokens * c.HiddenSize);
        public readonly FloatBuffer FeedForwardInput = new((long)tokens * c.HiddenSize);
        public readonly FloatBuffer GateUp = new((long)tokens * 2 * c.FeedForwardSize);
        public readonly FloatBuffer Activated = new((long)tokens * c.FeedForwardSize);
        public readonly FloatBuffer FeedForwardOutput = new((long)tokens * c.HiddenSize);
    }
}
