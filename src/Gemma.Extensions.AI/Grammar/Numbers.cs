using System.Globalization;
using System.Numerics;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>An exact decimal number: mantissa / 10^scale, without trailing zeros.</summary>
internal readonly record struct ExactDecimal : IComparable<ExactDecimal>
{
    private ExactDecimal(BigInteger mantissa, int scale)
    {
        while (scale > 0 && mantissa % 10 == 0)
        {
            mantissa /= 10;
            scale--;
        }

        Mantissa = mantissa;
        Scale = scale;
    }

    public BigInteger Mantissa { get; }

    public int Scale { get; }

    public int Sign => Mantissa.Sign;

    public bool IsInteger => Scale == 0;

    public static readonly ExactDecimal Zero = new(0, 0);

    public static readonly ExactDecimal One = new(1, 0);

    /// <summary>Reads a JSON number.</summary>
    /// <exception cref="NotSupportedException">The exponent is beyond ±400.</exception>
    public static ExactDecimal Parse(string json)
    {
        int e = json.IndexOfAny(['e', 'E']);
        string mantissa = e < 0 ? json : json[..e];
        if (mantissa.Length > 1000 || !int.TryParse(e < 0 ? "0" : json.AsSpan(e + 1), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int exponent) || Math.Abs(exponent) > 400)
        {
            throw new NotSupportedException($"the number {(json.Length > 40 ? json[..40] + "…" : json)} is beyond what is supported (1000 digits, exponent ±400)");
        }

        int dot = mantissa.IndexOf('.');
        int scale = (dot < 0 ? 0 : mantissa.Length - dot - 1) - exponent;
        BigInteger value = BigInteger.Parse(mantissa.Replace(".", ""), CultureInfo.InvariantCulture);
        return scale < 0 ? new ExactDecimal(value * BigInteger.Pow(10, -scale), 0) : new ExactDecimal(value, scale);
    }

    public ExactDecimal Abs() => new(BigInteger.Abs(Mantissa), Scale);

    public int CompareTo(ExactDecimal other)
    {
        int scale = Math.Max(Scale, other.Scale);
        return (Mantissa * BigInteger.Pow(10, scale - Scale)).CompareTo(other.Mantissa * BigInteger.Pow(10, scale - other.Scale));
    }

    public bool IsMultipleOf(ExactDecimal divisor)
    {
        int scale = Math.Max(Scale, divisor.Scale);
        BigInteger by = divisor.Mantissa * BigInteger.Pow(10, scale - divisor.Scale);
        return !by.IsZero && (Mantissa * BigInteger.Pow(10, scale - Scale) % by).IsZero;
    }

    /// <summary>The plain decimal spelling.</summary>
    public override string ToString()
    {
        string digits = BigInteger.Abs(Mantissa).ToString(CultureInfo.InvariantCulture).PadLeft(Scale + 1, '0');
        return (Mantissa.Sign < 0 ? "-" : "") + (Scale == 0 ? digits : digits[..^Scale] + "." + digits[^Scale..]);
    }
}

/// <summary>Unsigned plain decimals in a relation to a constant.</summary>
internal sealed class ComparisonLeaf : RxLeaf
{
    private readonly string _whole;
    private readonly string _fraction;
    private readonly Relation _relation;
    private readonly int _digits;     // Of the whole part so far (capped one beyond the constant's), or of the fraction.
    private readonly int _comparison; // Of what was read so far with the constant's digits in the same places.
    private readonly bool _inFraction;

    public ComparisonLeaf(ExactDecimal constant, Relation relation)
    {
        string text = constant.ToString();
        int dot = text.IndexOf('.');
        _whole = dot < 0 ? text : text[..dot];
        _fraction = dot < 0 ? "" : text[(dot + 1)..];
        _relation = relation;
    }

    private ComparisonLeaf(ComparisonLeaf from, int digits, int comparison, bool inFraction)
    {
        (_whole, _fraction, _relation) = (from._whole, from._fraction, from._relation);
        (_digits, _comparison, _inFraction) = (digits, comparison, inFraction);
    }

    public enum Relation
    {
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
        NotEqual,
    }

