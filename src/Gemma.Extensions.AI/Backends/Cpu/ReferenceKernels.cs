using System.Numerics.Tensors;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Attention;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>
/// The oracle: weights are decoded to float32 by the formats' scalar decoders, everything is float32, and each row is computed on its own in a
/// fixed order, so results depend neither on the batch nor on the number of workers.
/// </summary>
internal sealed unsafe class ReferenceKernels(WorkerPool workers) : CpuKernels(workers)
{
    private const int RowsPerPart = 64;
    private readonly NativeBuffer[] _scratch = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];

    public override void RmsNorm(CpuMatrix x, CpuVector weight, float epsilon, CpuMatrix output, int rows)
    {
        for (int r = 0; r < rows; r++)
        {
            NormRow(x.Row(r), weight.Values, epsilon, output.Row(r));
        }
    }

    public override void AddRmsNorm(CpuMatrix residual, CpuMatrix branch, CpuVector weight, float epsilon, int rows)
    {
        float* normed = (float*)_scratch[0].Reserve(branch.Columns * sizeof(float));
        Span<float> span = new(normed, branch.Columns);
        for (int r = 0; r < rows; r++)
        {
            NormRow(branch.Row(r), weight.Values, epsilon, span);
            TensorPrimitives.Add(residual.Row(r), span, residual.Row(r));
        }
    }

    public override void MatMul(CpuMatrix x, CpuWeights weights, CpuMatrix output, int rows, int promptRows = 0)
    {
        foreach (ref readonly WeightPart part in weights.Parts.AsSpan())
        {
            MatMulWork work = new(x, part, output, rows, _scratch);
            Workers.Run(ref work, (part.Rows + RowsPerPart - 1) / RowsPerPart);
        }
    }

    public override void AddLowRank(CpuMatrix x, CpuLowRank weights, CpuMatrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        foreach (int r in rows)
        {
            foreach (ref readonly CpuLowRank.Chunk chunk in weights.Chunks.AsSpan())
            {
                Span<float> result = output.Row(r).Slice(chunk.FirstRow, chunk.Rows);
                for (int j = 0; j < chunk.Rank; j++)
                {
                    float factor = TensorPrimitives.Dot(x.Row(r), new ReadOnlySpan<float>(weights.A + (long)(chunk.FirstRank + j) * x.Columns, x.Columns));
                    TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(chunk.B + (long)j * chunk.Stride, chunk.Rows), factor, result, result);
                }
            }
        }
    }

    public override void RopeAndStore(CpuMatrix qkv, in AttentionSpec layer, RopeTable rope, ForwardBatch batch)
    {
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            for (int i = 0; i < slice.RowCount; i++)
            {
                RopeRow(qkv.RowData(slice.FirstRow + i), layer, rope, slice, slice.StartPosition + i);
            }
        }
    }

    public override void Attention(CpuMatrix qkv, in AttentionSpec layer, ForwardBatch batch, CpuMatrix output)
    {
        int longest = 0;
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            longest = Math.Max(longest, slice.StartPosition + slice.RowCount);
        }

        foreach (NativeBuffer scratch in _scratch)
        {
            scratch.Reserve((longest + layer.HeadDim) * sizeof(float));
        }

        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            AttentionWork work = new(qkv, layer, slice, output, _scratch);
            Workers.Run(ref work, slice.RowCount * layer.Heads);
        }
    }

    public override void GeGlu(CpuMatrix gateUp, CpuMatrix output, int rows)
    {
        int n = output.Columns;
        for (int r = 0; r < rows; r++)
        {
            float* gate = gateUp.RowData(r);
            float* result = output.RowData(r);
            for (int i = 0; i < n; i++)
            {
                result[i] = Gelu(gate[i]) * gate[n + i];
            }
        }
    }

    public override void Softcap(CpuMatrix x, float cap, int rows)
    {
        for (int r = 0; r < rows; r++)
        {
            foreach (ref float value in x.Row(r))
            {
                value = cap * MathF.Tanh(value / cap);
            }
        }
    }

    public override void Dispose()
    {
        foreach (NativeBuffer scratch in _scratch)
        {
            scratch.Dispose();
        }
    }

    /// <summary>The tanh form of GELU: x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³))).</summary>
    internal static float Gelu(float x) => 0.5f * x * (1 + MathF.Tanh(0.7978845608028654f * (x + 0.044715f * x * x * x)));

    private static void NormRow(ReadOnlySpan<float> x, float[] weight, float epsilon, Span<float> output)
    {
        double sum = 0;
        foreach (float value in x)
        {
            sum += (double)value * value;
        }

        TensorPrimitives.Multiply(x, 1 / MathF.Sqrt((float)(sum / x.Length) + epsilon), output);
        TensorPrimitives.Multiply(output, weight, output);
    }

    private static void RopeRow(float* row, in AttentionSpec layer, RopeTable rope, in BatchSlice slice, int position)
    {
        CpuKvPool pool = (CpuKvPool)layer.Pool;
        float* angles = rope.Row(position);
        int dim = layer.HeadDim, half = dim / 2, tokens = pool.Layout.BlockTokens;
        for (int head = 0; head < layer.Heads + layer.KvHeads; head++)
        {
            float* x = row + head * dim;
            for (int i = 0; i < half; i++)
            {
                float cos = angles[i], sin = angles[half + i], a = x[i], b = x[half + i];
                x[i] = a * cos - b * sin;
                x[half + i] = b * cos + a * sin;
            }
        }

        int block = (layer.IsLocal ? slice.LocalBlocks : slice.GlobalBlocks)[position / tokens];
        long offset = (long)(position % tokens) * pool.Layout.RowBytes;
        for (int head = 0; head < layer.KvHeads; head++)
        {
            float* key = row + (layer.Heads + head) * dim;
            KvRows.Store(key, pool.Head(block, layer.PoolLayer, values: false, head) + offset, dim, pool.Layout.Type);
            KvRows.Store(key + layer.KvHeads * dim, pool.Head(block, layer.PoolLayer, values: true, head) + offset, dim, pool.Layout.Type);
        }
    }

    private readonly struct MatMulWork(CpuMatrix x, WeightPart part, CpuMatrix output, int rows, NativeBuffer[] scratch) : IParallelWork
    {
        public void Run(int part1, int worker)
        {
            int columns = x.Columns;
            float* weights = (float*)scratch[worker].Reserve((long)columns * sizeof(float));
            int end = Math.Min(part.Rows, (part1 + 1) * RowsPerPart);
            for (int n = part1 * RowsPerPart; n < end; n++)
            {
                part.Decode(n, weights, columns);
                for (int r = 0; r < rows; r++)
                {
                    output.RowData(r)[part.FirstRow + n] = TensorPrimitives.Dot(new ReadOnlySpan<float>(x.RowData(r), columns), new ReadOnlySpan<float>(weights, columns));
                }
            }
        }
    }

    private readonly struct AttentionWork(CpuMatrix qkv, AttentionSpec layer, BatchSlice slice, CpuMatrix output, NativeBuffer[] scratch) : IParallelWork
    {
        public void Run(int part, int worker)
        {
            int row = part / layer.Heads, head = part % layer.Heads, kvHead = head / (layer.Heads / layer.KvHeads);
            int position = slice.StartPosition + row, dim = layer.HeadDim;
            int first = (int)Math.Max(0, (long)position - layer.Window + 1);
            float* scores = (float*)scratch[worker].Data;
            float* stored = scores + position + 1;
            ReadOnlySpan<float> query = new(qkv.RowData(slice.FirstRow + row) + head * dim, dim);
            Span<float> result = new(output.RowData(slice.FirstRow + row) + head * dim, dim);

            float max = float.NegativeInfinity;
            for (int key = first; key <= position; key++)
            {
                Load(key, values: false, kvHead, stored);
                float score = TensorPrimitives.Dot(query, new ReadOnlySpan<float>(stored, dim)) * layer.QueryScale;
                scores[key] = layer.Softcap > 0 ? layer.Softcap * MathF.Tanh(score / layer.Softcap) : score;
                max = MathF.Max(max, scores[key]);
            }

            float sum = 0;
            result.Clear();
            for (int key = first; key <= position; key++)
            {
                float weight = MathF.Exp(scores[key] - max);
                sum += weight;
                Load(key, values: true, kvHead, stored);
                TensorPrimitives.MultiplyAdd(new ReadOnlySpan<float>(stored, dim), weight, result, result);
            }

            TensorPrimitives.Divide(result, sum, result);
        }

        private void Load(int position, bool values, int kvHead, float* destination)
        {
            CpuKvPool pool = (CpuKvPool)layer.Pool;
            int tokens = pool.Layout.BlockTokens;
            int block = (layer.IsLocal ? slice.LocalBlocks : slice.GlobalBlocks)[position / tokens];
            byte* source = pool.Head(block, layer.PoolLayer, values, kvHead) + (long)(position % tokens) * pool.Layout.RowBytes;
            KvRows.Load(source, destination, layer.HeadDim, pool.Layout.Type);
        }
    }
}
