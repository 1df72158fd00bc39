using System.Globalization;
using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>
/// The generated spellings of numbers: plain decimals, and exponents where only the sign is bounded. Other spellings are left out, and so are numbers that readers of
/// decimals and readers of doubles judge differently.
/// </summary>
internal static class NumberSpelling
{
    /// <summary>Number of digits up to which no two decimals round to the same double.</summary>
    private const int SafeDigits = 15;

    /// <summary>Digits that distinguish all doubles.</summary>
    private const int DoubleDigits = 17;

    /// <summary>The integers that are generated where the schema does not ask for larger ones: those of 64 bits.</summary>
    private static readonly (ExactDecimal Min, ExactDecimal Max) s_integers = (ExactDecimal.Parse("-9223372036854775808"), ExactDecimal.Parse("9223372036854775807"));

    public static RegexTerm Of(RegexArena arena, NumberConstraint number)
    {
        if (number.Values is not null)
        {
            return arena.Leaf(LiteralSet.Of(number.Values.Where(v => number.Allows(v.Value)).SelectMany(v => number.Integer == true && v.Text.AsSpan().ContainsAny(".eE") ? [v.Value.ToString()] : (string[])[v.Value.ToString(), v.Text])));
        }

        bool plain = number.Multiples.Count == 0 && number.NotMultiples.Count == 0 && number.NotValues.Count == 0 && number.Integer is null;
        if (plain && number.Max is null && (number.Min is null || (number.Min.Value.Sign == 0 && !number.MinExclusive)))
        {
            const string Exponent = "(?:[eE][+-]?(?:[0-9]{1,2}|1[0-9]{2}|2[0-7][0-9]))?";
            string integers = DecimalRanges.Between(number.Min is null ? s_integers.Min.ToString() : "0", s_integers.Max.ToString());
            return Expression(arena, $"(?:{(number.Min is null ? "-?" : "")}{Syntax(DoubleDigits, DoubleDigits)}{Exponent}|{integers})");
        }

        NumberConstraint bounded = number.Integer == true ? WithinIntegers(number) : number;
        bool careful = number.Integer == false || number.NotMultiples.Count > 0 || number.Multiples.Any(static m => !m.IsInteger);
        (int whole, int fraction, int all) = careful ? (SafeDigits, SafeDigits, SafeDigits) : Digits(bounded);
        RegexTerm digits = number.Integer == true ? Expression(arena, Syntax(whole, 0)) : arena.And(Expression(arena, Syntax(whole, fraction)), arena.Repeat(arena.AnyChar, 1, all + (careful ? 1 : 2))); // The point, and a zero before it, which is no digit of the number.
        (RegexTerm? positive, RegexTerm? negative) = Bounds(arena, bounded, fraction);
        RegexTerm result = arena.Empty;
        if (positive is not null)
        {
            result = arena.And([digits, positive, .. Divisibility(arena, bounded, negative: false)]);
        }

        if (negative is not null)
        {
            // Minus zero is zero: it is not spelled where anything depends on the value.
            RegexTerm some = arena.Leaf(new ComparisonLeaf(ExactDecimal.Zero, ComparisonLeaf.Relation.Greater));
            result = arena.Alt(result, arena.Concat(arena.Literal("-"), arena.And([digits, some, negative, .. Divisibility(arena, bounded, negative: true)])));
        }

        if (plain)
        {
            RegexTerm positives = Large(arena, number.Min is { Sign: > 0 } ? null : number.Max, ""), negatives = Large(arena, number.Max is { Sign: < 0 } ? null : -number.Min, "-");
            result = arena.Alt(result, arena.Alt(positives, negatives));
        }

        if (plain && number.Min is { Sign: <= 0 } && number.Max is { } top && top.CompareTo(ExactDecimal.One) >= 0)
        {
            result = arena.Alt(result, Expression(arena, @"[1-9](?:\.[0-9]{1,15})?[eE]-0?[1-9][0-9]?")); // 0 < d.ddde-n < 1.
        }

        return result;
    }

    /// <summary>Exponents below a bound that is far away.</summary>
    private static RegexTerm Large(RegexArena arena, ExactDecimal? bound, string sign) =>
        bound is { Sign: > 0 } far && far.Digits().Whole - 2 is >= DoubleDigits and int exponent
            ? Expression(arena, $@"{sign}[1-9](?:\.[0-9]{{1,15}})?[eE]\+?{DecimalRanges.OneUpTo(exponent.ToString(CultureInfo.InvariantCulture))}")
            : arena.Empty;

    private static RegexTerm Expression(RegexArena arena, string expression) => EcmaRegex.Compile(arena, expression, wholeText: true);

    private static string Syntax(int whole, int fraction) =>
        $"(?:0|[1-9][0-9]{{0,{whole - 1}}})" + (fraction == 0 ? "" : $@"(?:\.[0-9]{{1,{fraction}}})?");

