using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>
/// What a tile kernel multiplies: a tile of <see cref="TileFormat.Rows"/> weight rows with a panel of P activation rows, over a run of columns.
/// The assembled kernels know the order of the fields.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TileArgs
{
    /// <summary>Bytes q[column/4][row][4], floats w[column][row], or pairs of bfloat16 w[column/2][row][2].</summary>
    public byte* Weights;

    /// <summary>scale[group][row], each followed by minimum[group][row] where the format has minima.</summary>
    public float* Scales;

    /// <summary>Signed bytes a[column/4][P][4], the floats of the first row, or pairs of bfloat16 a[column/2][P][2].</summary>
    public byte* Activations;

    /// <summary>Scale of 32 activations: [column/32][P].</summary>
    public float* ActivationScales;

    /// <summary>
    /// [group][P]: -Offset times the sum of the group's bytes as int32, with which the integer sum begins; where the format has minima, the sum of
    /// the group's activations as float32.
    /// </summary>
    public void* Terms;

    public float* Output;

    /// <summary>Bytes from an output row to the next.</summary>
    public long OutputStride;

    /// <summary>Byte tiles: blocks of 32 columns. Float tiles: columns. Tiles of pairs: pairs of columns.</summary>
    public long Steps;

    /// <summary>0: the output is overwritten; 1: the sums go on from what stands there.</summary>
    public long Accumulate;

    /// <summary>Float tiles: floats from a column of the tile to the next, and from an activation row to the next.</summary>
    public long WeightStride;
    public long ActivationStride;

    /// <summary>Float tiles: floats from an activation to that of the next column.</summary>
    public long ActivationStep;
}

/// <summary>
/// The inner loops of one tier. All of them compute an output in the same order, whatever the panel: for each group of columns, the exact integer
/// sum of products, then sum = fma(integer sum, weight scale · activation scale, sum), then sum = fma(-minimum, activation sum, sum). So a
/// row's result depends neither on the rows that it is batched with nor on the tier. Floats: sum = fma(weight, activation, sum) for each column in turn.
/// Pairs of bfloat16: one <c>vdpbf16ps</c> for each two columns in turn, whatever the processor makes of it, so that there, too, a row does not depend on its batch.
/// </summary>
internal abstract unsafe class TileKernels : IDisposable
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
    public virtual string? Note => null;

    public abstract void Bytes(TileArgs* args, int panel, TileFormat format);

    /// <summary>Most activation rows of a panel of floats.</summary>
    public virtual int FloatPanel => 4;

    /// <summary>Floats of a panel a[column][panel] with a tile w[column][32].</summary>
    public virtual void FloatPanels(TileArgs* args, int panel) => Floats(args, panel);

    /// <summary>Pairs of a panel a[column/2][panel][2] with a tile of pairs; of tiers with such tiles. Panels are as long as those of floats.</summary>
    public virtual void PairPanels(TileArgs* args, int panel) => throw new NotSupportedException("This tier has no kernels for pairs of bfloat16.");

    /// <summary>Any number of activation rows, any strides.</summary>
    public abstract void Floats(TileArgs* args, int rows);

    /// <summary>Whether <see cref="DotRows"/> takes this many activation rows of a type; elsewhere tiles serve them. Called before it, by one thread.</summary>
    public virtual bool CanDotRows(TensorType type, int rows) => false;

    /// <summary>A few activation rows past the tiles (<see cref="RowDot"/>).</summary>
    public virtual void DotRows(TensorType type, RowDotArgs* args) => throw new NotSupportedException("This tier has no kernels for a few rows.");

    /// <summary>Attention of one row over float16 keys and values; <see cref="BFloatKv"/> over bfloat16.</summary>
    public abstract KvKernels HalfKv { get; }

    public abstract KvKernels BFloatKv { get; }

    public virtual void Dispose()
    {
    }
}
