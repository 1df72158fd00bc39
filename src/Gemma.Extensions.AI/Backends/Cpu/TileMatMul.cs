using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>
/// Matrix products by tiles. Activations are cut into panels of a few rows and, for quantised weights, rounded to signed bytes with a scale for
/// 32 of them. A worker takes a run of weight rows, unpacks a tile of 32 rows by a few hundred columns into its cache and multiplies it with all panels.
/// A single row (generation) goes the same way: unpacking keeps up with the memory, and so a batch gives the same numbers as its rows alone.
/// </summary>
internal sealed unsafe class TileMatMul(WorkerPool workers, TileKernels kernels) : IDisposable
{
    /// <summary>Columns of a byte tile: 16 KiB with 32 rows, so that it stays in a first-level cache with its scales.</summary>
    private const int ByteColumns = 512;

    /// <summary>Columns of a float tile: 16 KiB.</summary>
    private const int FloatColumns = 128;

    /// <summary>Tiles side by side in a task of a batch: their activations are read from the second-level cache once.</summary>
    private const int TilesPerTask = 4;

    private const int ByteTileBytes = ByteColumns * TileFormat.Rows;
    private const int FloatTileBytes = FloatColumns * TileFormat.Rows * sizeof(float);
    private const int ScaleBytes = ByteColumns / 16 * 2 * TileFormat.Rows * sizeof(float);

    // A byte tile and its scales, then what FloatOnly makes of 128 of its columns.
    private const int SlotBytes = ByteTileBytes + ScaleBytes + FloatTileBytes;

