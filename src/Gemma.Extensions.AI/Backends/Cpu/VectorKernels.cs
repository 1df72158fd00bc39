using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Attention;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>The fast tiers: tiled products and attention, everything else in vectors of 16 floats. Tiers differ in their <see cref="MatMulKernels"/>.</summary>
internal sealed unsafe class VectorKernels(WorkerPool workers, MatMulKernels kernels) : CpuKernels(workers)
{
    /// <summary>Elements below which an operation is not worth waking a worker.</summary>
    private const int SmallWork = 16 * 1024;

    private readonly TiledMatMul _matMul = new(workers, kernels);
    private readonly TiledAttention _attention = new(workers, kernels);
    private readonly MatrixAttention? _matrixAttention = kernels.Matrix is { } matrix ? new(workers, matrix, kernels.Formats) : null;
    private readonly LowRankProduct _lowRank = new(workers);
    private readonly MatrixLowRank? _matrixLowRank = kernels.Matrix is { } registers ? new(workers, registers) : null;

    public override string? FallbackReason => kernels.FallbackReason;

    public override bool HasPromptKernels => kernels.Matrix is not null;

    public override bool CanInterleave(TensorType type, int columns) => _matMul.CanInterleave(type, columns);

    public override CpuWeights LoadWeights(WeightPart[] parts, int rows, int columns) => _matMul.Load(parts, rows, columns);

    public override void MatMul(CpuMatrix x, CpuWeights weights, CpuMatrix output, int rows, int promptRows = 0) =>
        _matMul.Run(x, weights, output, rows, promptRows);

    public override void AddLowRank(CpuMatrix x, CpuLowRank weights, CpuMatrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        int matrixRows = _matrixLowRank is null ? 0 : promptRows;
        _lowRank.Run(x, weights, output, rows[..^matrixRows]);
        if (matrixRows > 0)
        {
            _matrixLowRank!.Run(x, weights, output, rows[^matrixRows..]);
        }
    }

    public override void Attention(CpuMatrix qkv, in AttentionSpec layer, ForwardBatch batch, CpuMatrix output)
    {
        _attention.Run(qkv, layer, batch, output);
        _matrixAttention?.Run(qkv, layer, batch, output);
    }

    public override void RmsNorm(CpuMatrix x, CpuVector weight, float epsilon, CpuMatrix output, int rows)
    {
        NormWork work = new(x, weight.Values, epsilon, output, rows, RowsPerPart(x.Columns, rows), add: false);
        Workers.Run(ref work, work.Parts);
    }

    public override void AddRmsNorm(CpuMatrix residual, CpuMatrix branch, CpuVector weight, float epsilon, int rows)
    {
        NormWork work = new(branch, weight.Values, epsilon, residual, rows, RowsPerPart(branch.Columns, rows), add: true);
        Workers.Run(ref work, work.Parts);
    }

    public override void RopeAndStore(CpuMatrix qkv, in AttentionSpec layer, RopeTable rope, ForwardBatch batch)
    {
        RopeWork work = new(qkv, layer, rope, batch, RowsPerPart(qkv.Columns, batch.Rows));
        Workers.Run(ref work, work.Parts);
    }

    public override void GeGlu(CpuMatrix gateUp, CpuMatrix output, int rows)
    {
        GeGluWork work = new(gateUp, output, kernels.Loops, rows, Math.Max(1, RowsPerPart(gateUp.Columns, rows) / 4));
        Workers.Run(ref work, work.Parts);
    }

    public override void Softcap(CpuMatrix x, float cap, int rows)
    {
        SoftcapWork work = new(x, cap);
        Workers.Run(ref work, rows * work.PartsPerRow);
    }

    public override void Dispose()
    {
        _matMul.Dispose();
        _attention.Dispose();
        _matrixAttention?.Dispose();
        _lowRank.Dispose();
        _matrixLowRank?.Dispose();
        kernels.Dispose();
    }

    private static int RowsPerPart(int columns, int rows) => Math.Clamp(SmallWork / columns, 1, rows);

