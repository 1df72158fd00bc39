using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Formats;

/// <summary>
/// Weight rows stored 16 by 16, column by column instead of row by row: every four bytes of a block, and every float16 scale that stands alone, beside those of the 15 other rows. They
/// take as many bytes, a block's piece at offset o lies at 16·o of the blocks of the 16 rows, and a vector of one piece of all rows is one load instead of sixteen and a transposition.
/// </summary>
internal static unsafe class InterleavedRows
{
    /// <summary>Rows that lie among each other.</summary>
    public const int Count = 16;

    /// <summary>The bytes from a row to the next as kernels are told them: interleaved rows have none.</summary>
    public const long Stride = 0;

    private const int Half = 2, Dword = 4;

    /// <summary>True for the formats that can be stored that way: whose kernels read nothing but whole dwords and scales.</summary>
    public static bool Has(TensorType type) => type is TensorType.Q4_0 or TensorType.Q8_0 or TensorType.Q4_K or TensorType.Q5_K or TensorType.Q6_K or TensorType.BF16;

    /// <summary>Stores rows that way, in place.</summary>
    /// <param name="format">Format of the rows, one that <see cref="Has"/> names.</param>
    /// <param name="rows">16 rows, one after the other.</param>
    /// <param name="rowBytes">Bytes of a row, a multiple of four where elements are plain numbers.</param>
    /// <param name="copy">As many bytes to work in.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Write(BlockFormat format, byte* rows, long rowBytes, byte* copy)
    {
        Buffer.MemoryCopy(rows, copy, Count * rowBytes, Count * rowBytes);
        for (long offset = 0; offset < rowBytes;)
        {
            byte* target = rows + Count * offset;
            if (IsHalf(format, offset))
            {
                for (int row = 0; row < Count; row++)
                {
                    ((ushort*)target)[row] = *(ushort*)(copy + row * rowBytes + offset);
                }

                offset += Half;
            }
            else
            {
                for (int row = 0; row < Count; row++)
                {
                    ((uint*)target)[row] = *(uint*)(copy + row * rowBytes + offset);
                }

                offset += Dword;
            }
        }
    }

    /// <summary>One row as it was before <see cref="Write"/>.</summary>
    /// <param name="format">Format of the rows.</param>
    /// <param name="rows">The first of the 16 rows.</param>
    /// <param name="row">0 to 15.</param>
    /// <param name="rowBytes">Bytes of a row.</param>
    /// <param name="target">Receives the row.</param>
    public static void Read(BlockFormat format, byte* rows, int row, long rowBytes, byte* target)
    {
        for (long offset = 0; offset < rowBytes;)
        {
            byte* source = rows + Count * offset;
            if (IsHalf(format, offset))
            {
                *(ushort*)(target + offset) = ((ushort*)source)[row];
                offset += Half;
            }
            else
            {
                *(uint*)(target + offset) = ((uint*)source)[row];
                offset += Dword;
            }
        }
    }

    // Blocks of which the dwords leave two bytes over hold a scale there: at the front, or of Q6_K at the end.
    private static bool IsHalf(BlockFormat format, long offset) =>
        format.BlockBytes > Dword && format.BlockBytes % Dword == Half && offset % format.BlockBytes == format.ScaleOffsets[0];
}
