using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>Arguments of a GEMV kernel: P activation rows and <see cref="WeightRows"/> weight rows, over all columns. The assembled kernels depend on the offsets of the fields.</summary>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct GemvArgs
{
    /// <summary>Weight rows of a call.</summary>
    public const int WeightRows = 16;

    /// <summary>Most activation rows of a call: of the 32 registers each takes an accumulator, the other half is for weights. Its sum is kept in memory.</summary>
    public const int MaxActivationRows = 16;

    /// <summary>Most activation rows whose sums are kept in registers beside their accumulators.</summary>
    public const int MaxRegisterRows = MaxActivationRows / 2;

    /// <summary>Sums that do not fit into registers, at this offset of <see cref="Scratch"/>.</summary>
    public const int SumsAt = 4096;

    public const int ScratchBytes = SumsAt + MaxActivationRows * WeightRows * sizeof(float);

    public const int ActivationsAt = 0, ActivationScalesAt = 8, ZeroPointTermsAt = 16, OutputAt = 24, AheadAt = 32, StreamAt = 40, WeightsAt = 48, WeightStrideAt = 56, BlocksAt = 64, ScratchAt = 72, TablesAt = 88;

    /// <summary>Signed bytes a[column/16][P][16], or for a format of floats a[column][P], for one of pairs a[column/2][P][2].</summary>
    [FieldOffset(ActivationsAt)]
    public byte* Activations;

    /// <summary>Scale of 32 activations: [column/32][P].</summary>
    [FieldOffset(ActivationScalesAt)]
    public float* ActivationScales;

    /// <summary>As <see cref="TileArgs.ZeroPointTerms"/>.</summary>
    [FieldOffset(ZeroPointTermsAt)]
    public void* ZeroPointTerms;

    /// <summary>Receives the sums: [P][<see cref="WeightRows"/>].</summary>
    [FieldOffset(OutputAt)]
    public float* Output;

    /// <summary>The data to prefetch meanwhile: four streams (or as many as an assembled kernel has), <see cref="Stream"/> bytes apart. Never read: it may lie behind the end of the weights.</summary>
    [FieldOffset(AheadAt)]
    public byte* Ahead;

    [FieldOffset(StreamAt)]
    public long Stream;

    /// <summary>First weight row, and the bytes from one row to the next.</summary>
    [FieldOffset(WeightsAt)]
    public byte* Weights;

    [FieldOffset(WeightStrideAt)]
    public long WeightStride;

    /// <summary>Iterations of an assembled kernel's outer loop; set by its caller.</summary>
    [FieldOffset(BlocksAt)]
    public long Blocks;

    /// <summary><see cref="ScratchBytes"/> at a multiple of 64.</summary>
    [FieldOffset(ScratchAt)]
    public byte* Scratch;

    /// <summary>P.</summary>
    [FieldOffset(80)]
    public int Count;

    [FieldOffset(84)]
    public int Columns;

    /// <summary>Lookup tables of an assembled kernel of a codebook format; set by its caller.</summary>
    [FieldOffset(TablesAt)]
    public byte* Tables;

    /// <summary>Bytes of a weight row, whether or not it lies in one piece.</summary>
    [FieldOffset(96)]
    public long RowBytes;
}
