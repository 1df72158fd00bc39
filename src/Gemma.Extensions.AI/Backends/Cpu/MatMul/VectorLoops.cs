using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Loops beside the products that a tier brings along, since a program that was compiled ahead of time for old processors runs them in C# two to four times as slow. Their results are those of the C#, bit for bit.
/// </summary>
internal abstract unsafe class VectorLoops : IDisposable
{
    /// <summary>output = gelu(gate)·up, as <see cref="VectorMath.Gelu"/>.</summary>
    /// <param name="gate">The gate.</param>
    /// <param name="up">The other factor.</param>
    /// <param name="output">Receives the product.</param>
    /// <param name="count">Numbers, a multiple of 16.</param>
    public abstract void GeGlu(float* gate, float* up, float* output, int count);

    /// <summary>Turns 32 scores within a cap into weights e^score.</summary>
    public abstract void Weigh(WeighArgs* args);

    /// <summary>Rounds blocks of 32 numbers to signed bytes.</summary>
    /// <param name="args">Where they are and where they go.</param>
    /// <param name="sixteens">True to store 16 by 16, false four by four.</param>
    public abstract void Quantise(QuantiseArgs* args, bool sixteens);

    public abstract void Dispose();
}

/// <summary>Arguments of <see cref="VectorLoops.Weigh"/>. The assembled loops depend on the offsets of the fields.</summary>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct WeighArgs
{
    public const int ScoresAt = 0, TotalsAt = 8, DistanceAt = 16, WindowAt = 20, CapAt = 24;

    /// <summary>32 scores, which become weights.</summary>
    [FieldOffset(ScoresAt)]
    public float* Scores;

    /// <summary>Receives 16 sums of two weights each.</summary>
    [FieldOffset(TotalsAt)]
    public float* Totals;

    /// <summary>Positions from the first key to the query; weights of keys behind the query or a window before it are zero.</summary>
    [FieldOffset(DistanceAt)]
    public int Distance;

    [FieldOffset(WindowAt)]
    public int Window;

    [FieldOffset(CapAt)]
    public float Cap;
}

/// <summary>Arguments of <see cref="VectorLoops.Quantise"/>. The assembled loops depend on the offsets of the fields.</summary>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct QuantiseArgs
{
    public const int SourceAt = 0, TargetAt = 8, ScalesAt = 16, SumsAt = 24, BlocksAt = 32, RowsAt = 40;

    /// <summary>32 numbers a block.</summary>
    [FieldOffset(SourceAt)]
    public float* Source;

    /// <summary>Receives the bytes, between those of the other rows.</summary>
    [FieldOffset(TargetAt)]
    public int* Target;

    /// <summary>Receives a scale for each block, between those of the other rows.</summary>
    [FieldOffset(ScalesAt)]
    public float* Scales;

    /// <summary>Receives the sums of each block's halves.</summary>
    [FieldOffset(SumsAt)]
    public int* Sums;

    [FieldOffset(BlocksAt)]
    public long Blocks;

    /// <summary>Rows of the panel.</summary>
    [FieldOffset(RowsAt)]
    public long Rows;
}
