using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>The operations that kernel tiers implement. Arguments were checked by <see cref="CpuBackend"/>.</summary>
internal abstract class CpuKernels(WorkerPool workers) : IDisposable
{
    protected WorkerPool Workers { get; } = workers;

    /// <summary>Why the tier runs slower kernels than its name says; null if it does not.</summary>
    public virtual string? FallbackReason => null;

    /// <inheritdoc cref="Backend.HasPromptKernels"/>
    public virtual bool HasPromptKernels => false;

    /// <summary>Stacks tensors and plans their products: everything that depends on the weights alone.</summary>
    /// <summary>True if the tier multiplies interleaved rows of a type (<see cref="InterleavedRows"/>).</summary>
    public virtual bool CanInterleave(TensorType type, int columns) => false;

    public virtual CpuWeights LoadWeights(WeightPart[] parts, int rows, int columns) => new(parts, rows, columns);

    public abstract void RmsNorm(CpuMatrix x, CpuVector weight, float epsilon, CpuMatrix output, int rows);

    public abstract void AddRmsNorm(CpuMatrix residual, CpuMatrix branch, CpuVector weight, float epsilon, int rows);

    public abstract void MatMul(CpuMatrix x, CpuWeights weights, CpuMatrix output, int rows, int promptRows = 0);

    public abstract void AddLowRank(CpuMatrix x, CpuLowRank weights, CpuMatrix output, ReadOnlySpan<int> rows, int promptRows = 0);

    public abstract void RopeAndStore(CpuMatrix qkv, in AttentionSpec layer, RopeTable rope, ForwardBatch batch);

    public abstract void Attention(CpuMatrix qkv, in AttentionSpec layer, ForwardBatch batch, CpuMatrix output);

    public abstract void GeGlu(CpuMatrix gateUp, CpuMatrix output, int rows);

    public abstract void Softcap(CpuMatrix x, float cap, int rows);

    public virtual void Dispose()
    {
    }
}
