using System.Numerics.Tensors;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Grouped-query attention with soft cap, causal mask and sliding window over one document, in blocks of query rows so that scores are
/// [64, keys]. The backward recomputes the scores from q, k and the saved log-sum-exp instead of keeping probabilities.
/// </summary>
internal static unsafe class Attention
{
    /// <summary>Query rows of one block.</summary>
    public const int QueryBlock = 64;

    /// <summary>Shape of one attention layer over one document.</summary>
    /// <param name="Length">Tokens of the document.</param>
    /// <param name="Heads">Query heads.</param>
    /// <param name="KvHeads">Key/value heads.</param>
    /// <param name="HeadDim">Elements of one head.</param>
    /// <param name="Window">Query i sees key j iff i − j &lt; Window.</param>
    /// <param name="Scale">Factor on q·k.</param>
    /// <param name="Cap">Soft cap of the scores; 0: none.</param>
    public readonly record struct Shape(int Length, int Heads, int KvHeads, int HeadDim, int Window, float Scale, float Cap)
    {
        /// <summary>Floats from one row of qkv to the next.</summary>
        public int Stride => (Heads + 2 * KvHeads) * HeadDim;
    }

    /// <summary>Scratch floats that both directions need.</summary>
    public static int ScratchSize(int maxLength) => 3 * QueryBlock * maxLength + maxLength;

    /// <summary>output = softmax(cap(q·kᵀ·scale))·v for every head. qkv is [length, q|k|v], output [length, heads·headDim], logSumExp [heads, length] with stride <paramref name="lseStride"/>.</summary>
    public static void Forward(in Shape shape, float* qkv, float* output, float* logSumExp, int lseStride, float* scratch)
    {
        int d = shape.HeadDim, stride = shape.Stride, outStride = shape.Heads * d;
        for (int h = 0; h < shape.Heads; h++)
        {
            int group = h / (shape.Heads / shape.KvHeads);
            float* q = qkv + h * d;
            float* k = qkv + (shape.Heads + group) * d;
            float* v = qkv + (shape.Heads + shape.KvHeads + group) * d;
            for (int start = 0; start < shape.Length; start += QueryBlock)
            {
                int rows = Math.Min(QueryBlock, shape.Length - start);
                (int first, int keys) = KeyRange(shape, start, rows);
                Gemm.NT(rows, keys, d, q + (long)start * stride, stride, k + (long)first * stride, stride, scratch, keys, accumulate: false);
                for (int r = 0; r < rows; r++)
                {
                    float* row = scratch + (long)r * keys;
                    Span<float> visible = Visible(shape, start + r, first, keys, row);
                    float max = shape.Cap == 0 ? TensorPrimitives.Max<float>(visible) * shape.Scale : 0; // capped scores cannot overflow exp
                    float sum = VectorMath.ExpCapped(visible, shape.Scale, shape.Cap, max);
                    TensorPrimitives.Multiply(visible, 1f / sum, visible);
                    logSumExp[(long)h * lseStride + start + r] = max + MathF.Log(sum);
                }

                Gemm.NN(rows, d, keys, scratch, keys, v + (long)first * stride, stride, output + (long)start * outStride + h * d, outStride, accumulate: false);
            }
        }
    }

    /// <summary>
    /// Gradient of q, k and v into dQkv, which must be zero on entry. With p the probabilities and t = tanh(scale·q·k/cap):
    /// dv = pᵀ·do, dp = do·vᵀ, ds = p·(dp − do·o)·(1 − t²)·scale, dq = ds·k, dk = dsᵀ·q.
    /// </summary>
    public static void Backward(in Shape shape, float* qkv, float* output, float* logSumExp, int lseStride, float* dOutput, float* dQkv, float* scratch)
    {
        int d = shape.HeadDim, stride = shape.Stride, outStride = shape.Heads * d;
        float* dp = scratch + (long)QueryBlock * shape.Length;
        float* ds = dp + (long)QueryBlock * shape.Length;
        for (int h = 0; h < shape.Heads; h++)
        {
            int group = h / (shape.Heads / shape.KvHeads);
            int kOffset = (shape.Heads + group) * d, vOffset = (shape.Heads + shape.KvHeads + group) * d;
            for (int start = 0; start < shape.Length; start += QueryBlock)
            {
                int rows = Math.Min(QueryBlock, shape.Length - start);
                (int first, int keys) = KeyRange(shape, start, rows);
                float* q = qkv + (long)start * stride + h * d;
                float* k = qkv + (long)first * stride + kOffset;
                float* v = qkv + (long)first * stride + vOffset;
                float* dO = dOutput + (long)start * outStride + h * d;
                Gemm.NT(rows, keys, d, q, stride, k, stride, scratch, keys, accumulate: false);
                Gemm.NT(rows, keys, d, dO, outStride, v, stride, dp, keys, accumulate: false);
                for (int r = 0; r < rows; r++)
                {
                    float* row = scratch + (long)r * keys;
                    float* dRow = ds + (long)r * keys;
                    new Span<float>(dRow, keys).Clear();
                    Span<float> visible = Visible(shape, start + r, first, keys, row);
                    int offset = VisibleStart(shape, start + r, first);
                    float dot = TensorPrimitives.Dot(
                        new ReadOnlySpan<float>(dO + (long)r * outStride, d), new ReadOnlySpan<float>(output + (long)(start + r) * outStride + h * d, d));
                    VectorMath.AttentionGradient(visible, new ReadOnlySpan<float>(dp + (long)r * keys + offset, visible.Length), new Span<float>(dRow + offset, visible.Length),
                        shape.Scale, shape.Cap, logSumExp[(long)h * lseStride + start + r], dot);
                }

                Gemm.NN(rows, d, keys, ds, keys, k, stride, dQkv + (long)start * stride + h * d, stride, accumulate: true);
                Gemm.TN(keys, d, rows, ds, keys, q, stride, dQkv + (long)first * stride + kOffset, stride, accumulate: true);
                Gemm.TN(keys, d, rows, scratch, keys, dO, outStride, dQkv + (long)first * stride + vOffset, stride, accumulate: true);
            }
        }
    }

    /// <summary>Keys that a block of queries can see: first key and count.</summary>
    private static (int First, int Count) KeyRange(in Shape shape, int start, int rows)
    {
        int first = Math.Max(0, (long)start - shape.Window + 1 > 0 ? start - shape.Window + 1 : 0);
        return (first, start + rows - first);
    }

    private static int VisibleStart(in Shape shape, int query, int first) =>
        (long)query - shape.Window + 1 > first ? query - shape.Window + 1 - first : 0;

    /// <summary>The scores that the query sees; the rest of its row is set to zero probability.</summary>
    private static Span<float> Visible(in Shape shape, int query, int first, int keys, float* row)
    {
        int from = VisibleStart(shape, query, first), to = query + 1 - first;
        new Span<float>(row, from).Clear();
        new Span<float>(row + to, keys - to).Clear();
        return new Span<float>(row + from, to - from);
    }
}