    public override bool Nullable
    {
        get
        {
            int order = _inFraction ? _comparison : Resolve();
            if (order == 0 && (_inFraction ? _digits : 0) < _fraction.Length)
            {
                order = -1;
            }

            return _relation switch
            {
                Relation.Less => order < 0,
                Relation.LessOrEqual => order <= 0,
                Relation.Greater => order > 0,
                Relation.GreaterOrEqual => order >= 0,
                _ => order != 0,
            };
        }
    }

    public override bool Finite => false;

    public override RxLeaf? Derive(int c)
    {
        if (c == '.')
        {
            return _inFraction ? null : new ComparisonLeaf(this, 0, Resolve(), true);
        }

        if (c is < '0' or > '9')
        {
            return null;
        }

        if (!_inFraction)
        {
            int comparison = _comparison == 0 && _digits < _whole.Length ? c.CompareTo(_whole[_digits]) : _comparison;
            return new ComparisonLeaf(this, Math.Min(_digits + 1, _whole.Length + 1), Math.Sign(comparison), false);
        }

        if (_comparison != 0)
        {
            return this;
        }

        int order = Math.Sign(c.CompareTo(_digits < _fraction.Length ? _fraction[_digits] : '0'));
        return new ComparisonLeaf(this, order == 0 ? Math.Min(_digits + 1, _fraction.Length) : 0, order, true);
    }

    public override void CollectAlphabet(HashSet<int> chars) => DecimalAlphabet.Collect(chars);

    public override bool Equals(RxLeaf? other) => other is ComparisonLeaf o && _digits == o._digits && _comparison == o._comparison && _inFraction == o._inFraction
        && _relation == o._relation && _whole == o._whole && _fraction == o._fraction;

    public override int GetHashCode() => HashCode.Combine(_whole, _fraction, _relation, _digits, _comparison, _inFraction);

    private int Resolve() => _digits < _whole.Length ? -1 : _digits > _whole.Length ? 1 : _comparison;
}

/// <summary>Unsigned plain decimals that are a multiple of a number.</summary>
internal sealed class MultipleLeaf : RxLeaf
{
    private readonly long _divisor;
    private readonly int _scale;
    private readonly long _remainder;
    private readonly int _places; // -1 before the point, then the digits after it, up to the scale.

    public MultipleLeaf(ExactDecimal divisor)
    {
        if (divisor.Mantissa > 100_000_000_000_000_000 || divisor.Scale > 30)
        {
            throw new NotSupportedException($"a multiple of {divisor} is beyond what is supported (17 digits)");
        }

        (_divisor, _scale, _places) = ((long)divisor.Mantissa, divisor.Scale, -1);
    }

    private MultipleLeaf(MultipleLeaf from, long remainder, int places) => (_divisor, _scale, _remainder, _places) = (from._divisor, from._scale, remainder, places);

    public override bool Nullable
    {
        get
        {
            long r = _remainder;
            for (int i = Math.Max(_places, 0); i < _scale && r != 0; i++)
            {
                r = r * 10 % _divisor;
            }

            return r == 0;
        }
    }

    public override bool Finite => false;

    public override RxLeaf? Derive(int c)
    {
        if (c == '.')
        {
            return _places < 0 ? new MultipleLeaf(this, _remainder, 0) : null;
        }

        if (c is < '0' or > '9' || (_places == _scale && c != '0'))
        {
            return null;
        }

        return _places == _scale ? this : new MultipleLeaf(this, ((_remainder * 10) + (c - '0')) % _divisor, _places < 0 ? -1 : _places + 1);
    }

    public override void CollectAlphabet(HashSet<int> chars) => DecimalAlphabet.Collect(chars);

    public override bool Equals(RxLeaf? other) => other is MultipleLeaf o && _remainder == o._remainder && _places == o._places && _divisor == o._divisor && _scale == o._scale;

    public override int GetHashCode() => HashCode.Combine(_divisor, _scale, _remainder, _places);
}

internal static class DecimalAlphabet
{
    public static void Collect(HashSet<int> chars)
    {
        foreach (char c in "0123456789.")
        {
            chars.Add(c);
        }
    }
}

