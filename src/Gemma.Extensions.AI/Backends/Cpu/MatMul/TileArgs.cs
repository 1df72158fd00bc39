using System.Runtime.InteropServices;
using Gemma.Extensions.AI.Backends.Cpu.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Arguments of a GEMM micro-kernel: a tile of <see cref="TileFormat.Rows"/> weight rows and a panel of P activation rows, over a run of columns.
/// The assembled kernels depend on the order of the fields.
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
    /// [group][P], see <see cref="MatMul.ZeroPointTerms"/>: the initial value of the integer sum, as int32; for a format with minima, the sum of the
    /// group's activations, as float32.
    /// </summary>
    public void* ZeroPointTerms;

    public float* Output;

    /// <summary>Bytes from an output row to the next.</summary>
    public long OutputStride;

    /// <summary>Byte tiles: blocks of 32 columns. Float tiles: columns. Tiles of pairs: pairs of columns.</summary>
    public long Steps;

    /// <summary>0: the output is overwritten; 1: the sums are added to it.</summary>
    public long Accumulate;

    /// <summary>Float tiles: floats from a column of the tile to the next, and from an activation row to the next.</summary>
    public long WeightStride;
    public long ActivationStride;

    /// <summary>Float tiles: floats from an activation to the next column's.</summary>
    public long ActivationStep;
}
