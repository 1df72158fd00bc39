using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.MatMul;

/// <summary>Rounding of float32 to bfloat16, to nearest even, for matrix registers.</summary>
internal static unsafe class BFloat16Rows
{
    /// <summary>
    /// Packs a row among others of a register, <c>a[column/32][rows][32]</c>: 64 bytes of each step, <paramref name="rows"/> rows apart. Columns that fill up the last step are zero.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Pack(float* source, int columns, float factor, ushort* target, int rows)
    {
        int k = 0;
        for (; k + MatrixKernels.StepColumns <= columns; k += MatrixKernels.StepColumns, target += rows * MatrixKernels.StepColumns)
        {
            Vector512<uint> low = Round(Vector512.Load(source + k) * factor) >> 16, high = Round(Vector512.Load(source + k + 16) * factor) >> 16;
            Vector512.Narrow(low, high).Store(target);
        }

        if (k < columns)
        {
            for (int i = 0; i < MatrixKernels.StepColumns; i++)
            {
                target[i] = k + i < columns ? HalfBits.BFloat16FromSingle(source[k + i] * factor) : (ushort)0;
            }
        }
    }

    /// <summary>Pairs of two rows, [column][2], 16 columns at a time.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Pair(Vector512<float> first, Vector512<float> second) => (Round(first) >> 16) | (Round(second) & Vector512.Create(0xFFFF0000u));

    /// <summary>The rounded number in the upper half; NaN stays NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Round(Vector512<float> value)
    {
        Vector512<uint> bits = value.AsUInt32(), rounded = bits + Vector512.Create(0x7FFFu) + ((bits >> 16) & Vector512<uint>.One);
        return Vector512.ConditionalSelect(Vector512.Equals(value, value).AsUInt32(), rounded, bits | Vector512.Create(0x400000u));
    }
}