    private static NumberConstraint WithinIntegers(NumberConstraint number)
    {
        if (number.Max is null && (number.Min is not { } min || min.CompareTo(s_integers.Max) < 0))
        {
            number = number with { Max = s_integers.Max };
        }

        if (number.Min is null && number.Max is { } max && max.CompareTo(s_integers.Min) > 0)
        {
            number = number with { Min = s_integers.Min };
        }

        return number;
    }

    /// <summary>Limits of digits in a number, enough for its bounds.</summary>
    private static (int Whole, int Fraction, int All) Digits(NumberConstraint number)
    {
        (int whole, int fraction, int all) = (number.Integer == true ? 1 : DoubleDigits, DoubleDigits, DoubleDigits);
        foreach (ExactDecimal bound in (ExactDecimal[])[.. number.Min is { } min ? [min] : (ReadOnlySpan<ExactDecimal>)[], .. number.Max is { } max ? [max] : (ReadOnlySpan<ExactDecimal>)[]])
        {
            (int digits, int total) = bound.Digits();
            int more = number.Min is null || number.Max is null ? 1 : 0; // Beyond a bound alone there may be one digit more.
            (whole, fraction, all) = (Math.Max(whole, digits + more), Math.Max(fraction, bound.Scale), Math.Max(all, total + more));
        }

        return (whole, fraction, all);
    }

    /// <summary>The numbers from 0 up and (as absolute values) those below 0 that bounds and excluded values leave; null for none.</summary>
    private static (RegexTerm? Positive, RegexTerm? Negative) Bounds(RegexArena arena, NumberConstraint number, int places)
    {
        List<RegexTerm> positive = [arena.All], negative = [arena.All];
        bool noPositive = false, noNegative = false;
        if (number.Min is { } min)
        {
            (ExactDecimal bound, bool open) = DoubleReader.From(min, number.MinExclusive);
            noNegative = bound.Sign >= 0;
            (noNegative ? positive : negative).Add(noNegative ? AtLeast(bound, open) : AtMost(-bound, open));
        }

        if (number.Max is { } max)
        {
            (ExactDecimal bound, bool open) = DoubleReader.To(max, number.MaxExclusive);
            noPositive = bound.Sign < 0;
            (noPositive ? negative : positive).Add(noPositive ? AtLeast(-bound, open) : AtMost(bound, open));
        }

        foreach (ExactDecimal value in number.NotValues)
        {
            (ExactDecimal low, ExactDecimal high, bool ends) = DoubleReader.Alike(value.Abs());
            (value.Sign < 0 ? negative : positive).Add(arena.Alt(AtMost(low, ends), AtLeast(high, ends)));
            if (value.Sign == 0)
            {
                negative.Add(AtLeast(high, ends));
            }
        }

        return (noPositive ? null : arena.And(positive), noNegative ? null : arena.And(negative));

        RegexTerm AtLeast(ExactDecimal bound, bool open)
        {
            // A number with this many places exceeds a bound with more of them exactly if it exceeds the truncated bound.
            ExactDecimal floor = bound.Floor(places);
            return arena.Leaf(new ComparisonLeaf(floor, open || floor != bound ? ComparisonLeaf.Relation.Greater : ComparisonLeaf.Relation.GreaterOrEqual));
        }

        RegexTerm AtMost(ExactDecimal bound, bool open)
        {
            if (bound.Sign < 0)
            {
                return arena.Empty;
            }

            ExactDecimal floor = bound.Floor(places);
            return arena.Leaf(new ComparisonLeaf(floor, open && floor == bound ? ComparisonLeaf.Relation.Less : ComparisonLeaf.Relation.LessOrEqual));
        }
    }

    private static IEnumerable<RegexTerm> Divisibility(RegexArena arena, NumberConstraint number, bool negative)
    {
        foreach (ExactDecimal m in number.Multiples)
        {
            yield return Multiples.Of(arena, m.Abs(), Smallest(number, negative));
        }

        foreach (ExactDecimal m in number.NotMultiples)
        {
            // With all digits down to the places of the divisor there are 15 at most, so that no quotient is rounded to an integer. A divisor of more places leaves no such number.
            yield return arena.Not(arena.Leaf(new MultipleLeaf(m.Abs())));
            yield return m.Scale < SafeDigits ? Expression(arena, Syntax(SafeDigits - m.Scale, SafeDigits)) : arena.Empty;
        }

        if (number.Integer == false)
        {
            yield return arena.Not(arena.Leaf(new MultipleLeaf(ExactDecimal.One)));
        }
    }

    /// <summary>The smallest absolute value that the bounds leave.</summary>
    private static ExactDecimal Smallest(NumberConstraint number, bool negative) =>
        negative ? number.Max is { Sign: < 0 } max ? max.Abs() : ExactDecimal.Zero
        : number.Min is { Sign: > 0 } min ? min : ExactDecimal.Zero;
}