/// <summary>What a JSON number must satisfy; by value, not by spelling, so that it can be intersected and negated.</summary>
internal sealed record NumberConstraint
{
    // Longer numbers are not generated: 20 digits cover 64-bit integers, and a double shows no more.
    private const string Whole = "(?:0|[1-9][0-9]{0,19})";
    private const string Fraction = @"(?:\.[0-9]{1,20})?";

    public static readonly NumberConstraint None = new();

    /// <summary>True: integers; false: numbers that are no integers; null: both.</summary>
    public bool? Integer { get; init; }

    public ExactDecimal? Min { get; init; }

    public bool MinExclusive { get; init; }

    public ExactDecimal? Max { get; init; }

    public bool MaxExclusive { get; init; }

    public IReadOnlyList<ExactDecimal> Multiples { get; init; } = [];

    public IReadOnlyList<ExactDecimal> NotMultiples { get; init; } = [];

    /// <summary>The only values, where set, with the spelling that the schema gives them.</summary>
    public IReadOnlyList<(ExactDecimal Value, string Text)>? Values { get; init; }

    public IReadOnlyList<ExactDecimal> NotValues { get; init; } = [];

    public bool Allows(ExactDecimal v) =>
        (Integer is null || Integer == v.IsInteger)
        && (Min is not { } min || v.CompareTo(min) is var a && (a > 0 || (a == 0 && !MinExclusive)))
        && (Max is not { } max || v.CompareTo(max) is var b && (b < 0 || (b == 0 && !MaxExclusive)))
        && Multiples.All(v.IsMultipleOf) && !NotMultiples.Any(v.IsMultipleOf) && !NotValues.Contains(v)
        && (Values is null || Values.Any(x => x.Value == v));

    /// <summary>Both; null where that is plainly impossible.</summary>
    public NumberConstraint? And(NumberConstraint other)
    {
        if (ReferenceEquals(this, None))
        {
            return other;
        }

        if (ReferenceEquals(other, None))
        {
            return this;
        }

        if (Integer is { } i && other.Integer is { } j && i != j)
        {
            return null;
        }

        NumberConstraint result = this with
        {
            Integer = Integer ?? other.Integer,
            Multiples = [.. Multiples.Union(other.Multiples)],
            NotMultiples = [.. NotMultiples.Union(other.NotMultiples)],
            NotValues = [.. NotValues.Union(other.NotValues)],
        };
        if (other.Min is { } min && (Min is not { } mine || min.CompareTo(mine) is var c && (c > 0 || (c == 0 && other.MinExclusive))))
        {
            result = result with { Min = min, MinExclusive = other.MinExclusive };
        }

        if (other.Max is { } max && (Max is not { } ours || max.CompareTo(ours) is var d && (d < 0 || (d == 0 && other.MaxExclusive))))
        {
            result = result with { Max = max, MaxExclusive = other.MaxExclusive };
        }

        if (Values is not null || other.Values is not null)
        {
            List<(ExactDecimal, string)> values = [.. (Values ?? other.Values!).Where(v => result.Allows(v.Value) && other.Allows(v.Value) && Allows(v.Value))];
            return values.Count == 0 ? null : None with { Values = values };
        }

        return result.Min is { } lo && result.Max is { } hi && lo.CompareTo(hi) is var order && (order > 0 || (order == 0 && (result.MinExclusive || result.MaxExclusive))) ? null : result;
    }

    /// <summary>The constraints of which any violates this one.</summary>
    public IEnumerable<NumberConstraint> Negate()
    {
        if (Integer is { } integer)
        {
            yield return None with { Integer = !integer };
        }

        if (Min is not null)
        {
            yield return None with { Max = Min, MaxExclusive = !MinExclusive };
        }

        if (Max is not null)
        {
            yield return None with { Min = Max, MinExclusive = !MaxExclusive };
        }

        foreach (ExactDecimal m in Multiples)
        {
            yield return None with { NotMultiples = [m] };
        }

        foreach (ExactDecimal m in NotMultiples)
        {
            yield return None with { Multiples = [m] };
        }

        if (Values is not null)
        {
            yield return None with { NotValues = [.. Values.Select(v => v.Value)] };
        }

        if (NotValues.Count > 0)
        {
            yield return None with { Values = [.. NotValues.Select(v => (v, v.ToString()))] };
        }
    }

