using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Formats;

/// <summary>Finds NaN and infinity in arrays of 16-bit floating-point numbers at memory speed.</summary>
internal static unsafe class ExponentScan
{
    /// <summary>Index of the first element whose bits under <paramref name="mask"/> are all ones; -1 where there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)] // good from the first call: it runs once, over the whole file
    public static long FindAllOnes(ushort* values, long count, ushort mask)
    {
        long i = 0;
        Vector256<ushort> exponent = Vector256.Create(mask);
        for (; i + 16 <= count; i += 16)
        {
            if (Vector256.EqualsAny(Vector256.Load(values + i) & exponent, exponent))
            {
                break;
            }
        }

        for (; i < count; i++)
        {
            if ((values[i] & mask) == mask)
            {
                return i;
            }
        }

        return -1;
    }
}
