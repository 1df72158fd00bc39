using System.Numerics;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// Unsigned plain decimals that are multiples of a number both as decimals and by dividing doubles: 0.29 is a multiple of 0.01, but the quotient of the doubles is
/// 28.999999999999996, and that is what JavaScript validators look at.
/// </summary>
internal static class Multiples
{
    /// <summary>With too many remainders or places, multiples are enumerated instead: this many, from the smallest allowed number on.</summary>
    private const int MaxListed = 10_000;

    // Digits of multiples in all, places included: a double tells all of them apart, and a division of integers gives it.
    private const int MaxDigits = 15;

    // As many leave some digits before the point.
    private const int MaxPlaces = 10;

    // Limit of states of the automaton of remainders, which is searched for divisible endings.
    private const int MaxRemainders = 100_000;

    // Below, a double holds every integer; numbers with fractions are written with 15 digits.
    private const int ExactBits = 53;

    private static readonly ExactDecimal s_exact = ExactDecimal.Of(1, ExactBits);

    /// <param name="arena">Where terms are made.</param>
    /// <param name="divisor">The divisor.</param>
    /// <param name="smallest">The smallest number that is wanted.</param>
    public static RegexTerm Of(RegexArena arena, ExactDecimal divisor, ExactDecimal smallest)
    {
        if (divisor.IsInteger)
        {
            return OfInteger(arena, divisor, smallest);
        }

        if (divisor.Mantissa <= MaxRemainders && ExactDecimal.Of(divisor.ToDouble()) == divisor)
        {
            return arena.Leaf(new MultipleLeaf(divisor)); // As exact as its multiples of 15 digits.
        }

        if (Coarse(divisor) > MaxRemainders)
        {
            return arena.Leaf(Listed(divisor, smallest, MaxListed));
        }

        RegexTerm multiples = ByRange(arena, divisor);
        if (divisor.Scale > MaxPlaces)
        {
            multiples = arena.Alt(multiples, arena.Leaf(Listed(divisor, smallest, MaxListed)));
            if (divisor.Mantissa <= MaxRemainders && IsNear(divisor))
            {
                // A multiple of the divisor and of a power of one half, so exact as a double.
                multiples = arena.Alt(multiples, arena.And(arena.Leaf(new MultipleLeaf(divisor)), arena.Leaf(new MultipleLeaf(ExactDecimal.Of(1, -divisor.Scale)))));
            }
        }

        return multiples;
    }

    private static RegexTerm OfInteger(RegexArena arena, ExactDecimal divisor, ExactDecimal smallest)
    {
        if (divisor == ExactDecimal.One)
        {
            return arena.Leaf(new MultipleLeaf(divisor));
        }

        return smallest.CompareTo(s_exact) <= 0 && s_exact.Mantissa / divisor.Mantissa > MaxListed && Trailing(arena, divisor) is { } multiples
            ? arena.And(multiples, arena.Leaf(new ComparisonLeaf(s_exact, ComparisonLeaf.Relation.LessOrEqual)))
            : arena.Leaf(Listed(divisor, smallest, MaxListed));
    }

    /// <summary>Multiples by remainder. Trailing zeros of the divisor are trailing zeros of every multiple and need no division.</summary>
    private static RegexTerm? Trailing(RegexArena arena, ExactDecimal divisor)
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

        RegexTerm multiples = arena.Leaf(new MultipleLeaf(ExactDecimal.Of(rest, 0)));
        if (zeros == 0)
        {
            return multiples;
        }

        RegexTerm some = arena.And(Expression("[1-9][0-9]*"), multiples);
        return arena.Alt(Expression("0(?:[.]0+)?"), arena.Concat(some, Expression("0{" + zeros + "}(?:[.]0+)?")));