    /// <summary>
    /// The spellings that are generated: plain decimals, and exponents where only the sign is bounded. Other spellings of allowed values are left out.
    /// </summary>
    public Rx ToRx(RxArena arena)
    {
        if (Values is not null)
        {
            return arena.Leaf(LiteralSet.Of(Values.Where(v => Allows(v.Value)).SelectMany(v => (string[])[v.Value.ToString(), v.Text])));
        }

        bool plain = Multiples.Count == 0 && NotMultiples.Count == 0 && NotValues.Count == 0 && Integer is null;
        const string Exponent = "(?:[eE][+-]?(?:[0-9]{1,2}|1[0-9]{2}|2[0-7][0-9]))?";
        if (plain && Max is null && (Min is null || (Min.Value.Sign == 0 && !MinExclusive)))
        {
            return EcmaRegex.Compile(arena, (Min is null ? "-?" : "") + Whole + Fraction + Exponent, wholeText: true);
        }

        Rx syntax = EcmaRegex.Compile(arena, Integer == true ? Whole : Whole + Fraction, wholeText: true);
        List<Rx> unsigned = [syntax];
        unsigned.AddRange(Multiples.Select(m => arena.Leaf(new MultipleLeaf(m.Abs()))));
        unsigned.AddRange(NotMultiples.Select(m => arena.Not(arena.Leaf(new MultipleLeaf(m.Abs())))));
        if (Integer == false)
        {
            unsigned.Add(arena.Not(arena.Leaf(new MultipleLeaf(ExactDecimal.One))));
        }

        List<Rx> positive = [.. unsigned], negative = [.. unsigned];
        bool noPositive = false, noNegative = false;
        if (Min is { } min)
        {
            if (min.Sign >= 0)
            {
                positive.Add(Leaf(min, MinExclusive ? ComparisonLeaf.Relation.Greater : ComparisonLeaf.Relation.GreaterOrEqual));
                noNegative = true;
            }
            else
            {
                negative.Add(Leaf(min.Abs(), MinExclusive ? ComparisonLeaf.Relation.Less : ComparisonLeaf.Relation.LessOrEqual));
            }
        }

        if (Max is { } max)
        {
            if (max.Sign >= 0)
            {
                positive.Add(Leaf(max, MaxExclusive ? ComparisonLeaf.Relation.Less : ComparisonLeaf.Relation.LessOrEqual));
                if (max.Sign == 0 && MaxExclusive)
                {
                    noPositive = true;
                }
            }
            else
            {
                negative.Add(Leaf(max.Abs(), MaxExclusive ? ComparisonLeaf.Relation.Greater : ComparisonLeaf.Relation.GreaterOrEqual));
                noPositive = true;
            }
        }

        foreach (ExactDecimal v in NotValues)
        {
            (v.Sign < 0 ? negative : positive).Add(Leaf(v.Abs(), ComparisonLeaf.Relation.NotEqual));
        }

        // Minus zero is zero: it is not spelled where anything depends on the value.
        negative.Add(Leaf(ExactDecimal.Zero, ComparisonLeaf.Relation.Greater));
        Rx result = arena.Alt(
            noPositive ? arena.Empty : arena.And(positive),
            noNegative ? arena.Empty : arena.Concat(arena.Literal("-"), arena.And(negative)));
        if (plain && Min is { Sign: <= 0 } && Max is { } top && top.CompareTo(ExactDecimal.One) >= 0)
        {
            // 0 < d.ddde-n < 1.
            result = arena.Alt(result, EcmaRegex.Compile(arena, @"[1-9](?:\.[0-9]{1,20})?[eE]-0?[1-9][0-9]?", wholeText: true));
        }

        return result;

        Rx Leaf(ExactDecimal constant, ComparisonLeaf.Relation relation) => arena.Leaf(new ComparisonLeaf(constant, relation));
    }
}
