using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Matrix products of one tier: chooses a path for each part of the weights, packs the activations, and shares out the weight rows among the workers. Many
/// rows go through <see cref="TiledGemm"/>, a few through <see cref="Gemv"/>, with bit-identical results.
/// </summary>
internal sealed unsafe class TiledMatMul(WorkerPool workers, MatMulKernels kernels) : IDisposable
{
    private const int MaxParts = 64;

    private readonly ActivationPacker _packer = new(workers, kernels.Loops);
    private readonly NativeBuffer[] _scratch = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];
    private readonly NativeBuffer[] _sums = [.. Enumerable.Range(0, workers.Count).Select(_ => new NativeBuffer())];
    private readonly TaskRanges _ranges = new(workers.Count);

    // The product before this one. The order of products is the same in each forward pass.
    private CpuWeights? _last;

    /// <summary>True if the tier's kernels read interleaved rows of a type, of one activation row, too.</summary>
    public bool CanInterleave(TensorType type, int columns) =>
        kernels.WeightFormat(type) is { } format && columns % format.BlockElements == 0 && columns % format.GemvColumns == 0 && kernels.CanInterleave(format) && kernels.CanGemv(format, 1, interleaved: true);

    /// <summary>Stacks tensors and plans their products.</summary>
    public CpuWeights Load(WeightPart[] parts, int rows, int columns)
    {
        if (parts.Length > MaxParts)
        {
            throw new NotSupportedException($"{parts.Length} stacked tensors; {MaxParts} are supported.");
        }

        return new CpuWeights(parts, rows, columns) { Plan = new MatMulPlan(kernels, parts, columns) };
    }

    public void Run(CpuMatrix x, CpuWeights weights, CpuMatrix output, int rows, int promptRows = 0)
    {
        if (weights.Plan is not { } plan || plan.Kernels != kernels)
        {
            throw new ArgumentException("The weights were loaded by another backend, whose activations may be packed in another way.", nameof(weights));
        }

        if (rows == 0)
        {
            return;
        }

        // Both kinds of rows are multiplied past the same weights, task by task: what comes from memory for the one is in cache for the other.
        int matrixRows = kernels.Matrix is null ? 0 : promptRows, otherRows = rows - matrixRows;
        int panel = 0;
        ulong gemvParts = otherRows > 0 ? GemvParts(plan, otherRows, out panel) : 0;

        // Several rows are packed for one path or the other; a single row looks the same in both layouts.
        bool gemv = gemvParts != 0 || otherRows == 1;
        if (otherRows > 0)
        {
            Pack(x, otherRows, plan, gemv ? panel : 0);
        }

        if (matrixRows > 0)
        {
            _packer.PackMatrix(x, otherRows, matrixRows);
        }

        bool inRanges = gemv && matrixRows == 0;
        int tilesPerTask = inRanges ? BlockSizes.GemvTiles : matrixRows > 0 ? BlockSizes.MatrixTilesFor(weights.Rows, workers.Count) : BlockSizes.TilesFor(weights.Rows, workers.Count);
        int tasks = 0;
        foreach (ref readonly PartPlan part in plan.Parts.AsSpan())
        {
            tasks += part.Tasks(tilesPerTask);
        }

        if (inRanges)
        {
            _ranges.Reset(tasks);
        }

        // Only a hint: a stale one prefetches in vain.
        _last?.Next = weights;
        _last = weights;
        ProductWork work = new(
            new MatMulCall(x, output, otherRows, kernels, _packer, _scratch, _sums, tilesPerTask, panel, weights.Next, inRanges ? _ranges : null),
            new MatrixCall(x, output, otherRows, matrixRows, kernels.Matrix, _packer.Data(ActivationLayout.BFloat16Matrix, x, matrixRows), _scratch, _sums, tilesPerTask),
            plan.Parts, gemvParts);
        workers.Run(ref work, inRanges ? Math.Min(tasks, workers.Count) : tasks);
    }

    public void Dispose()
    {
        _packer.Dispose();
        foreach (NativeBuffer buffer in (NativeBuffer[])[.. _scratch, .. _sums])
        {
            buffer.Dispose();
        }
    }

    /// <summary>Bit mask of the parts multiplied by GEMV: for one row every part with a kernel, for several rows all parts or none.</summary>
    /// <param name="plan">The plan.</param>
    /// <param name="rows">Activation rows.</param>
    /// <param name="panel">Rows that weights are unpacked for at once: as many as all parts have kernels for.</param>
    private ulong GemvParts(MatMulPlan plan, int rows, out int panel)
    {
        panel = 1;
        if (rows > BlockSizes.MaxGemvRows)
        {
            return 0;
        }

        panel = BlockSizes.PanelRows(rows, GemvArgs.MaxActivationRows);
        ulong parts = GemvParts(plan, rows, panel);
        if (parts == 0 && panel > GemvArgs.MaxRegisterRows)
        {
            panel = BlockSizes.PanelRows(rows, GemvArgs.MaxRegisterRows);
            parts = GemvParts(plan, rows, panel);
        }

        return parts;
    }

    private ulong GemvParts(MatMulPlan plan, int rows, int panel)
    {
        ulong parts = 0;
        int last = (rows - 1) % panel + 1;
        for (int i = 0; i < plan.Parts.Length; i++)
        {
            ref readonly PartPlan part = ref plan.Parts[i];
            if (part.Path == MatMulPath.Gemv && kernels.CanGemv(part.Format, panel, part.Part.IsInterleaved) && kernels.CanGemv(part.Format, last, part.Part.IsInterleaved))
            {
                parts |= 1UL << i;
            }
            else if (rows > 1)
            {
                return 0;
            }
        }

        return parts;
    }

    private void Pack(CpuMatrix x, int rows, MatMulPlan plan, int gemvPanel)
    {
        foreach (ActivationLayout layout in plan.Layouts)
        {
            if (gemvPanel > 0)
            {
                _packer.Pack(x, rows, layout.ForGemv(), gemvPanel, x.Columns, plan.ZeroPointTerms);
            }
            else
            {
                _packer.Pack(x, rows, layout, BlockSizes.PanelRows(rows, kernels.MaxPanel(layout)), BlockSizes.Step(layout, rows, x.Columns), plan.ZeroPointTerms);
            }
        }
    }

    private readonly struct ProductWork(MatMulCall call, MatrixCall matrix, PartPlan[] parts, ulong gemvParts) : IParallelWork
    {
        private readonly MatMulCall _call = call;
        private readonly MatrixCall _matrix = matrix;

        /// <summary>A task, or with ranges all that a worker gets of them.</summary>
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        public void Run(int part, int worker)
        {
            if (_call.Ranges is not { } ranges)
            {
                Tasks(part, part + 1, worker, after: null);
                return;
            }

            while (ranges.TryTake(worker, out int first, out int end))
            {
                Tasks(first, end, worker, ranges.IsFollowed(end, worker) ? Start(parts, end, _call.TilesPerTask) : NextProduct(worker));
            }
        }

        /// <summary>Tasks one after the other, in one part or several.</summary>
        private void Tasks(int first, int end, int worker, byte* after)
        {
            for (int index = 0; first < end; index++)
            {
                ref readonly PartPlan part = ref parts[index];
                int tasks = part.Tasks(_call.TilesPerTask), last = Math.Min(end, tasks);
                if (first < last)
                {
                    Tiles(part, index, first * _call.TilesPerTask, Math.Min(part.Tiles, last * _call.TilesPerTask), worker, end > tasks ? Start(parts.AsSpan(index + 1), 0, 1) : after);
                }

                (first, end) = (Math.Max(0, first - tasks), end - tasks);
            }
        }

        private void Tiles(in PartPlan part, int index, int first, int last, int worker, byte* after)
        {
            if (part.Path == MatMulPath.RowFallback)
            {
                RowFallback.Run(_call, part, first, last, worker, _call.Rows + _matrix.Rows);
                return;
            }

            if ((gemvParts >> index & 1) != 0)
            {
                Gemv.Run(_call, part, first, last, worker, after);
            }
            else if (_call.Rows > 0)
            {
                for (int tile = first; tile < last; tile += _call.TilesPerTask)
                {
                    TiledGemm.Run(_call, part, tile, Math.Min(last, tile + _call.TilesPerTask), worker);
                }
            }

            if (_matrix.Rows > 0)
            {
                MatrixGemm.Run(_matrix, part, first, last, worker);
            }
        }

        /// <summary>Where the worker's range of the next product's weights begins.</summary>
        private byte* NextProduct(int worker)
        {
            if (_call.Next?.Plan is not { } plan)
            {
                return null;
            }

            int tasks = 0;
            foreach (ref readonly PartPlan part in plan.Parts.AsSpan())
            {
                tasks += part.Tasks(BlockSizes.GemvTiles);
            }

            return Start(plan.Parts, _call.Ranges!.First(worker, tasks), BlockSizes.GemvTiles);
        }

        private static byte* Start(ReadOnlySpan<PartPlan> parts, int task, int tilesPerTask)
        {
            foreach (ref readonly PartPlan part in parts)
            {
                int tasks = part.Tasks(tilesPerTask);
                if (task < tasks)
                {
                    return part.Part.Data + (long)task * tilesPerTask * Formats.TileFormat.Rows * part.Part.RowBytes;
                }

                task -= tasks;
            }

            return null;
        }
    }
}

