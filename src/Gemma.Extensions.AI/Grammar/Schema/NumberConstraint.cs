namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>A constraint on the value of a JSON number, independent of spelling, so that it can be intersected and negated.</summary>
/// <remarks>Readers see decimals or doubles: generated numbers satisfy the constraint either way (<see cref="NumberSpelling"/>).</remarks>
internal sealed record NumberConstraint
{
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

    /// <summary>The integers of OpenAPI's formats; null for others, which say nothing of numbers.</summary>
    public static NumberConstraint? OfFormat(string format) => format switch
    {
        "int8" => Between("-128", "127"),
        "int16" => Between("-32768", "32767"),
        "int32" => Between("-2147483648", "2147483647"),
        "int64" => Between("-9223372036854775808", "9223372036854775807"),
        "uint8" => Between("0", "255"),
        "uint16" => Between("0", "65535"),
        "uint32" => Between("0", "4294967295"),
        "uint64" => Between("0", "18446744073709551615"),
        _ => null,
    };

    private static NumberConstraint Between(string min, string max) => None with { Integer = true, Min = ExactDecimal.Parse(min), Max = ExactDecimal.Parse(max) };

    /// <summary>True if a value is allowed both exactly and as a double.</summary>
    public bool Allows(ExactDecimal v) =>
        (Integer is null || (Integer == v.IsInteger && (v.IsInteger || !double.IsInteger(v.ToDouble()))))
        && (Min is not { } min || IsBeyond(v.CompareTo(min), v.ToDouble().CompareTo(min.ToDouble()), MinExclusive))
        && (Max is not { } max || IsBeyond(max.CompareTo(v), max.ToDouble().CompareTo(v.ToDouble()), MaxExclusive))
        && Multiples.All(m => v.IsMultipleOf(m) && DoubleReader.SeesMultiple(v, m)) && !NotMultiples.Any(m => v.IsMultipleOf(m) || DoubleReader.SeesMultiple(v, m))
        && !NotValues.Any(x => x.ToDouble() == v.ToDouble())
        && (Values is null || Values.Any(x => x.Value == v));

    private static bool IsBeyond(int exactly, int asDouble, bool exclusive) => exclusive ? exactly > 0 && asDouble > 0 : exactly >= 0 && asDouble >= 0;

    /// <summary>The constraint with bounds and values rounded to doubles: two constraints without a common number may still share one for some reader.</summary>
    public NumberConstraint AsDoubles() => this with
    {
        Min = Min is { } min ? AsDouble(min) : null,
        Max = Max is { } max ? AsDouble(max) : null,
        Values = Values is null ? null : [.. Values.Select(static v => (AsDouble(v.Value), v.Text))],
        NotValues = [.. NotValues.Select(AsDouble)],
    };

    // Doubles distinguish all numbers of up to 15 digits.
    private static ExactDecimal AsDouble(ExactDecimal v) => v.Digits().All <= 15 || double.IsInfinity(v.ToDouble()) ? v : ExactDecimal.Of(v.ToDouble());

    /// <summary>The conjunction; null where it is plainly impossible.</summary>
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
        if (other.Min is { } min && (Min is not { } mine || IsTighter(DoubleReader.From(min, other.MinExclusive), DoubleReader.From(mine, MinExclusive), 1)))
        {
            result = result with { Min = min, MinExclusive = other.MinExclusive };
        }

        if (other.Max is { } max && (Max is not { } ours || IsTighter(DoubleReader.To(max, other.MaxExclusive), DoubleReader.To(ours, MaxExclusive), -1)))
        {
            result = result with { Max = max, MaxExclusive = other.MaxExclusive };
        }

        if (Values is not null || other.Values is not null)
        {
            List<(ExactDecimal, string)> values = [.. (Values ?? other.Values!).Where(v => result.Allows(v.Value) && other.Allows(v.Value) && Allows(v.Value))];
            return values.Count == 0 ? null : None with { Values = values, Integer = result.Integer };
        }

        return result.Min is { } lo && result.Max is { } hi && lo.CompareTo(hi) is var order && (order > 0 || (order == 0 && (result.MinExclusive || result.MaxExclusive))) ? null : result;
    }

    private static bool IsTighter((ExactDecimal Bound, bool Open) a, (ExactDecimal Bound, bool Open) b, int direction) =>
        a.Bound.CompareTo(b.Bound) * direction is var order && (order > 0 || (order == 0 && a.Open));

    /// <summary>The complement, as alternatives.</summary>
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
}
