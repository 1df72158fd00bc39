using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>
/// Products of bfloat16 by matrix registers, for the rows of prompts: what many rows have in common is worth unpacking weights of any format to bfloat16, whose rounding
/// (2^-9 of a weight) is smaller than that of activations in bytes. A sum goes through the columns in order, 32 at a time with the rounding of
/// <c>tdpbf16ps</c>, so a row's result does not depend on the rows beside it, on the sizes of blocks, or on who computes it.
/// </summary>
internal abstract unsafe class MatrixKernels : IDisposable
{
    /// <summary>Activation rows of a matrix register.</summary>
    public const int RegisterRows = 16;

    /// <summary>Most activation rows of a call: two registers.</summary>
    public const int MaxRows = 2 * RegisterRows;

    /// <summary>Columns of a step. Where there are fewer, both operands are filled up with zeros.</summary>
    public const int StepColumns = 32;

    /// <summary>Multiplies up to <see cref="MaxRows"/> activation rows by tiles of 32 weight rows side by side. Leaves nothing in the registers.</summary>
    public abstract void Multiply(MatrixArgs* args, int rows);

    /// <summary>Columns with those that fill up the last step.</summary>
    public static int Padded(int columns) => (columns + StepColumns - 1) & -StepColumns;

    /// <summary>Points the arguments at rows of packed activations, and at where their products go.</summary>
    /// <param name="args">Their <see cref="MatrixArgs.OutputStride"/> is set already.</param>
    /// <param name="packed">Activations in <see cref="ActivationLayout.BFloat16Matrix"/>.</param>
    /// <param name="paddedColumns">Columns of the packed activations.</param>
    /// <param name="firstRow">A multiple of <see cref="RegisterRows"/>.</param>
    /// <param name="rows">Rows of the call.</param>
    /// <param name="column">First column, a multiple of <see cref="StepColumns"/>.</param>
    /// <param name="output">First output row.</param>
    public static void SetRows(MatrixArgs* args, byte* packed, int paddedColumns, int firstRow, int rows, int column, float* output)
    {
        int first = Math.Min(RegisterRows, rows), second = rows - first;
        byte* panel = packed + sizeof(ushort) * (long)firstRow * paddedColumns;
        args->RowsStep = first * StepColumns * sizeof(ushort);
        args->NextRowsStep = second * StepColumns * sizeof(ushort);
        args->Rows = panel + column / StepColumns * args->RowsStep;
        args->NextRows = panel + sizeof(ushort) * (long)first * paddedColumns + column / StepColumns * args->NextRowsStep;
        args->Output = output;
        args->NextOutput = (float*)((byte*)output + first * args->OutputStride);
    }

    public virtual void Dispose()
    {
    }
}

/// <summary>Arguments of a product by matrix registers. The assembled kernels depend on the offsets of the fields.</summary>
[StructLayout(LayoutKind.Explicit)]
internal unsafe struct MatrixArgs
{
    public const int ConfigurationAt = 0, RowsAt = 8, NextRowsAt = 16, RowsStepAt = 24, NextRowsStepAt = 32, WeightsAt = 40, OutputAt = 48, NextOutputAt = 56, OutputStrideAt = 64, StepsAt = 72, TilesAt = 80, AccumulateAt = 88;

    /// <summary>64 bytes that say the shapes of the registers; set by the kernels.</summary>
    [FieldOffset(ConfigurationAt)]
    public byte* Configuration;

    /// <summary>The first 16 activation rows, or as many as there are: bfloat16 a[column/32][row][32].</summary>
    [FieldOffset(RowsAt)]
    public byte* Rows;

    /// <summary>The rows after them, in the same order.</summary>
    [FieldOffset(NextRowsAt)]
    public byte* NextRows;

    /// <summary>Bytes from 32 columns of <see cref="Rows"/> to the next.</summary>
    [FieldOffset(RowsStepAt)]
    public long RowsStep;

    /// <summary>Bytes from 32 columns of <see cref="NextRows"/> to the next.</summary>
    [FieldOffset(NextRowsStepAt)]
    public long NextRowsStep;

    /// <summary>Pairs of bfloat16 w[column/2][32][2], tile after tile.</summary>
    [FieldOffset(WeightsAt)]
    public byte* Weights;

    /// <summary>Products of the first rows: [row][<see cref="Tiles"/>·32].</summary>
    [FieldOffset(OutputAt)]
    public float* Output;

    /// <summary>Products of the rows after them.</summary>
    [FieldOffset(NextOutputAt)]
    public float* NextOutput;

    /// <summary>Bytes from an output row to the next.</summary>
    [FieldOffset(OutputStrideAt)]
    public long OutputStride;

    /// <summary>Steps of 32 columns.</summary>
    [FieldOffset(StepsAt)]
    public long Steps;

    /// <summary>Tiles of 32 weight rows.</summary>
    [FieldOffset(TilesAt)]
    public long Tiles;

    /// <summary>0: the output is overwritten; 1: the sums go on from what stands there.</summary>
    [FieldOffset(AccumulateAt)]
    public long Accumulate;
}
