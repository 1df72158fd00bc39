using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Jit;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Matrix products by tiles. Activations are cut into panels of a few rows and, for quantised weights, rounded to signed bytes with a scale for
/// 32 of them. A worker takes a run of weight rows, unpacks a tile of 32 rows by a few hundred columns into its cache and multiplies it with all panels.
/// A few rows (generation) go past the tiles (<see cref="GemvKernels"/>), with the same numbers.
/// </summary>
internal sealed unsafe class TiledMatMul(WorkerPool workers, MatMulKernels kernels) : IDisposable
{
    /// <summary>Columns of a byte tile: 16 KiB with 32 rows, so that it stays in a first-level cache with its scales.</summary>
    public const int ByteColumns = 512;

    /// <summary>Columns of a float tile: 16 KiB. A tile of pairs has twice as many.</summary>
    private const int FloatColumns = 128;

    /// <summary>Up to so many rows, reading weights is what takes time: tiles are smaller, and the next ones are asked for meanwhile.</summary>
    private const int FewRows = 32;

    /// <summary>Most rows that go past the tiles: twice what is unpacked for at once. There both took as long; tiles took a sixth less time for 32 rows of Q4_K, a quarter less of Q6_K.</summary>
    private const int MostDirectRows = 2 * GemvAssembler.MostRows;

    /// <summary>Activations below which rounding them is not worth waking a worker.</summary>
    private const int SmallWork = 16 * 1024;

    /// <summary>Tiles side by side in a task of a batch: their activations are read from the second-level cache once.</summary>
    private const int TilesPerTask = 4;

    private const int ByteTileBytes = ByteColumns * TileFormat.Rows;
    private const int FloatTileBytes = FloatColumns * TileFormat.Rows * sizeof(float);
    private const int ScaleBytes = ByteColumns / 16 * 2 * TileFormat.Rows * sizeof(float);

    // A byte tile and its scales, then what FloatOnly makes of 128 of its columns.
    private const int SlotBytes = ByteTileBytes + ScaleBytes + FloatTileBytes;

