using Gemma.Extensions.AI.Grammar.Regex;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>Unsigned plain decimals in a relation to a constant.</summary>
internal sealed class ComparisonLeaf : RegexLeaf
{
    private readonly string _whole;
    private readonly string _fraction;
    private readonly Relation _relation;
    private readonly int _digits;     // Digits of the whole part so far (capped one beyond the constant's), or of the fraction.
    private readonly int _comparison; // The digits so far compared with the constant's.
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
                _ => order >= 0,
            };
        }
    }

    public override bool Finite => false;

    /// <summary>True if no further digits can bring the number back to the right side.</summary>
    private bool IsDecided => _relation is Relation.Less or Relation.LessOrEqual
        ? (_inFraction || _digits >= _whole.Length) && Resolve(_inFraction) > 0
        : _inFraction && _comparison < 0;

    public override RegexLeaf? Derive(int c) => Next(c) is { IsDecided: false } next ? next : null;

    private ComparisonLeaf? Next(int c)
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

    public override bool Equals(RegexLeaf? other) => other is ComparisonLeaf o && _digits == o._digits && _comparison == o._comparison && _inFraction == o._inFraction
        && _relation == o._relation && _whole == o._whole && _fraction == o._fraction;

    public override int GetHashCode() => HashCode.Combine(_whole, _fraction, _relation, _digits, _comparison, _inFraction);

    private int Resolve(bool inFraction) => inFraction ? _comparison : Resolve();

    private int Resolve() => _digits < _whole.Length ? -1 : _digits > _whole.Length ? 1 : _comparison;

    public enum Relation
    {
        Less,
        LessOrEqual,
        Greater,
        GreaterOrEqual,
    }
}

/// <summary>Unsigned plain decimals that are a multiple of a number.</summary>
internal sealed class MultipleLeaf : RegexLeaf
{
    private readonly long _divisor;
    private readonly int _scale;
    private readonly long _remainder;
    private readonly int _places; // -1 before the point, then the digits after it, up to the scale.

    public MultipleLeaf(ExactDecimal divisor) => (_divisor, _scale, _places) = ((long)divisor.Mantissa, divisor.Scale, -1);

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

    /// <summary>True if the divisor's remainders fit the arithmetic.</summary>
    public static bool CanDivideBy(ExactDecimal divisor) => divisor.Mantissa <= 100_000_000_000_000_000 && divisor.Scale <= 30;

    public override RegexLeaf? Derive(int c)
    {
        if (c == '.')
        {
            return _places < 0 && new MultipleLeaf(this, _remainder, 0) is var first && first.CanEnd() ? first : null;
        }

        if (c is < '0' or > '9' || (_places == _scale && c != '0'))
        {
            return null;
        }

        if (_places == _scale)
        {
            return this;
        }

        MultipleLeaf next = new(this, ((_remainder * 10) + (c - '0')) % _divisor, _places < 0 ? -1 : _places + 1);
        return next.CanEnd() ? next : null;
    }

    /// <summary>True if further digits after the point can bring the remainder to 0: the next multiple is within their reach.</summary>
    private bool CanEnd()
    {
        if (_places < 0)
        {
            return true;
        }

        Int128 span = 1;
        for (int i = _places; i < _scale && span < _divisor; i++)
        {
            span *= 10;
        }

        Int128 rest = _remainder * span % _divisor;
        return span >= _divisor || rest == 0 || _divisor - rest < span;
    }

    public override void CollectAlphabet(HashSet<int> chars) => DecimalAlphabet.Collect(chars);

    public override bool Equals(RegexLeaf? other) => other is MultipleLeaf o && _remainder == o._remainder && _places == o._places && _divisor == o._divisor && _scale == o._scale;

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
