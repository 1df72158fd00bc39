using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// output += B·(A·x) for rows of prompts by matrix registers: beside products by tiles, one of float32 would take a multiple of its share of the arithmetic. Factors and what lies between
/// them are rounded to bfloat16, as everything is that prompts are multiplied with.
/// </summary>
internal sealed unsafe class MatrixLowRank(WorkerPool workers, MatrixKernels kernels) : IDisposable
{
    private readonly NativeBuffer _a = new(), _rows = new(), _inner = new();
    private readonly NativeBuffer[] _scratch = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];
    private readonly List<(int First, int Count, int Before)> _blocks = []; // consecutive rows, as many as a call takes, and how many come before them

    private MatrixKernels Kernels => kernels;

    public void Run(CpuMatrix x, CpuLowRank weights, CpuMatrix output, ReadOnlySpan<int> rows)
    {
        Divide(rows);
        _a.Reserve(BFloat16Pairs.TileBytes(x.Columns) * weights.PaddedRank / TileFormat.Rows);
        _rows.Reserve(sizeof(ushort) * (long)rows.Length * MatrixKernels.Padded(x.Columns));
        _inner.Reserve(sizeof(ushort) * (long)rows.Length * weights.PaddedRank);
        FactorWork factors = new(this, weights);
        workers.Run(ref factors, weights.PaddedRank / TileFormat.Rows);
        DownWork down = new(this, x, weights);
        workers.Run(ref down, _blocks.Count);
        UpWork up = new(this, weights, output);
        workers.Run(ref up, weights.Chunks.Length);
    }

    public void Dispose()
    {
        foreach (NativeBuffer buffer in (NativeBuffer[])[_a, _rows, _inner, .. _scratch])
        {
            buffer.Dispose();
        }
    }

    private void Divide(ReadOnlySpan<int> rows)
    {
        _blocks.Clear();
        for (int i = 0, count; i < rows.Length; i += count)
        {
            for (count = 1; count < MatrixKernels.MaxRows && i + count < rows.Length && rows[i + count] == rows[i] + count;)
            {
                count++;
            }

            _blocks.Add((rows[i], count, i));
        }
    }

    /// <summary>Packs rows of floats of a block.</summary>
    private static void Pack(float* source, long stride, int columns, ushort* target, int count)
    {
        for (int r = 0; r < count; r++)
        {
            int panel = r & -MatrixKernels.RegisterRows, panelRows = Math.Min(MatrixKernels.RegisterRows, count - panel);
            BFloat16Rows.Pack(source + r * stride, columns, 1, target + panel * MatrixKernels.Padded(columns) + (r - panel) * MatrixKernels.StepColumns, panelRows);
        }
    }

    /// <summary>A as tiles of 32 rows, w[column/2][32][2]. The rows of a part fill whole tiles, with zeros after the last.</summary>
    private readonly struct FactorWork(MatrixLowRank owner, CpuLowRank weights) : IParallelWork
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int tile, int worker)
        {
            int columns = weights.Columns, part = 0;
            for (; weights.Parts[part].PaddedFirst + MatrixKernels.Padded(weights.Parts[part].Rank) <= tile * TileFormat.Rows; part++)
            {
            }

            (int first, int rank, int paddedFirst) = weights.Parts[part];
            int skip = tile * TileFormat.Rows - paddedFirst;
            long bytes = BFloat16Pairs.TileBytes(columns);
            byte* target = owner._a.Data + tile * bytes;
            new Span<byte>(target, checked((int)bytes)).Clear();
            for (int r = 0; r < Math.Min(TileFormat.Rows, rank - skip); r++)
            {
                float* row = weights.A + (long)(first + skip + r) * columns;
                for (int k = 0; k < columns; k++)
                {
                    ((ushort*)target)[(k & ~1) * TileFormat.Rows + 2 * r + (k & 1)] = HalfBits.BFloat16FromSingle(row[k]);
                }
            }
        }
    }

    /// <summary>A·x of a block, packed again.</summary>
    private readonly struct DownWork(MatrixLowRank owner, CpuMatrix x, CpuLowRank weights) : IParallelWork
    {
        public void Run(int part, int worker)
        {
            (int first, int count, int before) = owner._blocks[part];
            int padded = MatrixKernels.Padded(x.Columns), rank = weights.PaddedRank;
            ushort* rows = (ushort*)owner._rows.Data + (long)before * padded;
            Pack(x.RowData(first), x.Columns, x.Columns, rows, count);
            float* sums = (float*)owner._scratch[worker].Reserve(sizeof(float) * (long)count * rank);
            MatrixArgs args = new() { Weights = owner._a.Data, OutputStride = rank * sizeof(float), Steps = padded / MatrixKernels.StepColumns, Tiles = rank / TileFormat.Rows };
            MatrixKernels.SetRows(&args, (byte*)rows, padded, 0, count, 0, sums);
            owner.Kernels.Multiply(&args, count);
            Pack(sums, rank, rank, (ushort*)owner._inner.Data + (long)before * rank, count);
        }
    }

    /// <summary>Adds B times that, some outputs of one part for all blocks.</summary>
    private readonly struct UpWork(MatrixLowRank owner, CpuLowRank weights, CpuMatrix output) : IParallelWork
    {
        public void Run(int index, int worker)
        {
            ref readonly CpuLowRank.Chunk chunk = ref weights.Chunks[index];
            int rank = MatrixKernels.Padded(chunk.Rank), tiles = chunk.Rows / TileFormat.Rows, rest = chunk.Rows % TileFormat.Rows;
            long tileBytes = BFloat16Pairs.TileBytes(rank);
            byte* pairs = owner._scratch[worker].Reserve((tiles + 1) * tileBytes + MatrixKernels.MaxRows * TileFormat.Rows * sizeof(float));
            float* sums = (float*)(pairs + (tiles + 1) * tileBytes);
            Pairs(chunk, rank, pairs);
            MatrixArgs args = new() { Steps = rank / MatrixKernels.StepColumns, Accumulate = 1 };
            foreach ((int first, int count, int before) in owner._blocks)
            {
                byte* rows = owner._inner.Data + sizeof(ushort) * (long)before * weights.PaddedRank;
                float* target = output.RowData(first) + chunk.FirstRow;
                if (tiles > 0)
                {
                    args.OutputStride = (long)output.Columns * sizeof(float);
                    args.Weights = pairs;
                    args.Tiles = tiles;
                    MatrixKernels.SetRows(&args, rows, weights.PaddedRank, 0, count, chunk.PaddedFirst, target);
                    owner.Kernels.Multiply(&args, count);
                }

                for (int r = 0; r < count && rest > 0; r++)
                {
                    new Span<float>(target + (long)r * output.Columns + tiles * TileFormat.Rows, rest).CopyTo(new Span<float>(sums + r * TileFormat.Rows, rest));
                }

                if (rest > 0)
                {
                    args.OutputStride = TileFormat.Rows * sizeof(float);
                    args.Weights = pairs + tiles * tileBytes;
                    args.Tiles = 1;
                    MatrixKernels.SetRows(&args, rows, weights.PaddedRank, 0, count, chunk.PaddedFirst, sums);
                    owner.Kernels.Multiply(&args, count);
                }

                for (int r = 0; r < count && rest > 0; r++)
                {
                    new Span<float>(sums + r * TileFormat.Rows, rest).CopyTo(new Span<float>(target + (long)r * output.Columns + tiles * TileFormat.Rows, rest));
                }
            }
        }

        /// <summary>The transposed B as tiles of 32 outputs, w[rank/2][32][2], with zeros after the last rank and the last output.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Pairs(in CpuLowRank.Chunk chunk, int padded, byte* pairs)
        {
            for (int tile = 0; tile * TileFormat.Rows < chunk.Rows; tile++, pairs += padded * TileFormat.Rows * sizeof(ushort))
            {
                int count = Math.Min(TileFormat.Rows, chunk.Rows - tile * TileFormat.Rows);
                new Span<byte>(pairs, padded * TileFormat.Rows * sizeof(ushort)).Clear();
                for (int j = 0; j < chunk.Rank; j++)
                {
                    float* row = chunk.B + (long)j * chunk.Stride + tile * TileFormat.Rows;
                    ushort* target = (ushort*)pairs + (j & ~1) * TileFormat.Rows + (j & 1);
                    for (int n = 0; n < count; n++)
                    {
                        target[2 * n] = HalfBits.BFloat16FromSingle(row[n]);
                    }
                }
            }
        }
    }
}
