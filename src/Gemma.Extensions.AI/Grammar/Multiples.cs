using System.Globalization;
using System.Numerics;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>
/// Unsigned plain decimals that are multiples of a number for who reads decimals and for who divides doubles: 0.29 is a multiple of 0.01, but the quotient of the
/// doubles is 28.999999999999996, and validators in JavaScript go by that.
/// </summary>
internal static class Multiples
{
    /// <summary>Divisors with more places get some thousands of multiples from the smallest number asked for on, and those that a double holds exactly.</summary>
    private const int MaxPlaces = 2;

    private const int MaxListed = 10_000;

    private const int MaxDigits = 12;

    // Whether an end of some digits can be divided is searched for: with more remainders in more states than a search may take.
    private const int MaxRemainders = 100_000;

    // Below, a double holds every integer; numbers with fractions are written with 15 digits.
    private const int ExactBits = 53;

    private static readonly ExactDecimal s_exact = ExactDecimal.Of(1, ExactBits);

    /// <param name="arena">Where terms are made.</param>
    /// <param name="divisor">The divisor.</param>
    /// <param name="smallest">The smallest number that is wanted.</param>
    public static Rx Of(RxArena arena, ExactDecimal divisor, ExactDecimal smallest)
    {
        if (divisor.IsInteger)
        {
            return OfInteger(arena, divisor, smallest);
        }

        if (divisor.Mantissa <= MaxRemainders && ExactDecimal.Of(divisor.ToDouble()) == divisor)
        {
            return arena.Leaf(new MultipleLeaf(divisor)); // As exact as its multiples of 15 digits.
        }

        bool ranges = divisor.Scale <= MaxPlaces && divisor.Mantissa <= MaxRemainders;
        List<Rx> kinds = [arena.Leaf(Listed(divisor, smallest, ranges ? (int)BigInteger.Pow(10, divisor.Scale) : MaxListed))];
        if (ranges)
        {
            kinds.AddRange(ByRange(arena, divisor));
        }
        else if (divisor.Mantissa <= MaxRemainders && IsNear(divisor))
        {
            // A multiple of the divisor and of a power of one half, so exact as a double.
            kinds.Add(arena.And(arena.Leaf(new MultipleLeaf(divisor)), arena.Leaf(new MultipleLeaf(ExactDecimal.Of(1, -divisor.Scale)))));
        }

        return arena.Alt(kinds);
    }

    private static Rx OfInteger(RxArena arena, ExactDecimal divisor, ExactDecimal smallest)
    {
        if (divisor == ExactDecimal.One)
        {
            return arena.Leaf(new MultipleLeaf(divisor));
        }

        return smallest.CompareTo(s_exact) <= 0 && s_exact.Mantissa / divisor.Mantissa > MaxListed && Trailing(arena, divisor) is { } multiples
            ? arena.And(multiples, arena.Leaf(new ComparisonLeaf(s_exact, ComparisonLeaf.Relation.LessOrEqual)))
            : arena.Leaf(Listed(divisor, smallest, MaxListed));
    }

    /// <summary>Multiples by their remainder; zeros at the end of the divisor are zeros at the end of a multiple, for which nothing has to be divided.</summary>
    private static Rx? Trailing(RxArena arena, ExactDecimal divisor)
    {
        BigInteger rest = divisor.Mantissa;
        int zeros = 0;
        for (; rest % 10 == 0; zeros++)
        {
            rest /= 10;
        }

        if (rest > MaxRemainders)
        {
            return null;
        }

        Rx multiples = arena.Leaf(new MultipleLeaf(ExactDecimal.Of(rest, 0)));
        if (zeros == 0)
        {
            return multiples;
        }

        Rx some = arena.And(Expression("[1-9][0-9]*"), multiples);
        return arena.Alt(Expression("0(?:[.]0+)?"), arena.Concat(some, Expression("0{" + zeros + "}(?:[.]0+)?")));

        Rx Expression(string expression) => EcmaRegex.Compile(arena, expression, wholeText: true);
    }

    /// <summary>Whether the double is so near to the divisor, by 2^-54 of it, that exact multiples keep their quotients.</summary>
    private static bool IsNear(ExactDecimal divisor)
    {
        ExactDecimal read = ExactDecimal.Of(divisor.ToDouble());
        int scale = Math.Max(read.Scale, divisor.Scale);
        BigInteger exact = divisor.Mantissa * BigInteger.Pow(10, scale - divisor.Scale);
        return BigInteger.Abs((read.Mantissa * BigInteger.Pow(10, scale - read.Scale)) - exact) << 54 <= exact;
    }