/// <summary>The arguments that all tasks of one product share.</summary>
/// <param name="x">Activations.</param>
/// <param name="output">Receives the products.</param>
/// <param name="rows">Activation rows.</param>
/// <param name="kernels">The tier's kernels.</param>
/// <param name="packed">The activations, packed.</param>
/// <param name="scratch">Memory of each worker for tiles.</param>
/// <param name="sums">Memory of each worker for sums that are not added up in the output.</param>
/// <param name="tilesPerTask">Tiles of 32 weight rows that a task takes.</param>
/// <param name="gemvPanel">Activation rows that GEMV takes at once.</param>
/// <param name="next">The weights that are probably multiplied next.</param>
/// <param name="ranges">Which worker takes which task; null where workers take them in order.</param>
internal readonly struct MatMulCall(
    CpuMatrix x, CpuMatrix output, int rows, MatMulKernels kernels, ActivationPacker packed, NativeBuffer[] scratch, NativeBuffer[] sums, int tilesPerTask,
    int gemvPanel, CpuWeights? next, TaskRanges? ranges)
{
    public readonly CpuMatrix X = x, Output = output;
    public readonly int Rows = rows, TilesPerTask = tilesPerTask, GemvPanel = gemvPanel;
    public readonly CpuWeights? Next = next;
    public readonly TaskRanges? Ranges = ranges;
    public readonly MatMulKernels Kernels = kernels;
    public readonly ActivationPacker Packed = packed;
    public readonly NativeBuffer[] Scratch = scratch, Sums = sums;
}