    private readonly NativeBuffer[] _scratch = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];
    private readonly NativeBuffer[] _sums = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];
    private readonly NativeBuffer _bytes = new(), _scales = new(), _floats = new(), _bfloat16 = new();
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

        bool bytes = false, floats = false, bfloat16 = false;
        bool direct = Direct(weights, rows, columns);
        int tilesPerTask = TilesFor(direct, weights.Rows);
        for (int i = 0; i < parts; i++)
        {
            ref readonly WeightPart part = ref weights.Parts[i];
            TileFormat format = kernels.WeightFormat(part.Format.Type);
            bool byteTile = !format.IsFloat && !kernels.FloatOnly;
            bytes |= byteTile;
            floats |= !byteTile && !format.IsBFloat16;
            bfloat16 |= format.IsBFloat16;
            _plans[i] = new PartPlan(part, format, tasks, tilesPerTask) { ByteTile = byteTile, Direct = direct && CanGemv(part, rows, columns) };
            tasks += _plans[i].Tasks;
        }

        if (bytes)
        {
            Quantise(x, rows, columns, parts, direct ? PanelRows(rows, GemvAssembler.MostRows) : PanelRows(rows, kernels.BytePanel), direct);
        }

        if (floats && rows > 1)
        {
            Interleave(x, rows, direct, bfloat16: false);
        }

        if (bfloat16)
        {
            Interleave(x, rows, direct, bfloat16: true);
        }

        var work = new ProductWork(this, x, output, rows, parts, tilesPerTask);
        workers.Run(ref work, tasks);
    }

    public void Dispose()
    {
        foreach (NativeBuffer buffer in (NativeBuffer[])[.. _scratch, .. _sums, .. _terms, _bytes, _scales, _floats, _bfloat16])
        {
            buffer.Dispose();
        }
    }

    /// <summary>Rows of a panel, so that panels are as equal as possible.</summary>
    private static int PanelRows(int rows, int most) => (rows + (rows + most - 1) / most - 1) / ((rows + most - 1) / most);

    /// <summary>Columns worked on at a time; activations are laid out in the same steps, so that a step's lie together.</summary>
    private static int ByteStep(int rows, int columns) => Math.Min(columns, rows <= FewRows ? ByteColumns / 2 : ByteColumns);

    /// <summary>[step][panel][column, or pair of columns][row of the panel], four bytes each.</summary>
    private void Interleave(CpuMatrix x, int rows, bool direct, bool bfloat16)
    {
        int panel = PanelRows(rows, direct ? GemvAssembler.MostRows : kernels.FloatPanel), units = bfloat16 ? x.Columns / 2 : x.Columns;
        byte* target = (bfloat16 ? _bfloat16 : _floats).Reserve(4L * rows * units);
        var work = new InterleaveWork(x, target, rows, panel, units, direct ? units : FloatColumns, bfloat16);
        workers.Run(ref work, (rows + panel - 1) / panel);
    }

    private int TilesFor(bool direct, int weightRows)
    {
        int perWorker = weightRows / (TileFormat.Rows * workers.Count * 4);
        return Math.Clamp(perWorker, 1, direct ? 2 * TilesPerTask : TilesPerTask);
    }

    /// <summary>Whether the products go past the tiles. Several rows are laid out for the one way or the other, so all parts have to go it.</summary>
    private bool Direct(CpuWeights weights, int rows, int columns)
    {
        bool all = rows <= MostDirectRows;
        for (int i = 0; i < weights.Parts.Length && all && rows > 1; i++)
        {
            all = CanGemv(weights.Parts[i], rows, columns);
        }

        return all;
    }

    private bool CanGemv(in WeightPart part, int rows, int columns)
    {
        int block = part.Format.Type == TensorType.BF16 ? 16 : kernels.WeightFormat(part.Format.Type).BlockElements, panel = PanelRows(rows, GemvAssembler.MostRows);
        return part.Rows >= TileFormat.Rows && columns % block == 0
            && kernels.CanGemv(part.Format.Type, panel) && kernels.CanGemv(part.Format.Type, (rows - 1) % panel + 1);
    }

    private void Quantise(CpuMatrix x, int rows, int columns, int parts, int panel, bool direct)
    {
        _bytes.Reserve((long)rows * columns);
        _scales.Reserve((long)rows * (columns / 32) * sizeof(float));
        int kinds = 0;
        for (int i = 0; i < parts; i++)
        {
            ref PartPlan plan = ref _plans[i];
            plan.Kind = -1;
            plan.OwnTerms = false;
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
                    plan.ZeroPointTerms = _plans[j].ZeroPointTerms;
                }
            }

            if (plan.Kind < 0)
            {
                plan.Kind = kinds++;
                plan.OwnTerms = true;
                if (_terms.Count < kinds)
                {
                    _terms.Add(new NativeBuffer());
                }

                plan.ZeroPointTerms = _terms[plan.Kind].Reserve((long)rows * (columns / plan.Format.Group) * sizeof(int));
            }
        }

        // A batch is shared out by panels. A single panel, whose layout is the same whatever the steps, is by columns where that is worth waking workers.
        int step = direct && panel < rows ? columns : ByteStep(rows, columns), share = columns;
        if (panel == rows && (long)rows * columns >= SmallWork)
        {
            share = (columns / workers.Count + step - 1) / step * step;
        }

        var work = new QuantiseWork(this, x, rows, panel, parts, step, share, direct);
        workers.Run(ref work, (rows + panel - 1) / panel * work.Shares);
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

        /// <summary>Bytes that an activation takes in the layout for this part.</summary>
        public readonly int ActivationBytes => ByteTile ? 1 : Format.IsBFloat16 ? 2 : sizeof(float);

        /// <summary>Whether it goes past the tiles.</summary>
        public bool Direct;
        public int Kind;

        /// <summary>Whether this part is the first of its kind, whose terms the others share.</summary>
        public bool OwnTerms;
        public byte* ZeroPointTerms;
    }

    private readonly struct InterleaveWork(CpuMatrix x, byte* target, int rows, int panel, int units, int step, bool bfloat16) : IParallelWork
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int part, int worker)
        {
            int first = part * panel, count = Math.Min(panel, rows - first);
            for (int start = 0; start < units; start += step)
            {
                int length = Math.Min(step, units - start);
                byte* destination = target + 4 * ((long)rows * start + (long)first * length);
                for (int r = 0; r < count; r++)
                {
                    if (bfloat16)
                    {
                        Put(x.RowData(first + r) + 2 * start, (uint*)destination + r, length, count);
                    }
                    else
                    {
                        Put(x.RowData(first + r) + start, (float*)destination + r, length, count);
                    }
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static void Put(float* source, float* destination, int length, int count)
        {
            for (int k = 0; k < length; k++)
            {
                destination[k * count] = source[k];
            }
        }

        /// <summary>Rounds to bfloat16, nearest even. The first of a pair is the lower half.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Put(float* source, uint* destination, int length, int count)
        {
            for (int k = 0; k < length; k++)
            {
                destination[k * count] = HalfBits.BFloat16FromSingle(source[2 * k]) | (uint)HalfBits.BFloat16FromSingle(source[2 * k + 1]) << 16;
            }
        }
    }

    /// <summary>Signed bytes [step of columns][panel][column/4][row of the panel][4], directly [panel][column/16][row of the panel][16], their scales, and the terms of each kind of format in the same order.</summary>
    private readonly struct QuantiseWork(TiledMatMul owner, CpuMatrix x, int rows, int panel, int parts, int step, int share, bool direct) : IParallelWork
    {
        public int Shares => (x.Columns + share - 1) / share;

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int part, int worker)
        {
            int first = part / Shares * panel, count = Math.Min(panel, rows - first), begin = part % Shares * share, end = Math.Min(x.Columns, begin + share);
            int* sums = stackalloc int[2 * step / 32];
            for (int start = begin; start < end; start += step)
            {
                int columns = Math.Min(step, end - start), blocks = columns / 32;
                for (int r = 0; r < count; r++)
                {
                    float* source = x.RowData(first + r) + start;
                    int* target = (int*)(owner._bytes.Data + (long)rows * start + (long)first * columns) + (direct ? 4 * r : r);
                    float* scales = (float*)owner._scales.Data + (long)rows * (start / 32) + (long)first * blocks + r;
                    for (int block = 0; block < blocks; block++)
                    {
                        scales[block * count] = Round(source + 32 * block, target + 8 * count * block, count, direct, sums + 2 * block);
                    }

                    for (int i = 0; i < parts; i++)
                    {
                        ref PartPlan plan = ref owner._plans[i];
                        if (plan.ByteTile && plan.OwnTerms)
                        {
                            int groups = columns / plan.Format.Group;
                            PutTerms(plan.Format, (int*)plan.ZeroPointTerms + (long)rows * (start / plan.Format.Group) + (long)first * groups + r, count, groups, scales, sums);
                        }
                    }
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void PutTerms(TileFormat format, int* terms, int count, int groups, float* scales, int* sums)
        {
            int perBlock = 32 / format.Group, offset = -format.Offset;
            bool minimum = format.HasMinimum;
            for (int g = 0; g < groups; g++)
            {
                int sum = perBlock == 1 ? sums[2 * g] + sums[2 * g + 1] : sums[g];
                if (minimum)
                {
                    ((float*)terms)[g * count] = scales[g / perBlock * count] * sum;
                }
                else
                {
                    terms[g * count] = offset * sum;
                }
            }
        }

        /// <summary>Rounds 32 numbers to signed bytes, stored four by four (directly: 16 by 16) with those of <paramref name="stride"/> rows; gives their scale and the sums of their halves.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static float Round(float* source, int* target, int stride, bool direct, int* sums)
        {
            Vector512<float> low = Vector512.Load(source), high = Vector512.Load(source + 16);
            Vector512<float> magnitude = Vector512.Max(Vector512.Abs(low), Vector512.Abs(high));
            Vector256<float> half = Vector256.Max(magnitude.GetLower(), magnitude.GetUpper());
            Vector128<float> quarter = Vector128.Max(half.GetLower(), half.GetUpper());
            quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(2, 3, 0, 1)));
            quarter = Vector128.Max(quarter, Vector128.Shuffle(quarter, Vector128.Create(1, 0, 3, 2)));
            float max = quarter.ToScalar();
            float inverse = max > 0 ? 127 / max : 0;

            // Adding 1.5·2^23 rounds to nearest even and leaves the integer in the low bits.
            Vector512<float> magic = Vector512.Create(12582912f);
            Vector512<int> a = (low * inverse + magic).AsInt32() - magic.AsInt32();
            Vector512<int> b = (high * inverse + magic).AsInt32() - magic.AsInt32();
            sums[0] = Vector512.Sum(a);
            sums[1] = Vector512.Sum(b);
            Vector256<sbyte> bytes = Vector256.Narrow(Vector256.Narrow(a.GetLower(), a.GetUpper()), Vector256.Narrow(b.GetLower(), b.GetUpper()));
            if (direct)
            {
                bytes.GetLower().AsInt32().Store(target);
                bytes.GetUpper().AsInt32().Store(target + 4 * stride);
            }
            else
            {
                int* dwords = stackalloc int[8];
                bytes.AsInt32().Store(dwords);
                for (int i = 0; i < 8; i++)
                {
                    target[i * stride] = dwords[i];
                }
            }

            return max / 127;
        }
    }

    private readonly struct ProductWork(TiledMatMul owner, CpuMatrix x, CpuMatrix output, int rows, int parts, int tilesPerTask) : IParallelWork
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
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
            if (plan.Direct)
            {
                DirectRows(plan, first, last, worker);
                return;
            }

            byte* scratch = owner._scratch[worker].Reserve(tilesPerTask * SlotBytes);
            if (rows <= FewRows)
            {
                // Tile after tile, in the order of the file, reading ahead.
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

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Tiles(in PartPlan plan, int first, int last, byte* scratch, int worker, bool readAhead)
        {
            int step = plan.ByteTile ? ByteStep(rows, x.Columns) : plan.Format.IsBFloat16 ? 2 * FloatColumns : FloatColumns;
            if (owner.Expands(plan))
            {
                step = Math.Max(FloatColumns, plan.Format.BlockElements);
            }

            long stride = plan.Part.RowBytes;
            for (int k = 0; k < x.Columns; k += step)
            {
                int columns = Math.Min(step, x.Columns - k);
                for (int tile = first; tile < last; tile++)
                {
                    byte* data = Row(plan, tile, k, out int row);
                    byte* next = plan.Part.Data + (row + TileFormat.Rows) * stride;
                    byte* slot = scratch + (tile - first) * SlotBytes;
                    for (int half = 0; half < 2; half++)
                    {
                        plan.Format.Unpack(data + 16 * half * stride, stride, columns, slot + 64 * half, (float*)(slot + ByteTileBytes) + 16 * half);
                        if (readAhead)
                        {
                            ReadAhead(next, TileFormat.Rows * stride, 2L * k + half * columns, columns, 2L * x.Columns);
                        }
                    }
                }

                for (int tile = first; tile < last; tile++)
                {
                    Multiply(plan, tile, k, columns, scratch, tile - first, worker);
                }
            }
        }

        /// <summary>
        /// A few activation rows. While 16 weight rows are worked on, the next 16 are asked for in four streams, a line of each at a time. On one core
        /// of an Ice Lake server reading a file's pages that way gave 13.0 GB/s; loads alone in four streams 11.4, in one stream 9.0; the walk over
        /// 16 rows without asking 7.5, asking in one stream 9.2, for eight streams in bursts 10.8.
        /// </summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void DirectRows(in PartPlan plan, int firstTile, int lastTile, int worker)
        {
            int first = firstTile * TileFormat.Rows, last = Math.Min(plan.Part.Rows, lastTile * TileFormat.Rows);
            long stride = plan.Part.RowBytes, bytes = GemvKernels.Rows * stride;
            byte* scratch = owner._scratch[worker].Reserve(GemvKernels.ScratchBytes + GemvAssembler.MostRows * GemvKernels.Rows * sizeof(float));
            var sums = (float*)(scratch + GemvKernels.ScratchBytes);
            byte* activations = plan.ByteTile ? owner._bytes.Data : owner.Dwords(plan, x, rows);
            int columns = x.Columns, panel = PanelRows(rows, GemvAssembler.MostRows), groups = plan.ByteTile ? columns / plan.Format.Group : 0;
            GemvArgs args = new()
            {
                Columns = columns,
                WeightStride = stride,
                Scratch = scratch,
                Output = sums,
                Stream = bytes / 4 & ~63L,
            };
            for (int row = first; row < last; row += GemvKernels.Rows)
            {
                // The last rows of a part may not be 16: some are worked on twice.
                int start = Math.Min(row, plan.Part.Rows - GemvKernels.Rows), next = row + GemvKernels.Rows;
                if (next >= last)
                {
                    // The other workers have the tasks in between.
                    next = first + owner.Workers * tilesPerTask * TileFormat.Rows;
                }

                args.Ahead = plan.Part.Data + Math.Min(next, plan.Part.Rows - GemvKernels.Rows) * stride;
                args.Weights = plan.Part.Data + start * stride;
                for (int r = 0; r < rows; r += panel)
                {
                    args.Count = Math.Min(panel, rows - r);
                    args.Activations = activations + (long)r * columns * plan.ActivationBytes;
                    args.ActivationScales = (float*)owner._scales.Data + r * (columns / 32);
                    args.ZeroPointTerms = plan.ZeroPointTerms + (long)r * groups * sizeof(float);
                    owner.Kernels.Gemv(plan.Part.Format.Type, &args);
                    for (int i = 0; i < args.Count; i++)
                    {
                        new ReadOnlySpan<float>(sums + i * GemvKernels.Rows + (row - start), GemvKernels.Rows - (row - start)).CopyTo(output.Row(r + i)[(plan.Part.FirstRow + row)..]);
                    }
                }
            }
        }

        private byte* Row(in PartPlan plan, int tile, int k, out int row)
        {
            row = Math.Min(tile * TileFormat.Rows, plan.Part.Rows - TileFormat.Rows);
            return plan.Part.Data + row * plan.Part.RowBytes + plan.Part.Format.ByteLength(k);
        }

        /// <summary>
        /// Asks for a share of the next tile, whose rows lie one after the other, at eight places at once: one core got 9.4 GB/s in that way, 8.3 with one
        /// place, 6.7 without asking (rows of 1296 bytes on an Ice Lake server). At 5184 bytes walking row by row was as good (9.9 against 9.4).
        /// </summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void ReadAhead(byte* next, long bytes, long done, long count, long all)
        {
            if (Sse.IsSupported)
            {
                long stream = bytes / 8, end = stream * (done + count) / all;
                for (long offset = stream * done / all; offset < end; offset += 64)
                {
                    for (byte* place = next + offset; place < next + bytes; place += stream)
                    {
                        Sse.Prefetch1(place);
                    }
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void Multiply(in PartPlan plan, int tile, int k, int columns, byte* scratch, int index, int worker)
        {
            Row(plan, tile, k, out int row);
            byte* slot = scratch + index * SlotBytes;
            int overlap = tile * TileFormat.Rows - row;
            float* target = output.Data + plan.Part.FirstRow + row;
            TileArgs args = new()
            {
                Weights = slot,
                Scales = (float*)(slot + ByteTileBytes),
                OutputStride = (long)output.Columns * sizeof(float),
                Accumulate = k == 0 ? 0 : 1,
            };
            bool apart = overlap > 0 || rows > FewRows;
            if (apart)
            {
                // Another worker may be adding up the rows that both tiles hold. And output rows of a batch lie so far apart (often whole pages) that
                // going on with their sums at every step of columns should miss the translation buffers; whether it costs was not settled by measurement.
                args.OutputStride = TileFormat.Rows * sizeof(float);
                target = (float*)owner._sums[worker].Reserve(tilesPerTask * rows * args.OutputStride) + (long)index * rows * TileFormat.Rows;
            }

            if (plan.ByteTile)
            {
                MultiplyBytes(plan, k, columns, target, ref args);
            }
            else if (!owner.Expands(plan))
            {
                MultiplyFloats(plan, k, columns, target, ref args);
            }
            else
            {
                for (int done = 0; done < columns; done += FloatColumns)
                {
                    int count = Math.Min(FloatColumns, columns - done);
                    args.Weights = slot + ByteTileBytes + ScaleBytes;
                    Expand(plan.Format, slot + done * TileFormat.Rows, (float*)(slot + ByteTileBytes) + done / plan.Format.Group * plan.Format.ScaleStride, count, (float*)args.Weights);
                    MultiplyFloats(plan, k + done, count, target, ref args);
                    args.Accumulate = 1;
                }
            }

            if (apart && k + columns == x.Columns)
            {
                for (int r = 0; r < rows; r++)
                {
                    new Span<float>(target + r * TileFormat.Rows + overlap, TileFormat.Rows - overlap).CopyTo(output.Row(r)[(plan.Part.FirstRow + row + overlap)..]);
                }
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void MultiplyBytes(in PartPlan plan, int k, int columns, float* target, ref TileArgs args)
        {
            int panel = PanelRows(rows, owner.Kernels.BytePanel), group = plan.Format.Group;
            args.Steps = columns / 32;
            fixed (TileArgs* pinned = &args)
            {
                for (int first = 0; first < rows; first += panel)
                {
                    int count = Math.Min(panel, rows - first);
                    pinned->Activations = owner._bytes.Data + (long)rows * k + (long)first * columns;
                    pinned->ActivationScales = (float*)owner._scales.Data + (long)rows * (k / 32) + (long)first * (columns / 32);
                    pinned->ZeroPointTerms = (int*)plan.ZeroPointTerms + (long)rows * (k / group) + (long)first * (columns / group);
                    pinned->Output = target + first * (args.OutputStride / sizeof(float));
                    owner.Kernels.Bytes(pinned, count, plan.Format);
                }
            }
        }

        /// <summary>Floats, or pairs of bfloat16, which lie as the floats of half as many columns would.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private void MultiplyFloats(in PartPlan plan, int k, int columns, float* target, ref TileArgs args)
        {
            int panel = PanelRows(rows, owner.Kernels.FloatPanel);
            bool bfloat16 = plan.Format.IsBFloat16;
            byte* activations = owner.Dwords(plan, x, rows) + (long)rows * k * plan.ActivationBytes;
            args.Steps = bfloat16 ? columns / 2 : columns;
            args.WeightStride = TileFormat.Rows;
            args.ActivationStride = 1;
            fixed (TileArgs* pinned = &args)
            {
                for (int first = 0; first < rows; first += panel)
                {
                    int count = Math.Min(panel, rows - first);
                    pinned->Activations = activations + (long)first * columns * plan.ActivationBytes;
                    pinned->ActivationStep = count;
                    pinned->Output = target + first * (args.OutputStride / sizeof(float));
                    if (bfloat16)
                    {
                        owner.Kernels.BFloat16Panels(pinned, count);
                    }
                    else
                    {
                        owner.Kernels.FloatPanels(pinned, count);
                    }
                }
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

    private MatMulKernels Kernels => kernels;

    private int Workers => workers.Count;

    /// <summary>Activations of four bytes each, or of two pairs. A single row of floats is used where it lies.</summary>
    private byte* Dwords(in PartPlan plan, CpuMatrix x, int rows) => plan.Format.IsBFloat16 ? _bfloat16.Data : rows == 1 ? (byte*)x.Data : _floats.Data;

    private bool Expands(in PartPlan plan) => !plan.ByteTile && !plan.Format.IsFloat;
}