    private static LiteralSet Listed(ExactDecimal divisor, ExactDecimal smallest, int count)
    {
        BigInteger first = smallest.Mantissa * BigInteger.Pow(10, divisor.Scale) / (divisor.Mantissa * BigInteger.Pow(10, smallest.Scale));
        List<string> texts = [];
        for (BigInteger k = first; k < first + count; k++)
        {
            ExactDecimal multiple = ExactDecimal.OverPowerOfTen(divisor.Mantissa * k, divisor.Scale);
            if (DoubleReader.SeesMultiple(multiple, divisor))
            {
                string text = multiple.ToString();
                texts.Add(text);
                for (int places = multiple.Scale; places < divisor.Scale; places++)
                {
                    texts.Add(text = places == 0 ? text + ".0" : text + "0");
                }
            }
        }

        return LiteralSet.Of(texts);
    }

    /// <summary>
    /// Between powers of 2, of numbers and of quotients, how far a double is off depends on the digits after the point alone: w + f is off as f is. So the
    /// quotients of one fraction are off by a linear function there: rounded to the integer at both ends, they are so in between.
    /// </summary>
    private static IEnumerable<Rx> ByRange(RxArena arena, ExactDecimal divisor)
    {
        // Everything counted in the last place of the divisor.
        long one = (long)BigInteger.Pow(10, divisor.Scale), top = (long)BigInteger.Pow(10, MaxDigits);
        SortedSet<long> ends = [one, top];
        for (int power = 0; power < ExactBits; power++)
        {
            foreach (BigInteger end in (ReadOnlySpan<BigInteger>)[(BigInteger)one << power, divisor.Mantissa << power])
            {
                if (end > one && end < top)
                {
                    ends.Add((long)end);
                }
            }
        }

        long[] bounds = [.. ends];
        Dictionary<string, (List<string> Texts, List<Rx> Ranges)> groups = [];
        for (int i = 0; i + 1 < bounds.Length; i++)
        {
            (List<string> texts, string key) = Fractions(bounds[i], bounds[i + 1], one, divisor);
            Rx range = arena.And(Bound(bounds[i], ComparisonLeaf.Relation.GreaterOrEqual), Bound(bounds[i + 1], ComparisonLeaf.Relation.Less));
            (groups.TryGetValue(key, out (List<string> Texts, List<Rx> Ranges) group) ? group : groups[key] = (texts, [])).Ranges.Add(range);
        }

        Rx whole = EcmaRegex.Compile(arena, "[1-9][0-9]*", wholeText: true), multiples = arena.Leaf(new MultipleLeaf(divisor));
        return groups.Values.Select(group => arena.And([multiples, arena.Alt(group.Ranges), arena.Concat(whole, arena.Leaf(LiteralSet.Of(group.Texts)))]));

        Rx Bound(long end, ComparisonLeaf.Relation relation) => arena.Leaf(new ComparisonLeaf(ExactDecimal.OverPowerOfTen(end, divisor.Scale), relation));
    }

    /// <summary>What may stand after the whole part, point included, between two numbers.</summary>
    private static (List<string> Texts, string Key) Fractions(long low, long high, long one, ExactDecimal divisor)
    {
        List<string> texts = [];
        System.Text.StringBuilder key = new();
        for (int f = 0; f < one; f++)
        {
            long first = NextMultiple(((low - f + one - 1) / one * one) + f, one), last = NextMultiple(((high - 1 - f) / one * one) + f, -one);
            bool good = first <= last && Fits(first) && Fits(last);
            key.Append(good ? '1' : '0');
            if (good)
            {
                string digits = f.ToString(CultureInfo.InvariantCulture).PadLeft(divisor.Scale, '0');
                texts.Add("." + digits);
                for (int length = digits.Length - 1; length > 0 && digits[length] == '0'; length--)
                {
                    texts.Add("." + digits[..length]);
                }

                if (f == 0)
                {
                    texts.Add("");
                }
            }
        }

        return (texts, key.ToString());

        // The first of the numbers with this fraction that is a multiple; one far outside where there is none.
        long NextMultiple(long n, long step)
        {
            long mantissa = (long)divisor.Mantissa;
            for (int tries = 0; tries < 2_000; tries++, n += step)
            {
                if (n % mantissa == 0)
                {
                    return n;
                }
            }

            return step > 0 ? long.MaxValue : long.MinValue;
        }

        // 15 digits over a power of ten: the nearest double.
        bool Fits(long n) => double.IsInteger(n / (double)one / divisor.ToDouble());
    }
}
