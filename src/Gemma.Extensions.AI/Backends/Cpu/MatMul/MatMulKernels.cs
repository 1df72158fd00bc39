using Gemma.Extensions.AI.Backends.Cpu.Attention;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// The inner loops of one tier. All of them compute an output in the same order, whatever the panel: for each group of columns, the exact integer
/// sum of products, then sum = fma(integer sum, weight scale · activation scale, sum), then sum = fma(-minimum, activation sum, sum). So a
/// row's result depends neither on the rows that it is batched with nor on the tier. Floats: sum = fma(weight, activation, sum) for each column in turn.
/// Pairs of bfloat16: one <c>vdpbf16ps</c> for each two columns in turn, whatever the processor makes of it, so that there, too, a row does not depend on its batch.
/// </summary>
internal abstract unsafe class MatMulKernels : IDisposable
{
    /// <summary>Tile formats by tensor type, never pairs. Keys and values have them, too.</summary>
    public abstract TileFormat[] Formats { get; }

    /// <summary>The tile format of weights.</summary>
    public virtual TileFormat WeightFormat(TensorType type) => Formats[(int)type];

    /// <summary>Whether there are no integer kernels: byte tiles are turned into float tiles.</summary>
    public virtual bool FloatOnly => false;

    /// <summary>Most activation rows of a panel of bytes.</summary>
    public abstract int BytePanel { get; }

    /// <summary>What this tier had to do without; null if nothing.</summary>
    public virtual string? FallbackReason => null;

    public abstract void Bytes(TileArgs* args, int panel, TileFormat format);

    /// <summary>Most activation rows of a panel of floats.</summary>
    public virtual int FloatPanel => 4;

    /// <summary>Floats of a panel a[column][panel] with a tile w[column][32].</summary>
    public virtual void FloatPanels(TileArgs* args, int panel) => Floats(args, panel);

    /// <summary>Pairs of a panel a[column/2][panel][2] with a tile of pairs; of tiers with such tiles. Panels are as long as those of floats.</summary>
    public virtual void BFloat16Panels(TileArgs* args, int panel) => throw new NotSupportedException("This tier has no kernels for pairs of bfloat16.");

    /// <summary>Any number of activation rows, any strides.</summary>
    public abstract void Floats(TileArgs* args, int rows);

    /// <summary>Whether <see cref="Gemv"/> takes this many activation rows of a type; elsewhere tiles serve them. Called before it, by one thread.</summary>
    public virtual bool CanGemv(TensorType type, int rows) => false;

    /// <summary>A few activation rows past the tiles (<see cref="GemvKernels"/>).</summary>
    public virtual void Gemv(TensorType type, GemvArgs* args) => throw new NotSupportedException("This tier has no kernels for a few rows.");

    /// <summary>Attention of one row over float16 keys and values; <see cref="BFloat16Kv"/> over bfloat16.</summary>
    public abstract KvKernels Float16Kv { get; }

    public abstract KvKernels BFloat16Kv { get; }

    public virtual void Dispose()
    {
    }
}
