using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;

namespace Gemma.Extensions.AI.Backends.Cpu.Attention;

/// <summary>
/// Attention of prompts by matrix registers, otherwise as <see cref="TiledAttention"/>: a task takes some query rows with all heads that share a key/value head and walks
/// the visible keys, 128 at a time. Queries, keys, weights and values are rounded to bfloat16; soft cap, exponential and sums are float32, and the sum of the weights is that of the
/// rounded ones. Blocks begin at multiples of 128 positions, so a row's result does not depend on the rows beside it.
/// </summary>
internal sealed unsafe class MatrixAttention(WorkerPool workers, MatrixKernels matrix, TileFormats formats) : IDisposable
{
    private const int Keys = 128;
    private const int KeyTiles = Keys / TileFormat.Rows;

    /// <summary>Query vectors of a task: keys and values are converted once for so many.</summary>
    private const int MaxQueries = 256;

    private readonly NativeBuffer[] _scratch = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];

    private MatrixKernels Matrix => matrix;

    private TileFormats Formats => formats;

    public void Run(CpuMatrix qkv, in AttentionSpec layer, ForwardBatch batch, CpuMatrix output)
    {
        if (batch.PromptRows == 0)
        {
            return;
        }

        // Each worker gets four tasks or more, as long as they have 32 queries.
        int group = layer.Heads / layer.KvHeads, share = batch.PromptRows * layer.KvHeads / (4 * workers.Count);
        int rowsPerTask = Math.Clamp(share, Math.Max(1, MatrixKernels.MaxRows / group), Math.Max(1, MaxQueries / group)), tasks = 0;
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            tasks += Tasks(slice, rowsPerTask) * layer.KvHeads;
        }

        Work work = new(this, qkv, layer, batch, output, rowsPerTask);
        workers.Run(ref work, tasks);
    }

    public void Dispose()
    {
        foreach (NativeBuffer scratch in _scratch)
        {
            scratch.Dispose();
        }
    }

    private static int Tasks(in BatchSlice slice, int rowsPerTask) => slice.IsPrompt ? (slice.RowCount + rowsPerTask - 1) / rowsPerTask : 0;

    /// <summary>Memory of a task, each piece at a multiple of 64 bytes.</summary>
    private readonly struct Buffers
    {
        public readonly int Dim, Padded, Queries;
        public readonly byte* Packed, Weights, KeyPairs, ValuePairs;
        public readonly float* Scores, Sums, State, Tile, Rows;

        public Buffers(NativeBuffer memory, int dim, int queries)
        {
            Dim = dim;
            Padded = MatrixKernels.Padded(dim);
            Queries = queries;
            Span<long> sizes = [2L * queries * Padded, 2L * queries * Keys, 2L * Keys * Padded, 2L * Keys * Padded, 4L * queries * Keys, 4L * queries * Padded, 8L * queries, 4L * TileFormat.Rows * Padded, 8L * Padded];
            long total = 0;
            foreach (ref long size in sizes)
            {
                (size, total) = (total, total + ((size + 63) & -64));
            }

            byte* start = memory.Reserve(total);
            Packed = start + sizes[0];
            Weights = start + sizes[1];
            KeyPairs = start + sizes[2];
            ValuePairs = start + sizes[3];
            Scores = (float*)(start + sizes[4]);
            Sums = (float*)(start + sizes[5]);
            State = (float*)(start + sizes[6]);
            Tile = (float*)(start + sizes[7]);
            Rows = (float*)(start + sizes[8]);
        }
    }

    private readonly struct Work(MatrixAttention owner, CpuMatrix qkv, AttentionSpec layer, ForwardBatch batch, CpuMatrix output, int rowsPerTask) : IParallelWork
    {
        private bool IsCapped => layer.Softcap is > 0 and <= TiledAttention.SafeCap;

        public void Run(int task, int worker)
        {
            foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
            {
                int tasks = Tasks(slice, rowsPerTask) * layer.KvHeads;
                if (task < tasks)
                {
                    int first = task / layer.KvHeads * rowsPerTask, rows = Math.Min(rowsPerTask, slice.RowCount - first);
                    Rows(slice, first, rows, task % layer.KvHeads, new Buffers(owner._scratch[worker], layer.HeadDim, rows * (layer.Heads / layer.KvHeads)));
                    return;
                }

                task -= tasks;
            }
        }

        private void Rows(in BatchSlice slice, int firstRow, int rows, int kvHead, in Buffers buffers)
        {
            int group = layer.Heads / layer.KvHeads, start = slice.StartPosition + firstRow, end = start + rows;
            int begin = (int)Math.Max(0, (long)start - layer.Window + 1);
            KvView view = new(layer, slice, kvHead, begin, end, owner.Formats);
            LoadQueries(slice, firstRow, kvHead, buffers);
            for (int key = begin / Keys * Keys; key < end; key += Keys)
            {
                LoadKeys(view, key, buffers);
                Multiply(buffers.Packed, buffers.Padded, buffers.KeyPairs, buffers.Scores, Keys, buffers.Queries, accumulate: false);
                for (int i = 0; i < buffers.Queries; i++)
                {
                    int panel = i & -MatrixKernels.RegisterRows, panelRows = Math.Min(MatrixKernels.RegisterRows, buffers.Queries - panel);
                    ushort* weights = (ushort*)buffers.Weights + panel * Keys + (i - panel) * MatrixKernels.StepColumns;
                    Weigh(buffers.Scores + i * Keys, weights, panelRows, buffers.Sums + (long)i * buffers.Padded, buffers.Padded, buffers.State + 2 * i, key, start + i / group);
                }

                LoadValues(view, key, buffers);
                Multiply(buffers.Weights, Keys, buffers.ValuePairs, buffers.Sums, buffers.Padded, buffers.Queries, accumulate: true);
            }

            for (int i = 0; i < buffers.Queries; i++)
            {
                float* target = output.RowData(slice.FirstRow + firstRow + i / group) + (kvHead * group + i % group) * layer.HeadDim;
                VectorMath.Divide(buffers.Sums + (long)i * buffers.Padded, buffers.State[2 * i + 1], target, layer.HeadDim);
            }
        }

        /// <summary>target [queries, width] = or += rows [queries, columns] · tiles [width / 32].</summary>
        private void Multiply(byte* rows, int columns, byte* tiles, float* target, int width, int queries, bool accumulate)
        {
            MatrixArgs args = new()
            {
                Weights = tiles,
                OutputStride = width * sizeof(float),
                Steps = columns / MatrixKernels.StepColumns,
                Tiles = width / TileFormat.Rows,
                Accumulate = accumulate ? 1 : 0,
            };
            for (int row = 0; row < queries; row += MatrixKernels.MaxRows)
            {
                int count = Math.Min(MatrixKernels.MaxRows, queries - row);
                MatrixKernels.SetRows(&args, rows, columns, row, count, 0, target + (long)row * width);
                owner.Matrix.Multiply(&args, count);
            }
        }

        /// <summary>The queries times the query scale, packed; sums of zero, and the running maximum and sum of weights.</summary>
        private void LoadQueries(in BatchSlice slice, int firstRow, int kvHead, in Buffers buffers)
        {
            int dim = layer.HeadDim, group = layer.Heads / layer.KvHeads;
            new Span<float>(buffers.Sums, buffers.Queries * buffers.Padded).Clear();
            for (int i = 0; i < buffers.Queries; i++)
            {
                float* source = qkv.RowData(slice.FirstRow + firstRow + i / group) + (kvHead * group + i % group) * dim;
                int panel = i & -MatrixKernels.RegisterRows, panelRows = Math.Min(MatrixKernels.RegisterRows, buffers.Queries - panel);
                BFloat16Rows.Pack(source, dim, layer.QueryScale, (ushort*)buffers.Packed + (long)panel * buffers.Padded + (i - panel) * MatrixKernels.StepColumns, panelRows);
                buffers.State[2 * i] = IsCapped ? 0 : float.MinValue;
                buffers.State[2 * i + 1] = 0;
            }
        }

        /// <summary>Keys as tiles [dim/2][32 keys][2].</summary>
        private static void LoadKeys(in KvView view, int first, in Buffers buffers)
        {
            for (int tile = 0; tile < KeyTiles; tile++)
            {
                view.LoadKeys(first + tile * TileFormat.Rows, buffers.Tile, buffers.Rows);
                new Span<float>(buffers.Tile + buffers.Dim * TileFormat.Rows, (buffers.Padded - buffers.Dim) * TileFormat.Rows).Clear();
                BFloat16Pairs.FromFloats(buffers.Tile, buffers.Padded, buffers.KeyPairs + tile * BFloat16Pairs.TileBytes(buffers.Padded));
            }
        }

        /// <summary>Values as tiles [key/2][32 dimensions][2].</summary>
        private static void LoadValues(in KvView view, int first, in Buffers buffers)
        {
            new Span<float>(buffers.Rows, 2 * buffers.Padded).Clear();
            for (int key = 0; key < Keys; key += 2)
            {
                view.LoadRow(first + key, values: true, buffers.Rows);
                view.LoadRow(first + key + 1, values: true, buffers.Rows + buffers.Padded);
                for (int d = 0; d < buffers.Padded; d += 16)
                {
                    byte* target = buffers.ValuePairs + d / TileFormat.Rows * BFloat16Pairs.TileBytes(Keys) + key * 64 + d % TileFormat.Rows * 4;
                    BFloat16Rows.Pair(Vector512.Load(buffers.Rows + d), Vector512.Load(buffers.Rows + buffers.Padded + d)).Store((uint*)target);
                }
            }
        }

        /// <summary>Turns scores into weights e^(score - maximum), rounded and packed, zero where the key is not visible, and rescales what was summed under a smaller maximum.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Weigh(float* scores, ushort* weights, int panelRows, float* sums, int padded, float* state, int firstKey, int position)
        {
            float cap = layer.Softcap;
            if (!IsCapped)
            {
                Vector512<float> largest = Vector512.Create(float.MinValue);
                for (int i = 0; i < Keys; i += 16)
                {
                    Vector512<float> score = cap > 0 ? VectorMath.Softcap(Vector512.Load(scores + i), cap) : Vector512.Load(scores + i);
                    score.Store(scores + i);
                    largest = Vector512.Max(largest, Vector512.ConditionalSelect(Seen(position - firstKey - i), score, Vector512.Create(float.MinValue)));
                }

                float max = state[0];
                for (int i = 0; i < 16; i++)
                {
                    max = MathF.Max(max, largest[i]);
                }

                if (max > state[0])
                {
                    float factor = MathF.Exp(state[0] - max);
                    state[0] = max;
                    state[1] *= factor;
                    VectorMath.Multiply(sums, factor, sums, padded);
                }
            }

            Vector512<float> total = Vector512<float>.Zero, maximum = Vector512.Create(state[0]);
            for (int i = 0; i < Keys; i += TileFormat.Rows, weights += panelRows * MatrixKernels.StepColumns)
            {
                Vector512<float> low = Vector512.Load(scores + i), high = Vector512.Load(scores + i + 16);
                if (IsCapped)
                {
                    low = VectorMath.Softcap(low, cap);
                    high = VectorMath.Softcap(high, cap);
                }

                Vector512<uint> a = BFloat16Rows.Round(VectorMath.Exp(low - maximum) & Seen(position - firstKey - i));
                Vector512<uint> b = BFloat16Rows.Round(VectorMath.Exp(high - maximum) & Seen(position - firstKey - i - 16));
                total += (a & Vector512.Create(0xFFFF0000u)).AsSingle() + (b & Vector512.Create(0xFFFF0000u)).AsSingle();
                Vector512.Narrow(a >> 16, b >> 16).Store(weights);
            }

            state[1] += Vector512.Sum(total);
        }

        /// <summary>Which of 16 keys are visible: those at most <paramref name="distance"/> on, and less than a window behind.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private Vector512<float> Seen(int distance)
        {
            Vector512<int> behind = Vector512.Create(distance) - Vector512<int>.Indices;
            return (Vector512.GreaterThanOrEqual(behind, Vector512<int>.Zero) & Vector512.LessThan(behind, Vector512.Create(layer.Window))).AsSingle();
        }
    }
}
