using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>Runs the operations on the processor with the kernels of one tier. Quantised weights are used in place in the mapped file.</summary>
internal sealed unsafe class CpuBackend : Backend
{
    private readonly WorkerPool _workers;
    private readonly CpuKernels _kernels;
    private readonly List<RopeTable> _ropes = [];
    private readonly string? _reason;

    internal CpuBackend(KernelTier tier, int threads, string? insteadOfGpu = null)
    {
        _reason = ProcessorSupport.ReducedHere() is { } reduced ? insteadOfGpu is null ? reduced : $"{insteadOfGpu}; {reduced}" : insteadOfGpu;
        _workers = new WorkerPool(threads);
        _kernels = tier.Create(_workers);
        Name = _kernels.FallbackReason is { } reason ? $"cpu/{tier.Name} ({reason})" : $"cpu/{tier.Name}";
    }

    public override string Name { get; }

    public override int Threads => _workers.Count;

    public override string? FallbackReason => _reason is null || _kernels.FallbackReason is null ? _reason ?? _kernels.FallbackReason : $"{_reason}; {_kernels.FallbackReason}";

    public override Exception? Failure => null;

    public override bool HasPromptKernels => _kernels.HasPromptKernels;

    public override long KvBytes => MachineMemory.Read().LimitBytes / 4;

    /// <exception cref="ArgumentException">The kernel tier is unknown or cannot run here.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than one thread.</exception>
    public static CpuBackend Create(CpuBackendOptions? options = null)
    {
        options ??= new CpuBackendOptions();
        if (options.Threads is < 1 or > 1024)
        {
            throw new ArgumentOutOfRangeException(nameof(options), options.Threads, "The number of threads must be 1 to 1024, or null for the physical cores.");
        }

        KernelTier tier = KernelTier.Select(options.Kernel ?? Environment.GetEnvironmentVariable(CpuBackendOptions.KernelVariable));
        return new CpuBackend(tier, options.Threads ?? ProcessorTopology.PhysicalCores(), options.Reason);
    }

    public override MachineMemory ReadMemory() => MachineMemory.Read();

    public override Matrix CreateMatrix(int rows, int columns) => new CpuMatrix(rows, columns);

    public override WeightMatrix LoadWeights(params ReadOnlySpan<TensorView> parts)
    {
        WeightPart[] loaded = new WeightPart[parts.Length];
        int rows = 0;
        for (int i = 0; i < parts.Length; i++)
        {
            TensorView tensor = parts[i];
            if (tensor.Columns != parts[0].Columns)
            {
                throw new ArgumentException($"'{tensor.Name}' has {tensor.Columns:N0} columns, but it is stacked on '{parts[0].Name}' with {parts[0].Columns:N0}.");
            }

            loaded[i] = new WeightPart(tensor.Format, tensor.Data, rows, checked((int)tensor.Rows), checked((int)tensor.Columns), tensor.IsInterleaved);
            rows += loaded[i].Rows;
        }

        return _kernels.LoadWeights(loaded, rows, checked((int)parts[0].Columns));
    }

    public override bool CanInterleave(TensorView tensor) =>
        InterleavedRows.Has(tensor.Format.Type) && tensor.Rows % TileFormat.Rows == 0 && _kernels.CanInterleave(tensor.Format.Type, checked((int)tensor.Columns));

    public override WeightVector LoadVector(TensorView tensor, float add)
    {
        float[] values = new float[checked((int)tensor.ElementCount)];
        fixed (float* target = values)
        {
            tensor.Format.Decode(tensor.Data, target, values.Length);
        }

        for (int i = 0; i < values.Length; i++)
        {
            values[i] += add;
        }

        return new CpuVector(values);
    }

    public override LowRankMatrix LoadLowRank(int rows, int columns, params ReadOnlySpan<LowRankPart> parts)
    {
        LowRankPart.Check(parts, rows, columns);
        return new CpuLowRank(rows, columns, parts);
    }

    public override KvPool CreateKvPool(KvLayout layout, int blockCount)
    {
        layout.Check();
        return new CpuKvPool(layout, blockCount);
    }

    public override void Begin(ForwardBatch batch)
    {
    }

    public override void Wait()
    {
    }

    public override void Embed(WeightMatrix table, ReadOnlySpan<int> tokens, float scale, Matrix output)
    {
        CpuWeights weights = (CpuWeights)table;
        CheckColumns(output, weights.Columns);
        CheckRows(tokens.Length, output, output);
        for (int r = 0; r < tokens.Length; r++)
        {
            int token = tokens[r];
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)token, (uint)weights.Rows, nameof(tokens));
            ref readonly WeightPart part = ref weights.Parts[0];
            for (int i = 1; i < weights.Parts.Length && weights.Parts[i].FirstRow <= token; i++)
            {
                part = ref weights.Parts[i];
            }

