using System.Numerics;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>The view of a reader that takes numbers as doubles, such as JavaScript's.</summary>
internal static class DoubleReader
{
    /// <summary>The numbers that are read as the same double as this one, and whether the ends are among them.</summary>
    public static (ExactDecimal Low, ExactDecimal High, bool EndsIncluded) Alike(ExactDecimal number)
    {
        double value = number.ToDouble(), size = Math.Abs(value);
        if (size == 0)
        {
            return (ExactDecimal.Of(-1, -1075), ExactDecimal.Of(1, -1075), true);
        }

        if (double.IsInfinity(size))
        {
            return (number, number, true);
        }

        ExactDecimal low = MiddleAbove(Math.BitDecrement(size)), high = MiddleAbove(size);
        bool even = (BitConverter.DoubleToInt64Bits(size) & 1) == 0; // A tie goes to the even one.
        return value < 0 ? (-high, -low, even) : (low, high, even);
    }

    /// <summary>The lower end of the numbers that both readers place above a bound, and whether the end is excluded.</summary>
    public static (ExactDecimal Bound, bool Open) From(ExactDecimal min, bool exclusive)
    {
        (_, ExactDecimal high, bool ends) = Alike(min);
        return exclusive ? (high, ends) : (min, false);
    }

    /// <summary>The upper end of the numbers that both readers place below a bound, and whether the end is excluded.</summary>
    public static (ExactDecimal Bound, bool Open) To(ExactDecimal max, bool exclusive)
    {
        (ExactDecimal low, _, bool ends) = Alike(max);
        return exclusive ? (low, ends) : (max, false);
    }

    /// <summary>True if the quotient as doubles is an integer that JavaScript prints without an exponent, which is how its validators test it.</summary>
    public static bool SeesMultiple(ExactDecimal number, ExactDecimal divisor)
    {
        double quotient = number.ToDouble() / divisor.ToDouble();
        return double.IsInteger(quotient) && Math.Abs(quotient) < 1e21;
    }

    /// <summary>Half of a unit of the last place above a double: half way to the next.</summary>
    private static ExactDecimal MiddleAbove(double low)
    {
        long bits = BitConverter.DoubleToInt64Bits(low);
        int exponent = (int)(bits >> 52);
        BigInteger mantissa = exponent == 0 ? bits : (bits & ((1L << 52) - 1)) | (1L << 52);
        return ExactDecimal.Of((mantissa * 2) + 1, Math.Max(exponent, 1) - 1076);
    }
}