        RegexTerm Expression(string expression) => EcmaRegex.Compile(arena, expression, wholeText: true);
    }

    /// <summary>True if the double is within 2^-54 of the divisor, relatively, so that exact multiples keep their quotients.</summary>
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

    /// <summary>The places that are written of a divisor's multiples.</summary>
    private static int Places(ExactDecimal divisor) => Math.Min(divisor.Scale, MaxPlaces);

    /// <summary>The least multiple of a divisor that can be written with so many places, counted in the last of them.</summary>
    private static BigInteger Coarse(ExactDecimal divisor)
    {
        BigInteger finer = BigInteger.Pow(10, divisor.Scale - Places(divisor));
        return divisor.Mantissa / BigInteger.GreatestCommonDivisor(divisor.Mantissa, finer);
    }

    /// <summary>
    /// Between powers of 2, of numbers and of quotients, how far a double is off depends on the digits after the point alone: w + f is off as f is. So the
    /// quotients of one fraction are off by a linear function there: rounded to the integer at both ends, they are so in between.
    /// </summary>
    private static RegexTerm ByRange(RegexArena arena, ExactDecimal divisor)
    {
        // Everything is counted in the last place that is written.
        int places = Places(divisor);
        long one = (long)BigInteger.Pow(10, places), top = (long)BigInteger.Pow(10, MaxDigits), step = (long)Coarse(divisor);
        BigInteger finer = BigInteger.Pow(10, divisor.Scale - places);
        SortedSet<long> ends = [1, top];
        for (int power = -ExactBits; power < ExactBits; power++)
        {
            foreach ((BigInteger number, BigInteger over) in (ReadOnlySpan<(BigInteger, BigInteger)>)[(one, BigInteger.One), (divisor.Mantissa, finer)])
            {
                BigInteger end = power < 0 ? DivideUp(number, over << -power) : DivideUp(number << power, over);
                if (end > 1 && end < top)
                {
                    ends.Add((long)end);
                }
            }
        }

        long[] bounds = [.. ends];
        FractionTest test = new(divisor, places, one, step);
        RegexTerm whole = EcmaRegex.Compile(arena, "0|[1-9][0-9]*", wholeText: true);
        List<RegexTerm> ranges = [];
        for (int i = 0; i + 1 < bounds.Length; i++)
        {
            RegexTerm range = arena.And(Bound(bounds[i], ComparisonLeaf.Relation.GreaterOrEqual), Bound(bounds[i + 1], ComparisonLeaf.Relation.Less));
            ranges.Add(arena.And(range, arena.Concat(whole, arena.Leaf(new FractionLeaf(test, bounds[i], bounds[i + 1])))));
        }

        return arena.Alt(
            arena.And(arena.Leaf(new MultipleLeaf(ExactDecimal.OverPowerOfTen(step, places))), arena.Alt(ranges)),
            EcmaRegex.Compile(arena, $"0(?:[.]0{{1,{places}}})?", wholeText: true));

        RegexTerm Bound(long end, ComparisonLeaf.Relation relation) => arena.Leaf(new ComparisonLeaf(ExactDecimal.OverPowerOfTen(end, places), relation));
    }

    private static BigInteger DivideUp(BigInteger a, BigInteger b) => (a + b - 1) / b;
}

/// <summary>The fractions whose multiples between two numbers all have integer quotients in double arithmetic.</summary>
internal sealed record FractionTest
{
    private readonly long _one, _step, _shared, _inverse;
    private readonly double _divisor;

    /// <param name="divisor">The divisor.</param>
    /// <param name="places">The places that are written.</param>
    /// <param name="one">One, in the last of them.</param>
    /// <param name="step">What is to be divided by, in the last of them.</param>
    public FractionTest(ExactDecimal divisor, int places, long one, long step)
    {
        (Places, _one, _step, _divisor) = (places, one, step, divisor.ToDouble());
        _shared = (long)BigInteger.GreatestCommonDivisor(one, step);
        _inverse = Inverse(one / _shared, step / _shared);
    }

    public int Places { get; }

    /// <summary>True if multiples with the fraction exist from low up to high, and the first and last of them have integer quotients.</summary>
    public bool Holds(long low, long high, long fraction)
    {
        if (fraction % _shared != 0)
        {
            return false;
        }

        // w * one + fraction is divided by step: one w of step / shared in a row.
        long cycle = _step / _shared, w = (long)((Int128)((cycle - (fraction / _shared % cycle)) % cycle) * _inverse % cycle);
        Int128 period = (Int128)_one * cycle, least = ((Int128)w * _one) + fraction;
        Int128 first = low <= least ? least : least + ((low - least + period - 1) / period * period);
        return first < high && Fits((long)first) && Fits((long)(least + ((high - 1 - least) / period * period)));
    }

    // An integer below 2^53 over a power of ten: the nearest double.
    private bool Fits(long n) => double.IsInteger(n / (double)_one / _divisor);

    /// <summary>The modular inverse.</summary>
    private static long Inverse(long a, long modulus)
    {
        (long r, long next, long x, long y) = (modulus, a % modulus, 0, 1);
        while (next != 0)
        {
            long quotient = r / next;
            (r, next, x, y) = (next, r - (quotient * next), y, x - (quotient * y));
        }

        return modulus == 1 ? 0 : ((x % modulus) + modulus) % modulus;
    }
}

/// <summary>A point and the digits after it that pass a test, without zeros at the end or with them; or nothing for zero.</summary>
internal sealed class FractionLeaf : RegexLeaf
{
    private readonly FractionTest _test;
    private readonly long _low, _high;
    private readonly long _number;
    private readonly int _digits; // -1 before the point

    public FractionLeaf(FractionTest test, long low, long high) => (_test, _low, _high, _digits) = (test, low, high, -1);

    private FractionLeaf(FractionLeaf from, long number, int digits) => (_test, _low, _high, _number, _digits) = (from._test, from._low, from._high, number, digits);

    public override bool Nullable
    {
        get
        {
            long number = _number;
            for (int i = Math.Max(0, _digits); i < _test.Places; i++)
            {
                number *= 10;
            }

            return _digits != 0 && _test.Holds(_low, _high, number);
        }
    }

    public override bool Finite => true;

    public override RegexLeaf? Derive(int c) =>
        _digits < 0 ? c == '.' ? new FractionLeaf(this, 0, 0) : null
        : c is >= '0' and <= '9' && _digits < _test.Places ? new FractionLeaf(this, (_number * 10) + c - '0', _digits + 1)
        : null;

    public override void CollectAlphabet(HashSet<int> chars) => DecimalAlphabet.Collect(chars);

    public override bool Equals(RegexLeaf? other) => other is FractionLeaf o && _number == o._number && _digits == o._digits && _low == o._low && _high == o._high && _test == o._test;

    public override int GetHashCode() => HashCode.Combine(_low, _high, _number, _digits);
}