            float* row = ((CpuMatrix)output).RowData(r);
            part.Decode(token - part.FirstRow, row, weights.Columns);
            VectorMath.Multiply(row, scale, row, weights.Columns);
        }
    }

    public override void RmsNorm(Matrix x, WeightVector weight, float epsilon, Matrix output, int rows)
    {
        CheckColumns(x, weight.Length);
        CheckColumns(output, weight.Length);
        CheckRows(rows, x, output);
        _kernels.RmsNorm((CpuMatrix)x, (CpuVector)weight, epsilon, (CpuMatrix)output, rows);
    }

    public override void AddRmsNorm(Matrix residual, Matrix branch, WeightVector weight, float epsilon, int rows)
    {
        CheckColumns(residual, weight.Length);
        CheckColumns(branch, weight.Length);
        CheckRows(rows, residual, branch);
        _kernels.AddRmsNorm((CpuMatrix)residual, (CpuMatrix)branch, (CpuVector)weight, epsilon, rows);
    }

    public override void MatMul(Matrix x, WeightMatrix weights, Matrix output, int rows, int promptRows = 0)
    {
        CheckColumns(x, weights.Columns);
        CheckColumns(output, weights.Rows);
        CheckRows(rows, x, output);
        CheckPromptRows(promptRows, rows);
        _kernels.MatMul((CpuMatrix)x, (CpuWeights)weights, (CpuMatrix)output, rows, promptRows);
    }

    public override void AddLowRank(Matrix x, LowRankMatrix weights, Matrix output, ReadOnlySpan<int> rows, int promptRows = 0)
    {
        CheckColumns(x, weights.Columns);
        CheckColumns(output, weights.Rows);
        foreach (int row in rows)
        {
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual((uint)row, (uint)Math.Min(x.Rows, output.Rows), nameof(rows));
        }

        CheckPromptRows(promptRows, rows.Length);
        _kernels.AddLowRank((CpuMatrix)x, (CpuLowRank)weights, (CpuMatrix)output, rows, promptRows);
    }

    public override void RopeAndStore(Matrix qkv, in AttentionSpec layer, ForwardBatch batch)
    {
        CheckColumns(qkv, (layer.Heads + 2 * layer.KvHeads) * layer.HeadDim);
        CheckRows(batch.Rows, qkv, qkv);
        RopeTable rope = Rope(layer);
        foreach (ref readonly BatchSlice slice in batch.ActiveSlices)
        {
            rope.Ensure(slice.StartPosition + slice.RowCount - 1);
        }

        _kernels.RopeAndStore((CpuMatrix)qkv, layer, rope, batch);
    }

    public override void Attention(Matrix qkv, in AttentionSpec layer, ForwardBatch batch, Matrix output)
    {
        CheckColumns(qkv, (layer.Heads + 2 * layer.KvHeads) * layer.HeadDim);
        CheckColumns(output, layer.Heads * layer.HeadDim);
        CheckRows(batch.Rows, qkv, output);
        _kernels.Attention((CpuMatrix)qkv, layer, batch, (CpuMatrix)output);
    }

    public override void GeGlu(Matrix gateUp, Matrix output, int rows)
    {
        CheckColumns(gateUp, 2 * output.Columns);
        CheckRows(rows, gateUp, output);
        _kernels.GeGlu((CpuMatrix)gateUp, (CpuMatrix)output, rows);
    }

    public override void SelectRows(Matrix x, ReadOnlySpan<int> rows, Matrix output)
    {
        CheckColumns(output, x.Columns);
        for (int i = 0; i < rows.Length; i++)
        {
            ((CpuMatrix)x).Row(rows[i]).CopyTo(((CpuMatrix)output).Row(i));
        }
    }

    public override void Softcap(Matrix x, float cap, int rows)
    {
        CheckRows(rows, x, x);
        _kernels.Softcap((CpuMatrix)x, cap, rows);
    }

    public override void Dispose()
    {
        _workers.Dispose();
        _kernels.Dispose();
        _ropes.ForEach(rope => rope.Dispose());
        _ropes.Clear();
    }

    private RopeTable Rope(in AttentionSpec layer)
    {
        foreach (RopeTable rope in _ropes)
        {
            if (rope.Base == layer.RopeBase && rope.Factor == layer.RopeFactor && rope.HeadDim == layer.HeadDim)
            {
                return rope;
            }
        }

        RopeTable created = new(layer.RopeBase, layer.RopeFactor, layer.HeadDim);
        _ropes.Add(created);
        return created;
    }

    // Kernels work on raw pointers: a wrong shape must be caught here.
    private static void CheckColumns(Matrix matrix, int expected)
    {
        if (matrix.Columns != expected)
        {
            throw new ArgumentException($"A matrix of {matrix.Rows:N0} x {matrix.Columns:N0} was given where {expected:N0} columns are needed.");
        }
    }

    private static void CheckPromptRows(int promptRows, int rows)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(promptRows);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(promptRows, rows);
    }

    private static void CheckRows(int rows, Matrix first, Matrix second)
    {
        if (rows < 0 || rows > first.Rows || rows > second.Rows)
        {
            throw new ArgumentOutOfRangeException(nameof(rows), rows, $"The matrices have {first.Rows:N0} and {second.Rows:N0} rows.");
        }
    }
}
