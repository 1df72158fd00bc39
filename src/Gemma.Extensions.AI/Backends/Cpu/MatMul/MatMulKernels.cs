using Gemma.Extensions.AI.Backends.Cpu.Attention;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// The contract of a tier: its micro-kernels. All of them add up an output in the same order, whatever the panel. Int8, for each group of columns: the exact integer
/// sum of products, then sum = fma(integer sum, weight scale · activation scale, sum), then sum = fma(-minimum, activation sum, sum). So a
/// row's result depends neither on its batch nor on the tier. Float32: sum = fma(weight, activation, sum) for each column in turn.
/// Where a program was compiled ahead of time without fused multiply-add, code in C# rounds the product first: the exact result would take a call of a function for each number.
/// bfloat16: one <c>vdpbf16ps</c> for each pair of columns in turn, with the rounding of the processor, so a row does not depend on its batch there either.
/// </summary>
internal abstract unsafe class MatMulKernels : IDisposable
{
    /// <summary>Tile formats by tensor type, bfloat16 as float32. Attention unpacks keys and values with them, too.</summary>
    public abstract TileFormats Formats { get; }

    /// <summary>Kernels for the rows of prompts; null where all rows are multiplied alike.</summary>
    public virtual MatrixKernels? Matrix => null;

    /// <summary>Loops beside the products; null where C# runs them.</summary>
    public virtual VectorLoops? Loops => null;

    /// <summary>Why the tier runs slower kernels than its name says; null if it does not.</summary>
    public virtual string? FallbackReason => null;

    /// <summary>False where one row's attention is faster by tiles, too: in C# that was compiled without instructions for it.</summary>
    public virtual bool UsesKvAsStored => true;

    /// <summary>Attention of one row over float16 keys and values; <see cref="BFloat16Kv"/> over bfloat16.</summary>
    public abstract KvKernels Float16Kv { get; }

    public abstract KvKernels BFloat16Kv { get; }

    /// <summary>The tile format of a weight type; null if it has none and is multiplied row by row.</summary>
    public virtual TileFormat? WeightFormat(TensorType type) => Formats.Find(type);

    /// <summary>The activation layout that GEMM takes for weights of a format.</summary>
    public abstract ActivationLayout GemmLayout(TileFormat format);

    /// <summary>Maximum activation rows of a panel.</summary>
    public abstract int MaxPanel(ActivationLayout layout);

    /// <summary>Multiplies a tile by a panel. A tier without int8 kernels gets int8 tiles converted to float32.</summary>
    public abstract void Gemm(ActivationLayout layout, TileArgs* args, int panel, TileFormat format);

    /// <summary>A float32 tile with any number of activation rows, any strides (attention).</summary>
    public abstract void GemmFloat32(TileArgs* args, int rows);

    /// <summary>True if <see cref="Gemv"/> has a kernel for this many activation rows of a format; if not, they go through GEMM. Called first, by one thread: kernels may be assembled here.</summary>
    public virtual bool CanGemv(TileFormat format, int rows, bool interleaved = false) => false;

    /// <summary>True if the tier unpacks interleaved rows of a format (<see cref="InterleavedRows"/>). Called first, by one thread: kernels may be assembled here.</summary>
    public virtual bool CanInterleave(TileFormat format) => false;

    /// <summary>Multiplies 16 weight rows by a few activation rows without unpacking them to memory.</summary>
    public virtual void Gemv(TileFormat format, GemvArgs* args) => throw new NotSupportedException("This tier has no GEMV kernels.");

    public virtual void Dispose()
    {
    }
}