    private readonly NativeBuffer[] _scratch = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];
    private readonly NativeBuffer[] _overlap = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];
    private readonly NativeBuffer _bytes = new(), _scales = new();
    private readonly List<NativeBuffer> _terms = [];
    private readonly PartPlan[] _plans = new PartPlan[8];

    public void Run(CpuMatrix x, CpuWeights weights, CpuMatrix output, int rows)
    {
        if (rows == 0)
        {
            return;
        }

        int columns = x.Columns, parts = weights.Parts.Length, tasks = 0;
        if (parts > _plans.Length)
        {
            throw new NotSupportedException($"{parts} stacked tensors; {_plans.Length} are supported.");
        }

        bool bytes = false;
        int tilesPerTask = TilesFor(rows, weights.Rows);
        for (int i = 0; i < parts; i++)
        {
            ref readonly WeightPart part = ref weights.Parts[i];
            TileFormat format = kernels.Formats[(int)part.Format.Type];
            bool byteTile = !format.IsFloat && !kernels.FloatOnly;
            bytes |= byteTile;
            _plans[i] = new PartPlan(part, format, tasks, tilesPerTask) { ByteTile = byteTile };
            tasks += _plans[i].Tasks;
        }

        if (bytes)
        {
            Quantise(x, rows, columns, parts);
        }

        var work = new ProductWork(this, x, output, rows, parts, tilesPerTask);
        workers.Run(ref work, tasks);
    }

    public void Dispose()
    {
        foreach (NativeBuffer buffer in (NativeBuffer[])[.. _scratch, .. _overlap, .. _terms, _bytes, _scales])
        {
            buffer.Dispose();
        }
    }

    /// <summary>Rows of a panel, so that panels are as equal as possible.</summary>
    private static int PanelRows(int rows, int most) => (rows + (rows + most - 1) / most - 1) / ((rows + most - 1) / most);

    private int TilesFor(int rows, int weightRows)
    {
        int perWorker = weightRows / (TileFormat.Rows * workers.Count * 4);
        return Math.Clamp(perWorker, 1, rows == 1 ? 2 * TilesPerTask : TilesPerTask);
    }

    private void Quantise(CpuMatrix x, int rows, int columns, int parts)
    {
        int panel = PanelRows(rows, kernels.BytePanel);
        _bytes.Reserve((long)rows * columns);
        _scales.Reserve((long)rows * (columns / 32) * sizeof(float));
        int kinds = 0;
        for (int i = 0; i < parts; i++)
        {
            ref PartPlan plan = ref _plans[i];
            plan.Kind = -1;
            if (!plan.ByteTile)
            {
                continue;
            }

            for (int j = 0; j < i && plan.Kind < 0; j++)
            {
                TileFormat a = plan.Format, b = _plans[j].Format;
                if (_plans[j].ByteTile && a.Group == b.Group && a.Offset == b.Offset && a.HasMinimum == b.HasMinimum)
                {
                    plan.Kind = _plans[j].Kind;
                    plan.Terms = _plans[j].Terms;
                }
            }

            if (plan.Kind < 0)
            {
                plan.Kind = kinds++;
                if (_terms.Count < kinds)
                {
                    _terms.Add(new NativeBuffer());
                }

                plan.Terms = _terms[plan.Kind].Reserve((long)rows * (columns / plan.Format.Group) * sizeof(int));
            }
        }

        var work = new QuantiseWork(this, x, rows, panel, parts);
        workers.Run(ref work, (rows + panel - 1) / panel);
    }

    /// <summary>How one part of a stacked matrix is worked on.</summary>
    private struct PartPlan(in WeightPart part, TileFormat format, int firstTask, int tilesPerTask)
    {
        public readonly WeightPart Part = part;
        public readonly TileFormat Format = format;
        public readonly int FirstTask = firstTask;

        /// <summary>The last tile is moved back to end with the part, where the rows are not whole tiles. Parts smaller than a tile are one task of single rows.</summary>
        public readonly int Tiles = Math.Max(1, (part.Rows + TileFormat.Rows - 1) / TileFormat.Rows);
        public readonly int Tasks = (Math.Max(1, (part.Rows + TileFormat.Rows - 1) / TileFormat.Rows) + tilesPerTask - 1) / tilesPerTask;
        public bool ByteTile;
        public int Kind;
        public byte* Terms;
    }

    private readonly struct QuantiseWork(TileMatMul owner, CpuMatrix x, int rows, int panel, int parts) : IParallelWork
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int part, int worker)
        {
            int first = part * panel, count = Math.Min(panel, rows - first), columns = x.Columns, blocks = columns / 32;
            int* sums = stackalloc int[2];
            for (int r = 0; r < count; r++)
            {
                float* source = x.RowData(first + r);
                int* target = (int*)(owner._bytes.Data + (long)first * columns) + r;
                float* scales = (float*)owner._scales.Data + (long)first * blocks + r;
                for (int block = 0; block < blocks; block++, source += 32, target += 8 * count, scales += count)
                {
                    float scale = Round(source, target, count, sums);
                    *scales = scale;
                    for (int i = 0; i < parts; i++)
                    {
                        ref PartPlan plan = ref owner._plans[i];
                        if (plan.ByteTile)
                        {
                            PutTerms(plan, first, r, count, block, columns, scale, sums);
                        }
                    }
                }
            }
        }

        private static void PutTerms(in PartPlan plan, int first, int row, int count, int block, int columns, float scale, int* sums)
        {
            TileFormat format = plan.Format;
            int* terms = (int*)plan.Terms + (long)first * (columns / format.Group) + row;
            if (format.Group == 32)
            {
                Put(terms + (long)block * count, sums[0] + sums[1]);
            }
            else
            {
                Put(terms + 2L * block * count, sums[0]);
                Put(terms + (2L * block + 1) * count, sums[1]);
            }

            void Put(int* term, int sum)
            {
                if (format.HasMinimum)
                {
                    *(float*)term = scale * sum;
                }
                else
                {
                    *term = -format.Offset * sum;
                }
            }
        }

        /// <summary>Rounds 32 numbers to signed bytes, stored four by four at a distance of <paramref name="stride"/> dwords; gives their scale and the sums of their halves.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static float Round(float* source, int* target, int stride, int* sums)
        {
            Vector512<float> low = Vector512.Load(source), high = Vector512.Load(source + 16);
            Vector512<float> magnitude = Vector512.Max(Vector512.Abs(low), Vector512.Abs(high));
            Vector256<float> half = Vector256.Max(magnitude.GetLower(), magnitude.GetUpper());
            Vector128<float> quarter = Vector128.Max(half.GetLower(), half.GetUpper());
            float max = MathF.Max(MathF.Max(quarter[0], quarter[1]), MathF.Max(quarter[2], quarter[3]));
            float scale = max / 127;
            float inverse = max > 0 ? 127 / max : 0;

            // Adding 1.5·2^23 rounds to nearest even and leaves the integer in the low bits.
            Vector512<float> magic = Vector512.Create(12582912f);
            Vector512<int> a = (low * inverse + magic).AsInt32() - magic.AsInt32();
            Vector512<int> b = (high * inverse + magic).AsInt32() - magic.AsInt32();
            sums[0] = Vector512.Sum(a);
            sums[1] = Vector512.Sum(b);
            Vector256<sbyte> bytes = Vector256.Narrow(Vector256.Narrow(a.GetLower(), a.GetUpper()), Vector256.Narrow(b.GetLower(), b.GetUpper()));
            Vector256<int> dwords = bytes.AsInt32();
            if (stride == 1)
            {
                dwords.Store(target);
            }
            else
            {
                for (int i = 0; i < 8; i++)
                {
                    target[i * stride] = dwords[i];
                }
            }

            return scale;
        }
    }

    private readonly struct ProductWork(TileMatMul owner, CpuMatrix x, CpuMatrix output, int rows, int parts, int tilesPerTask) : IParallelWork
    {
        public void Run(int task, int worker)
        {
            int index = parts - 1;
            while (owner._plans[index].FirstTask > task)
            {
                index--;
            }

            ref readonly PartPlan plan = ref owner._plans[index];
            int first = (task - plan.FirstTask) * tilesPerTask;
            if (plan.Part.Rows < TileFormat.Rows || x.Columns % plan.Format.BlockElements != 0)
            {
                SingleRows(plan, first, worker);
                return;
            }

            int last = Math.Min(plan.Tiles, first + tilesPerTask);
            byte* scratch = owner._scratch[worker].Reserve(tilesPerTask * SlotBytes);
            if (rows <= 32)
            {
                // The activations stay in the first-level cache: tile after tile, in the order of the file, reading ahead.
                for (int tile = first; tile < last; tile++)
                {
                    Tiles(plan, tile, tile + 1, scratch, worker, readAhead: tile + 2 <= plan.Part.Rows / TileFormat.Rows);
                }
            }
            else
            {
                Tiles(plan, first, last, scratch, worker, readAhead: false);
            }
        }

        private void Tiles(in PartPlan plan, int first, int last, byte* scratch, int worker, bool readAhead)
        {
            int step = Math.Min(plan.ByteTile ? ByteColumns : FloatColumns, x.Columns);
            if (owner.Expands(plan))
            {
                step = Math.Max(FloatColumns, plan.Format.BlockElements);
            }

            for (int k = 0; k < x.Columns; k += step)
            {
                int columns = Math.Min(step, x.Columns - k);
                for (int tile = first; tile < last; tile++)
                {
                    byte* rowData = Row(plan, tile, k, out _);
                    byte* slot = scratch + (tile - first) * SlotBytes;
                    long stride = plan.Part.RowBytes;
                    if (readAhead)
                    {
                        ReadAhead(rowData - plan.Part.Format.ByteLength(k) + TileFormat.Rows * stride, TileFormat.Rows * stride, k, columns, x.Columns);
                    }

                    plan.Format.Unpack(rowData, stride, columns, slot, (float*)(slot + ByteTileBytes));
                    plan.Format.Unpack(rowData + 16 * stride, stride, columns, slot + 64, (float*)(slot + ByteTileBytes) + 16);
                }

                for (int tile = first; tile < last; tile++)
                {
                    Multiply(plan, tile, k, columns, scratch + (tile - first) * SlotBytes, worker);
                }
            }
        }

        private byte* Row(in PartPlan plan, int tile, int k, out int row)
        {
            row = Math.Min(tile * TileFormat.Rows, plan.Part.Rows - TileFormat.Rows);
            return plan.Part.Data + row * plan.Part.RowBytes + plan.Part.Format.ByteLength(k);
        }

        /// <summary>Asks for the part of the next tile (its rows lie one after the other) that corresponds to the columns in work.</summary>
        private static void ReadAhead(byte* next, long bytes, int k, int columns, int allColumns)
        {
            if (Sse.IsSupported)
            {
                long end = bytes * (k + columns) / allColumns;
                for (long offset = bytes * k / allColumns; offset < end; offset += 64)
                {
                    Sse.Prefetch1(next + offset);
                }
            }
        }

        private void Multiply(in PartPlan plan, int tile, int k, int columns, byte* slot, int worker)
        {
            Row(plan, tile, k, out int row);
            int overlap = tile * TileFormat.Rows - row;
            float* target = output.Data + plan.Part.FirstRow + row;
            TileArgs args = new()
            {
                Weights = slot,
                Scales = (float*)(slot + ByteTileBytes),
                OutputStride = (long)output.Columns * sizeof(float),
                Accumulate = k == 0 ? 0 : 1,
            };
            if (overlap > 0)
            {
                // Another worker may be adding up the rows that both tiles hold.
                args.OutputStride = TileFormat.Rows * sizeof(float);
                target = (float*)owner._overlap[worker].Reserve(rows * args.OutputStride);
            }

            if (plan.ByteTile)
            {
                MultiplyBytes(plan, k, columns, target, ref args);
            }
            else if (!owner.Expands(plan))
            {
                MultiplyFloats(k, columns, target, ref args);
            }
            else
            {
                for (int done = 0; done < columns; done += FloatColumns)
                {
                    int count = Math.Min(FloatColumns, columns - done);
                    args.Weights = slot + ByteTileBytes + ScaleBytes;
                    Expand(plan.Format, slot + done * TileFormat.Rows, (float*)(slot + ByteTileBytes) + done / plan.Format.Group * plan.Format.ScaleStride, count, (float*)args.Weights);
                    MultiplyFloats(k + done, count, target, ref args);
                    args.Accumulate = 1;
                }
            }

            if (overlap > 0 && k + columns == x.Columns)
            {
                for (int r = 0; r < rows; r++)
                {
                    new Span<float>(target + r * TileFormat.Rows + overlap, TileFormat.Rows - overlap).CopyTo(output.Row(r)[(plan.Part.FirstRow + row + overlap)..]);
                }
            }
        }

        private void MultiplyBytes(in PartPlan plan, int k, int columns, float* target, ref TileArgs args)
        {
            int panel = PanelRows(rows, owner.Kernels.BytePanel), all = x.Columns;
            args.Steps = columns / 32;
            fixed (TileArgs* pinned = &args)
            {
                for (int first = 0; first < rows; first += panel)
                {
                    int count = Math.Min(panel, rows - first);
                    pinned->Activations = owner._bytes.Data + (long)first * all + (long)k * count;
                    pinned->ActivationScales = (float*)owner._scales.Data + (long)first * (all / 32) + (long)(k / 32) * count;
                    pinned->Terms = (int*)plan.Terms + (long)first * (all / plan.Format.Group) + (long)(k / plan.Format.Group) * count;
                    pinned->Output = target + first * (args.OutputStride / sizeof(float));
                    owner.Kernels.Bytes(pinned, count, plan.Format);
                }
            }
        }

        private void MultiplyFloats(int k, int columns, float* target, ref TileArgs args)
        {
            args.Steps = columns;
            args.Activations = (byte*)(x.Data + k);
            args.ActivationStride = x.Columns;
            args.WeightStride = TileFormat.Rows;
            args.Output = target;
            fixed (TileArgs* pinned = &args)
            {
                owner.Kernels.Floats(pinned, rows);
            }
        }

        /// <summary>A byte tile as a float tile.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Expand(TileFormat format, byte* q, float* scales, int columns, float* target)
        {
            Vector512<int> low = Vector512.Create(255), offset = Vector512.Create(format.Offset);
            for (int k = 0; k < columns; k += 4, q += 4 * TileFormat.Rows)
            {
                float* scale = scales + k / format.Group * format.ScaleStride;
                for (int half = 0; half < 2; half++)
                {
                    Vector512<int> bytes = Vector512.Load((int*)(q + 64 * half));
                    Vector512<float> s = Vector512.Load(scale + 16 * half);
                    Vector512<float> m = format.HasMinimum ? Vector512.Load(scale + TileFormat.Rows + 16 * half) : Vector512<float>.Zero;
                    for (int i = 0; i < 4; i++)
                    {
                        Vector512<float> value = Vector512.ConvertToSingle(((bytes >> (8 * i)) & low) - offset);
                        (s * value - m).Store(target + (k + i) * TileFormat.Rows + 16 * half);
                    }
                }
            }
        }

        /// <summary>Parts that do not make up tiles (few rows, or floats whose columns are not whole vectors): row by row with the reference decoder.</summary>
        private void SingleRows(in PartPlan plan, int firstTile, int worker)
        {
            int columns = x.Columns, end = Math.Min(plan.Part.Rows, (firstTile + tilesPerTask) * TileFormat.Rows);
            float* weights = (float*)owner._scratch[worker].Reserve(Math.Max(tilesPerTask * SlotBytes, (long)columns * sizeof(float)));
            for (int n = firstTile * TileFormat.Rows; n < end; n++)
            {
                plan.Part.Format.Decode(plan.Part.Data + n * plan.Part.RowBytes, weights, columns);
                for (int r = 0; r < rows; r++)
                {
                    output.RowData(r)[plan.Part.FirstRow + n] = TensorPrimitives.Dot(new ReadOnlySpan<float>(x.RowData(r), columns), new ReadOnlySpan<float>(weights, columns));
                }
            }
        }
    }

    private TileKernels Kernels => kernels;

    private bool Expands(in PartPlan plan) => !plan.ByteTile && !plan.Format.IsFloat;
}
