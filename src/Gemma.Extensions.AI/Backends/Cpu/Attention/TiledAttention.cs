using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Attention;

/// <summary>
/// Attention over paged keys and values without a matrix of scores (Dao et al., FlashAttention): a task takes some query rows with all heads that share
/// a key/value head, walks the visible keys 32 at a time, converts them to float32 once for all of these queries, and keeps a running softmax.
/// Key tiles begin at multiples of 32 positions, so a row's result does not depend on the rows beside it. Tiles outside the window are never read.
/// </summary>
internal sealed unsafe class TiledAttention(WorkerPool workers, MatMulKernels kernels) : IDisposable
{
    private const int Keys = TileFormat.Rows;

    /// <summary>Maximum query vectors of a task.</summary>
    private const int MaxQueries = 64;

    /// <summary>Scores within a cap up to this need no running maximum: e^60 times the number of keys is far from the end of float32.</summary>
    public const float SafeCap = 60;

    private readonly NativeBuffer[] _scratch = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];

    private MatMulKernels Kernels => kernels;

    public void Run(CpuMatrix qkv, in AttentionSpec layer, ForwardBatch batch, CpuMatrix output)
    {
        int rowsPerTask = Math.Max(1, MaxQueries / (layer.Heads / layer.KvHeads)), tasks = 0;
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            tasks += Tasks(slice, rowsPerTask) * layer.KvHeads;
        }

        Work work = new(this, qkv, layer, batch, output, rowsPerTask);
        workers.Run(ref work, tasks);
    }

    /// <summary>Blocks of rows; none where matrix registers serve them: <see cref="MatrixAttention"/>.</summary>
    private int Tasks(in BatchSlice slice, int rowsPerTask) => kernels.Matrix is not null && slice.IsPrompt ? 0 : (slice.RowCount + rowsPerTask - 1) / rowsPerTask;

    public void Dispose()
    {
        foreach (NativeBuffer scratch in _scratch)
        {
            scratch.Dispose();
        }
    }

    private readonly struct Work(TiledAttention owner, CpuMatrix qkv, AttentionSpec layer, ForwardBatch batch, CpuMatrix output, int rowsPerTask) : IParallelWork
    {
        public void Run(int task, int worker)
        {
            foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
            {
                int tasks = owner.Tasks(slice, rowsPerTask) * layer.KvHeads;
                if (task < tasks)
                {
                    int first = task / layer.KvHeads * rowsPerTask;
                    Rows(slice, first, Math.Min(rowsPerTask, slice.RowCount - first), task % layer.KvHeads, owner._scratch[worker]);
                    return;
                }

                task -= tasks;
            }
        }

        private void Rows(in BatchSlice slice, int firstRow, int rows, int kvHead, NativeBuffer scratch)
        {
            int dim = layer.HeadDim, padded = (dim + 31) & ~31, group = layer.Heads / layer.KvHeads, queries = rows * group;
            float* q = (float*)scratch.Reserve(sizeof(float) * ((long)queries * (dim + padded + Keys + 2) + 64 + Keys * (dim + 2L * padded)));
            float* sums = q + (long)queries * dim;
            float* scores = sums + (long)queries * padded;
            float* state = scores + queries * Keys;
            float* keyTile = (float*)(((nint)(state + 2 * queries) + 63) & ~63);
            float* valueTile = keyTile + Keys * dim;
            float* row = valueTile + Keys * padded;
            new Span<float>(sums, queries * padded).Clear();
            LoadQueries(slice, firstRow, rows, kvHead, q, state);
            if (rows == 1 && UsedAsStored(group))
            {
                OneRow(slice, firstRow, kvHead, q, sums, scores, state);
                return;
            }

            int start = slice.StartPosition + firstRow, end = start + rows;
            int begin = (int)Math.Max(0, (long)start - layer.Window + 1);
            KvView view = new(layer, slice, kvHead, begin, end, owner.Kernels.Formats);
            for (int key = begin / Keys * Keys; key < end; key += Keys)
            {
                view.LoadKeys(key, keyTile, row);
                TileArgs args = new()
                {
                    Weights = (byte*)keyTile,
                    WeightStride = Keys,
                    Activations = (byte*)q,
                    ActivationStride = dim,
                    ActivationStep = 1,
                    Output = scores,
                    OutputStride = Keys * sizeof(float),
                    Steps = dim,
                };
                owner.Kernels.GemmFloat32(&args, queries);
                for (int i = 0; i < queries; i++)
                {
                    Weigh(scores + i * Keys, sums + (long)i * padded, state + 2 * i, padded, key, start + i / group, layer.Window, layer.Softcap);
                }

                LoadValues(view, key, valueTile, padded);
                AddValues(valueTile, scores, sums, padded, queries);
            }

            for (int i = 0; i < queries; i++)
            {
                float* target = output.RowData(slice.FirstRow + firstRow + i / group) + (kvHead * group + i % group) * dim;
                VectorMath.Divide(sums + (long)i * padded, state[2 * i + 1], target, dim);
            }
        }

        /// <summary>Adds a tile of values, weighted, to the sums of each query.</summary>
        private void AddValues(float* valueTile, float* weights, float* sums, int padded, int queries)
        {
            TileArgs args = new()
            {
                WeightStride = padded,
                Activations = (byte*)weights,
                ActivationStride = Keys,
                ActivationStep = 1,
                OutputStride = padded * sizeof(float),
                Steps = Keys,
                Accumulate = 1,
            };
            for (int column = 0; column < padded; column += TileFormat.Rows)
            {
                args.Weights = (byte*)(valueTile + column);
                args.Output = sums + column;
                owner.Kernels.GemmFloat32(&args, queries);
            }
        }

        private bool UsedAsStored(int group)
        {
            KvLayout layout = layer.Pool.Layout;
            return owner.Kernels.UsesKvAsStored && group == 2 && layout.Type is GemmaKvCacheType.F16 or GemmaKvCacheType.BF16 && layout.BlockTokens % Keys == 0 && layout.HeadDim % 32 == 0;
        }

        /// <summary>Generation is bound by reading keys and values: they are used as stored, and the next ones are prefetched.</summary>
        private void OneRow(in BatchSlice slice, int row, int kvHead, float* q, float* sums, float* scores, float* state)
        {
            KvKernels kernels = layer.Pool.Layout.Type == GemmaKvCacheType.F16 ? owner.Kernels.Float16Kv : owner.Kernels.BFloat16Kv;
            int dim = layer.HeadDim, position = slice.StartPosition + row;
            int begin = (int)Math.Max(0, (long)position - layer.Window + 1);
            KvView view = new(layer, slice, kvHead, begin, position + 1, owner.Kernels.Formats);
            for (int key = begin / Keys * Keys; key <= position; key += Keys)
            {
                int next = key + Keys <= position ? key + Keys : key, skipped = Math.Max(0, begin - key);
                kernels.Scores(view.Stored(key, values: false), dim, q, scores, view.Stored(next, values: false));
                for (int i = 0; i < 2; i++)
                {
                    Weigh(scores + i * Keys, sums + (long)i * dim, state + 2 * i, dim, key, position, layer.Window, layer.Softcap);
                }

                byte* values = view.Stored(key, values: true) + 2L * dim * skipped;
                kernels.Values(values, Math.Min(Keys, position + 1 - key) - skipped, dim, scores + skipped, sums, view.Stored(next, values: true));
            }

            float* target = output.RowData(slice.FirstRow + row) + 2 * kvHead * dim;
            for (int d = 0; d < 2 * dim; d += 32)
            {
                float total = state[2 * (d / dim) + 1];
                for (int i = 0; i < 16; i++)
                {
                    target[d + 2 * i] = sums[d + i] / total;
                    target[d + 2 * i + 1] = sums[d + 16 + i] / total;
                }
            }
        }

        /// <summary>The queries times the query scale; their running maximum and sum.</summary>
        private void LoadQueries(in BatchSlice slice, int firstRow, int rows, int kvHead, float* q, float* state)
        {
            int dim = layer.HeadDim, group = layer.Heads / layer.KvHeads;
            bool capped = layer.Softcap is > 0 and <= SafeCap;
            for (int i = 0; i < rows * group; i++)
            {
                float* source = qkv.RowData(slice.FirstRow + firstRow + i / group) + (kvHead * group + i % group) * dim;
                VectorMath.Multiply(source, layer.QueryScale, q + (long)i * dim, dim);
                state[2 * i] = capped ? 0 : float.MinValue;
                state[2 * i + 1] = 0;
            }
        }

        /// <summary>Turns 32 scores into weights e^(score - maximum), zero where the key is not visible, and rescales sums made with a smaller maximum.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Weigh(float* scores, float* sums, float* state, int padded, int firstKey, int position, int window, float cap)
        {
            if (cap is > 0 and <= SafeCap && owner.Kernels.Loops is { } loops)
            {
                Vector512<float> totals;
                WeighArgs args = new() { Scores = scores, Totals = (float*)&totals, Distance = position - firstKey, Window = window, Cap = cap };
                loops.Weigh(&args);
                state[1] += Vector512.Sum(totals);
                return;
            }

            Vector512<float> low = Vector512.Load(scores), high = Vector512.Load(scores + 16);
            if (cap > 0)
            {
                low = VectorMath.Softcap(low, cap);
                high = VectorMath.Softcap(high, cap);
            }

            // Key visible: position - window < key <= position.
            Vector512<int> distance = Vector512.Create(position - firstKey) - Vector512<int>.Indices;
            Vector512<int> limit = Vector512.Create(window);
            Vector512<float> seenLow = (Vector512.GreaterThanOrEqual(distance, Vector512<int>.Zero) & Vector512.LessThan(distance, limit)).AsSingle();
            distance -= Vector512.Create(16);
            Vector512<float> seenHigh = (Vector512.GreaterThanOrEqual(distance, Vector512<int>.Zero) & Vector512.LessThan(distance, limit)).AsSingle();
            if (cap is not (> 0 and <= SafeCap))
            {
                Vector512<float> least = Vector512.Create(float.MinValue);
                Vector512<float> both = Vector512.Max(Vector512.ConditionalSelect(seenLow, low, least), Vector512.ConditionalSelect(seenHigh, high, least));
                Vector256<float> half = Vector256.Max(both.GetLower(), both.GetUpper());
                Vector128<float> quarter = Vector128.Max(half.GetLower(), half.GetUpper());
                float max = MathF.Max(state[0], MathF.Max(MathF.Max(quarter[0], quarter[1]), MathF.Max(quarter[2], quarter[3])));
                if (max > state[0])
                {
                    float factor = MathF.Exp(state[0] - max);
                    state[0] = max;
                    state[1] *= factor;
                    for (int i = 0; i < padded; i += 16)
                    {
                        (Vector512.Load(sums + i) * factor).Store(sums + i);
                    }
                }

                low -= Vector512.Create(max);
                high -= Vector512.Create(max);
            }

            low = VectorMath.Exp(low) & seenLow;
            high = VectorMath.Exp(high) & seenHigh;
            low.Store(scores);
            high.Store(scores + 16);
            state[1] += Vector512.Sum(low + high);
        }

        /// <summary>32 values as [32][padded]; zeros where no query of the task looks and in the padding.</summary>
        private void LoadValues(in KvView view, int first, float* tile, int padded)
        {
            for (int i = 0; i < Keys; i++, tile += padded)
            {
                view.LoadRow(first + i, values: true, tile);
                new Span<float>(tile + layer.HeadDim, padded - layer.HeadDim).Clear();
            }
        }
    }
}
