using Gemma.Extensions.AI.Backends.Cpu.Attention;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// The contract of a tier: its micro-kernels. All of them compute an output in the same order, whatever the panel: for each group of columns, the exact integer
/// sum of products, then sum = fma(integer sum, weight scale · activation scale, sum), then sum = fma(-minimum, activation sum, sum). So a
/// row's result depends neither on the rows that it is batched with nor on the tier. Floats: sum = fma(weight, activation, sum) for each column in turn.
/// Pairs of bfloat16: one <c>vdpbf16ps</c> for each two columns in turn, whatever the processor makes of it, so that there, too, a row does not depend on its batch.
/// </summary>
internal abstract unsafe class MatMulKernels : IDisposable
{
    /// <summary>Tile formats by tensor type, never of bfloat16 pairs. Keys and values have them, too.</summary>
    public abstract TileFormats Formats { get; }

    /// <summary>The tile format of weights; null if the type has none and goes row by row.</summary>
    public virtual TileFormat? WeightFormat(TensorType type) => Formats.Find(type);

    /// <summary>How GEMM wants the activations that meet weights of a format.</summary>
    public abstract ActivationLayout GemmLayout(TileFormat format);

    /// <summary>Most activation rows of a panel.</summary>
    public abstract int MaxPanel(ActivationLayout layout);

    /// <summary>Multiplies a tile with a panel. A tier without int8 kernels is given int8 tiles as float32.</summary>
    public abstract void Gemm(ActivationLayout layout, TileArgs* args, int panel, TileFormat format);

    /// <summary>A float32 tile with any number of activation rows, any strides (attention).</summary>
    public abstract void GemmFloat32(TileArgs* args, int rows);

    /// <summary>Whether <see cref="Gemv"/> takes this many activation rows of a format; elsewhere tiles serve them. Called before it, by one thread.</summary>
    public virtual bool CanGemv(TileFormat format, int rows) => false;

    /// <summary>A few activation rows past the tiles.</summary>
    public virtual void Gemv(TileFormat format, GemvArgs* args) => throw new NotSupportedException("This tier has no kernels for a few rows.");

    /// <summary>Why faster kernels had to be given up; null if they were not.</summary>
    public virtual string? FallbackReason => null;

    /// <summary>Attention of one row over float16 keys and values; <see cref="BFloat16Kv"/> over bfloat16.</summary>
    public abstract KvKernels Float16Kv { get; }

    public abstract KvKernels BFloat16Kv { get; }

    public virtual void Dispose()
    {
    }
}
