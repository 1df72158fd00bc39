using System.Numerics.Tensors;

namespace Gemma.Extensions.AI.Training;

/// <summary>
/// Grouped-query attention with soft cap, causal mask and sliding window over one document, in blocks of 64 queries. The query heads that share a
/// key head are stacked, so that keys and values are packed once for all of them: scores are [heads of the group · 64, keys]. The backward
/// recomputes the scores from q, k and the saved log-sum-exp instead of keeping probabilities.
/// </summary>
internal static unsafe class Attention
{
    /// <summary>Query rows of one block.</summary>
    public const int QueryBlock = 64;

    /// <summary>Scratch floats that both directions need.</summary>
    public static long ScratchSize(int maxLength, int group, int headDim) => (long)group * QueryBlock * (3L * maxLength + 4 * headDim);

    /// <summary>output = softmax(cap(q·kᵀ·scale))·v for every head. qkv is [length, q|k|v], output [length, heads·headDim], logSumExp [heads, length] with stride <paramref name="lseStride"/>.</summary>
    public static void Forward(in Shape shape, float* qkv, float* output, float* logSumExp, int lseStride, float* scratch)
    {
        int d = shape.HeadDim, stride = shape.Stride, outStride = shape.Heads * d, group = shape.Group;
        float* queries = scratch + (long)group * QueryBlock * shape.Length;
        float* heads = queries + group * QueryBlock * d;
        for (int kv = 0; kv < shape.KvHeads; kv++)
        {
            float* k = qkv + (shape.Heads + kv) * d;
            float* v = k + shape.KvHeads * d;
            for (int start = 0; start < shape.Length; start += QueryBlock)
            {
                int rows = Math.Min(QueryBlock, shape.Length - start), stacked = group * rows;
                (int first, int keys) = KeyRange(shape, start, rows);
                Stack(qkv + (long)start * stride + kv * group * d, stride, queries, rows, group, d);
                Gemm.NT(stacked, keys, d, queries, d, k + (long)first * stride, stride, scratch, keys, accumulate: false);
                for (int r = 0; r < stacked; r++)
                {
                    int head = kv * group + r / rows, query = start + r % rows;
                    Span<float> visible = Visible(shape, query, first, keys, scratch + (long)r * keys);
                    float max = shape.Cap == 0 ? TensorPrimitives.Max<float>(visible) * shape.Scale : 0; // capped scores cannot overflow exp
                    float sum = GradientMath.ExpCapped(visible, shape.Scale, shape.Cap, max);
                    TensorPrimitives.Multiply(visible, 1f / sum, visible);
                    logSumExp[(long)head * lseStride + query] = max + MathF.Log(sum);
                }

                Gemm.NN(stacked, d, keys, scratch, keys, v + (long)first * stride, stride, heads, d, accumulate: false);
                Unstack(heads, output + (long)start * outStride + kv * group * d, outStride, rows, group, d);
            }
        }
    }

    /// <summary>
    /// Gradient of q, k and v into dQkv, which must be zero on entry. With p the probabilities and t = tanh(scale·q·k/cap):
    /// dv = pᵀ·do, dp = do·vᵀ, ds = p·(dp − do·o)·(1 − t²)·scale, dq = ds·k, dk = dsᵀ·q.
    /// </summary>
    public static void Backward(in Shape shape, float* qkv, float* output, float* logSumExp, int lseStride, float* dOutput, float* dQkv, float* scratch)
    {
        int d = shape.HeadDim, stride = shape.Stride, outStride = shape.Heads * d, group = shape.Group;
        long scores = (long)group * QueryBlock * shape.Length, vectors = (long)group * QueryBlock * d;
        float* dp = scratch + scores;
        float* ds = dp + scores;
        float* queries = ds + scores;
        float* dHeads = queries + vectors;
        float* dQueries = dHeads + vectors;
        float* heads = dQueries + vectors;
        for (int kv = 0; kv < shape.KvHeads; kv++)
        {
            int kOffset = (shape.Heads + kv) * d, vOffset = kOffset + shape.KvHeads * d;
            for (int start = 0; start < shape.Length; start += QueryBlock)
            {
                int rows = Math.Min(QueryBlock, shape.Length - start), stacked = group * rows;
                (int first, int keys) = KeyRange(shape, start, rows);
                float* k = qkv + (long)first * stride + kOffset;
                float* v = qkv + (long)first * stride + vOffset;
                Stack(qkv + (long)start * stride + kv * group * d, stride, queries, rows, group, d);
                Stack(dOutput + (long)start * outStride + kv * group * d, outStride, dHeads, rows, group, d);
                Stack(output + (long)start * outStride + kv * group * d, outStride, heads, rows, group, d);
                Gemm.NT(stacked, keys, d, queries, d, k, stride, scratch, keys, accumulate: false);
                Gemm.NT(stacked, keys, d, dHeads, d, v, stride, dp, keys, accumulate: false);
                for (int r = 0; r < stacked; r++)
                {
                    int head = kv * group + r / rows, query = start + r % rows;
                    float* dRow = ds + (long)r * keys;
                    new Span<float>(dRow, keys).Clear();
                    Span<float> visible = Visible(shape, query, first, keys, scratch + (long)r * keys);
                    int offset = VisibleStart(shape, query, first);
                    float dot = TensorPrimitives.Dot(new ReadOnlySpan<float>(dHeads + (long)r * d, d), new ReadOnlySpan<float>(heads + (long)r * d, d));
                    GradientMath.AttentionGradient(visible, new ReadOnlySpan<float>(dp + (long)r * keys + offset, visible.Length), new Span<float>(dRow + offset, visible.Length),
                        shape.Scale, shape.Cap, logSumExp[(long)head * lseStride + query], dot);
                }

                Gemm.NN(stacked, d, keys, ds, keys, k, stride, dQueries, d, accumulate: false);
                Unstack(dQueries, dQkv + (long)start * stride + kv * group * d, stride, rows, group, d);
                Gemm.TN(keys, d, stacked, ds, keys, queries, d, dQkv + (long)first * stride + kOffset, stride, accumulate: true);
                Gemm.TN(keys, d, stacked, scratch, keys, dHeads, d, dQkv + (long)first * stride + vOffset, stride, accumulate: true);
            }
        }
    }

    /// <summary>[rows, heads of a group] of d floats to [heads, rows].</summary>
    private static void Stack(float* source, int stride, float* target, int rows, int group, int d)
    {
        for (int h = 0; h < group; h++)
        {
            for (int r = 0; r < rows; r++)
            {
                new ReadOnlySpan<float>(source + (long)r * stride + h * d, d).CopyTo(new Span<float>(target + (long)(h * rows + r) * d, d));
            }
        }
    }

    private static void Unstack(float* source, float* target, int stride, int rows, int group, int d)
    {
        for (int h = 0; h < group; h++)
        {
            for (int r = 0; r < rows; r++)
            {
                new ReadOnlySpan<float>(source + (long)(h * rows + r) * d, d).CopyTo(new Span<float>(target + (long)r * stride + h * d, d));
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

        /// <summary>Query heads that share a key head.</summary>
        public int Group => Heads / KvHeads;
    }
}