    private readonly struct NormWork(CpuMatrix x, float[] weight, float epsilon, CpuMatrix output, int rows, int rowsPerPart, bool add) : IParallelWork
    {
        public int Parts => (rows + rowsPerPart - 1) / rowsPerPart;

        public void Run(int part, int worker)
        {
            int end = Math.Min(rows, (part + 1) * rowsPerPart);
            for (int r = part * rowsPerPart; r < end; r++)
            {
                float factor = 1 / MathF.Sqrt(VectorMath.SumOfSquares(x.RowData(r), x.Columns) / x.Columns + epsilon);
                fixed (float* w = weight)
                {
                    Scale(x.RowData(r), factor, w, output.RowData(r), x.Columns, add);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Scale(float* x, float factor, float* weight, float* output, int count, bool add)
        {
            int i = 0;
            for (; i + 16 <= count; i += 16)
            {
                Vector512<float> value = Vector512.Load(x + i) * factor * Vector512.Load(weight + i);
                (add ? value + Vector512.Load(output + i) : value).Store(output + i);
            }

            for (; i < count; i++)
            {
                output[i] = (add ? output[i] : 0) + x[i] * factor * weight[i];
            }
        }
    }

    private readonly struct RopeWork(CpuMatrix qkv, AttentionSpec layer, RopeTable rope, ForwardBatch batch, int rowsPerPart) : IParallelWork
    {
        public int Parts => (batch.Rows + rowsPerPart - 1) / rowsPerPart;

        /// <summary>Some rows of the batch, of one sequence or of several.</summary>
        public void Run(int part, int worker)
        {
            int first = part * rowsPerPart, last = first + rowsPerPart;
            foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
            {
                int end = Math.Min(last, slice.FirstRow + slice.RowCount);
                for (int r = Math.Max(first, slice.FirstRow); r < end; r++)
                {
                    Row(qkv.RowData(r), slice, slice.StartPosition + r - slice.FirstRow);
                }
            }
        }

        private void Row(float* row, in BatchSlice slice, int position)
        {
            CpuKvPool pool = (CpuKvPool)layer.Pool;
            int dim = layer.HeadDim, tokens = pool.Layout.BlockTokens;
            float* angles = rope.Row(position);
            for (int head = 0; head < layer.Heads + layer.KvHeads; head++)
            {
                Rotate(row + head * dim, angles, dim / 2);
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

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Rotate(float* x, float* angles, int half)
        {
            int i = 0;
            for (; i + 16 <= half; i += 16)
            {
                Vector512<float> cos = Vector512.Load(angles + i), sin = Vector512.Load(angles + half + i);
                Vector512<float> a = Vector512.Load(x + i), b = Vector512.Load(x + half + i);
                (a * cos - b * sin).Store(x + i);
                (b * cos + a * sin).Store(x + half + i);
            }

            for (; i < half; i++)
            {
                float cos = angles[i], sin = angles[half + i], a = x[i], b = x[half + i];
                x[i] = a * cos - b * sin;
                x[half + i] = b * cos + a * sin;
            }
        }
    }

    private readonly struct GeGluWork(CpuMatrix gateUp, CpuMatrix output, VectorLoops? loops, int rows, int rowsPerPart) : IParallelWork
    {
        public int Parts => (rows + rowsPerPart - 1) / rowsPerPart;

        public void Run(int part, int worker)
        {
            int end = Math.Min(rows, (part + 1) * rowsPerPart);
            for (int r = part * rowsPerPart; r < end; r++)
            {
                Row(loops, gateUp.RowData(r), output.RowData(r), output.Columns);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Row(VectorLoops? loops, float* gate, float* output, int count)
        {
            float* up = gate + count;
            int i = 0;
            if (loops is not null && count >= 16)
            {
                i = count & -16;
                loops.GeGlu(gate, up, output, i);
            }

            for (; i + 16 <= count; i += 16)
            {
                (VectorMath.Gelu(Vector512.Load(gate + i)) * Vector512.Load(up + i)).Store(output + i);
            }

            for (; i < count; i++)
            {
                output[i] = VectorMath.Gelu(Vector512.Create(gate[i]))[0] * up[i];
            }
        }
    }

    private readonly struct SoftcapWork(CpuMatrix x, float cap) : IParallelWork
    {
        public int PartsPerRow => (x.Columns + SmallWork - 1) / SmallWork;

        public void Run(int part, int worker)
        {
            int first = part % PartsPerRow * SmallWork;
            Part(x.RowData(part / PartsPerRow) + first, Math.Min(SmallWork, x.Columns - first), cap);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Part(float* x, int count, float cap)
        {
            int i = 0;
            for (; i + 16 <= count; i += 16)
            {
                VectorMath.Softcap(Vector512.Load(x + i), cap).Store(x + i);
            }

            for (; i < count; i++)
            {
                x[i] = VectorMath.Softcap(Vector512.Create(x[i]), cap)[0];
            }
        }
    }
}
