using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// output += B·(A·x) for some rows, in float32 on every tier: factors of rank 16 are 1% of the arithmetic of a 2B model, and adapters are small
/// corrections that quantising would blur. Each output is summed in a fixed order, independent of the rest of the batch.
/// </summary>
internal sealed unsafe class LowRankProduct(WorkerPool workers) : IDisposable
{
    private const int RanksPerPart = 4;
    private const int RowsPerPart = 16;
    private readonly NativeBuffer _inner = new();

    public void Run(CpuMatrix x, CpuLowRank weights, CpuMatrix output, ReadOnlySpan<int> rows)
    {
        float* inner = (float*)_inner.Reserve((long)rows.Length * weights.Rank * sizeof(float));
        int rowParts = (rows.Length + RowsPerPart - 1) / RowsPerPart;
        fixed (int* list = rows)
        {
            DownWork down = new(x, weights, inner, list, rows.Length);
            workers.Run(ref down, rowParts * down.RankParts);
            UpWork up = new(weights, inner, output, list, rows.Length);
            workers.Run(ref up, rowParts * weights.Chunks.Length);
        }
    }

    public void Dispose() => _inner.Dispose();

    /// <summary>inner[i, j] = A[j] · x[rows[i]].</summary>
    private readonly struct DownWork(CpuMatrix x, CpuLowRank weights, float* inner, int* rows, int count) : IParallelWork
    {
        public int RankParts => (weights.Rank + RanksPerPart - 1) / RanksPerPart;

        public void Run(int part, int worker)
        {
            int firstRank = part % RankParts * RanksPerPart, ranks = Math.Min(RanksPerPart, weights.Rank - firstRank);
            int firstRow = part / RankParts * RowsPerPart, end = Math.Min(count, firstRow + RowsPerPart);
            for (int i = firstRow; i < end; i++)
            {
                Row(x.RowData(rows[i]), weights.A + (long)firstRank * x.Columns, x.Columns, ranks, inner + (long)i * weights.Rank + firstRank);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Row(float* x, float* a, int columns, int ranks, float* result)
        {
            int j = 0;
            for (; j + 4 <= ranks; j += 4, a += 4 * columns)
            {
                Vector512<float> s0 = default, s1 = default, s2 = default, s3 = default;
                for (int i = 0; i + 16 <= columns; i += 16)
                {
                    Vector512<float> v = Vector512.Load(x + i);
                    s0 = Vector512.MultiplyAddEstimate(v, Vector512.Load(a + i), s0);
                    s1 = Vector512.MultiplyAddEstimate(v, Vector512.Load(a + columns + i), s1);
                    s2 = Vector512.MultiplyAddEstimate(v, Vector512.Load(a + 2 * columns + i), s2);
                    s3 = Vector512.MultiplyAddEstimate(v, Vector512.Load(a + 3 * columns + i), s3);
                }

                result[j] = Finish(s0, x, a, columns);
                result[j + 1] = Finish(s1, x, a + columns, columns);
                result[j + 2] = Finish(s2, x, a + 2 * columns, columns);
                result[j + 3] = Finish(s3, x, a + 3 * columns, columns);
            }

            for (; j < ranks; j++, a += columns)
            {
                Vector512<float> sum = default;
                for (int i = 0; i + 16 <= columns; i += 16)
                {
                    sum = Vector512.MultiplyAddEstimate(Vector512.Load(x + i), Vector512.Load(a + i), sum);
                }

                result[j] = Finish(sum, x, a, columns);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static float Finish(Vector512<float> sum, float* x, float* a, int columns)
        {
            float total = Vector512.Sum(sum);
            for (int i = columns & ~15; i < columns; i++)
            {
                total += x[i] * a[i];
            }

            return total;
        }
    }

    /// <summary>output[rows[i], n] += Σ B[n, j] · inner[i, j].</summary>
    private readonly struct UpWork(CpuLowRank weights, float* inner, CpuMatrix output, int* rows, int count) : IParallelWork
    {
        public void Run(int part, int worker)
        {
            ref readonly CpuLowRank.Chunk chunk = ref weights.Chunks[part % weights.Chunks.Length];
            int firstRow = part / weights.Chunks.Length * RowsPerPart, end = Math.Min(count, firstRow + RowsPerPart);
            for (int i = firstRow; i < end; i++)
            {
                Row(inner + (long)i * weights.Rank + chunk.FirstRank, chunk.Rank, chunk.B, chunk.Stride, output.RowData(rows[i]) + chunk.FirstRow, chunk.Rows);
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Row(float* factors, int rank, float* b, int stride, float* output, int count)
        {
            int n = 0;
            for (; n + 64 <= count; n += 64)
            {
                Vector512<float> s0 = Vector512.Load(output + n), s1 = Vector512.Load(output + n + 16), s2 = Vector512.Load(output + n + 32), s3 = Vector512.Load(output + n + 48);
                float* row = b + n;
                for (int j = 0; j < rank; j++, row += stride)
                {
                    Vector512<float> factor = Vector512.Create(factors[j]);
                    s0 = Vector512.MultiplyAddEstimate(factor, Vector512.Load(row), s0);
                    s1 = Vector512.MultiplyAddEstimate(factor, Vector512.Load(row + 16), s1);
                    s2 = Vector512.MultiplyAddEstimate(factor, Vector512.Load(row + 32), s2);
                    s3 = Vector512.MultiplyAddEstimate(factor, Vector512.Load(row + 48), s3);
                }

                s0.Store(output + n);
                s1.Store(output + n + 16);
                s2.Store(output + n + 32);
                s3.Store(output + n + 48);
            }

            for (; n < count; n++)
            {
                float sum = output[n];
                for (int j = 0; j < rank; j++)
                {
                    sum = MathF.FusedMultiplyAdd(factors[j], b[(long)j * stride + n], sum);
                }

                output[n] = sum;
            }
        }
    }
}
