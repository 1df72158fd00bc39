using System.Numerics;
using Fractions;

namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>
/// Values of terms in TeX: numbers, letters, sums, products, fractions, powers, roots, logarithms, sine, cosine, tangent, absolute values. Two terms are equal where their values are, at three points
/// with positive letters and at three more with negative ones, as far as both have a real value there: of rational functions exactly (which polynomials that are not equal pass at arbitrary points with
/// a probability of about nothing), else within 1e-12 of the value.
/// </summary>
internal sealed class MathExpression
{
    private const int PositivePoints = 3, Points = 6, Deepest = 40, LargestPower = 64, MostBits = 4096;
    private const double Tolerance = 1e-12;
    private static readonly int[] s_primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71];
    private readonly string _text;
    private readonly int _point;
    private int _at, _depth;

    private MathExpression(string text, int point) => (_text, _point) = (text, point);

    /// <summary>True where two terms without white space have the same value; false where one is no term.</summary>
    public static bool AreEqual(string a, string b)
    {
        for (int point = 0; point < Points; point++)
        {
            bool areTerms = TryEvaluate(a, point, out Number x) & TryEvaluate(b, point, out Number y);
            if (point < PositivePoints ? !areTerms || !AreClose(x, y) : areTerms && x.IsReal && y.IsReal && !AreClose(x, y))
            {
                return false;
            }
        }

        return true;
    }

    private static bool TryEvaluate(string text, int point, out Number value)
    {
        try
        {
            MathExpression expression = new(text, point);
            value = expression.Sum();
            return expression._at == text.Length;
        }
        catch (Exception e) when (e is FormatException or DivideByZeroException or OverflowException)
        {
            value = default;
            return false;
        }
    }

    private static bool AreClose(Number x, Number y) => x.Exact is { } a && y.Exact is { } b ? (a - b).IsZero
        : double.IsFinite(x.Value) && double.IsFinite(y.Value) && Math.Abs(x.Value - y.Value) <= Tolerance * Math.Max(1, Math.Max(Math.Abs(x.Value), Math.Abs(y.Value)));

    private Number Sum()
    {
        if (++_depth > Deepest)
        {
            throw new FormatException("It nests too deep.");
        }

        Number sum = Product();
        while (_at < _text.Length && _text[_at] is '+' or '-')
        {
            bool plus = _text[_at++] == '+';
            Number next = Product();
            sum = Number.Of(sum, next, plus ? static (x, y) => x + y : static (x, y) => x - y, plus ? sum.Value + next.Value : sum.Value - next.Value);
        }

        _depth--;
        return sum;
    }

    private Number Product()
    {
        Number product = Signed();
        while (_at < _text.Length)
        {
            if (Take("/") || Take("\\div"))
            {
                product = Quotient(product, Signed());
            }
            else if (Take("*") || Take("\\cdot") || Take("\\times"))
            {
                product = Times(product, Signed());
            }
            else if (Take(" "))
            {
                // It ended a command.
            }
            else if (_text[_at] is not ('+' or '-' or ')' or ']' or '}' or '|'))
            {
                product = Times(product, Power());
            }
            else
            {
                break;
            }
        }

        return product;
    }

    private Number Signed()
    {
        bool minus = false;
        while (_at < _text.Length && _text[_at] is '+' or '-')
        {
            minus ^= _text[_at++] == '-';
        }

        Number value = Power();
        return minus ? Times(Number.Of(-1), value) : value;
    }

    private Number Power()
    {
        Number value = Atom();
        return Take("^") ? Raised(value, Argument()) : value;
    }

    private Number Atom()
    {
        if (_at == _text.Length)
        {
            throw new FormatException("It ends too early.");
        }

        char c = _text[_at];
        if (char.IsAsciiDigit(c) || c == '.')
        {
            return Numeral();
        }

        if (Take("\\frac"))
        {
            return Quotient(Argument(), Argument());
        }

        if (Take("\\sqrt"))
        {
            Number degree = Number.Of(2);
            if (Take("["))
            {
                degree = Sum();
                Require("]");
            }

            return Root(Argument(), degree);
        }

        foreach ((string open, string close) in ((string, string)[])[("(", ")"), ("[", "]"), ("{", "}"), ("|", "|")])
        {
            if (Take(open))
            {
                Number inner = Sum();
                Require(close);
                return open == "|" ? Number.Of(inner, inner, static (x, _) => x.Abs(), Math.Abs(inner.Value)) : inner;
            }
        }

        return Function() ?? Letter();
    }

    /// <summary>A group in braces, or one character.</summary>
    private Number Argument()
    {
        if (_at < _text.Length && char.IsAsciiDigit(_text[_at]))
        {
            return Number.Of(_text[_at++] - '0');
        }

        return Take("-") ? Times(Number.Of(-1), Argument()) : Atom();
    }

    /// <summary>A number, and the fraction right behind a whole one: 3\frac{1}{2} is a mixed number.</summary>
    private Number Numeral()
    {
        int start = _at;
        while (_at < _text.Length && char.IsAsciiDigit(_text[_at]))
        {
            _at++;
        }

        int whole = _at;
        if (_at < _text.Length && _text[_at] == '.')
        {
            _at++;
            while (_at < _text.Length && char.IsAsciiDigit(_text[_at]))
            {
                _at++;
            }
        }

        string digits = string.Concat(_text[start..whole], _text[Math.Min(whole + 1, _at).._at]);
        if (digits.Length == 0 || (_at < _text.Length && _text[_at] == '_'))
        {
            throw new FormatException("A number is expected."); // also not those of other bases
        }

        Number number = Number.Of(new Fraction(BigInteger.Parse(digits, System.Globalization.CultureInfo.InvariantCulture), BigInteger.Pow(10, Math.Max(0, _at - whole - 1))));
        if (whole == _at && _text.AsSpan(_at).StartsWith("\\frac{") && _at + 6 < _text.Length && char.IsAsciiDigit(_text[_at + 6]))
        {
            Number part = Atom();
            number = Number.Of(number, part, static (x, y) => x + y, number.Value + part.Value);
        }

        return number;
    }

    private Number? Function()
    {
        foreach ((string name, Func<double, double> function) in ((string, Func<double, double>)[])[("\\sin", Math.Sin), ("\\cos", Math.Cos), ("\\tan", Math.Tan), ("\\ln", Math.Log)])
        {
            if (Take(name))
            {
                return Number.Of(function(Power().Value));
            }
        }

        if (Take("\\log"))
        {
            double scale = Take("_") ? Argument().Value : 10;
            return Number.Of(Math.Log(Power().Value) / Math.Log(scale));
        }

        return Take("\\pi") ? Number.Of(Math.PI) : null;
    }

    /// <summary>A letter, or a command that stands for one, with its index: its value is that of the point.</summary>
    private Number Letter()
    {
        int start = _at;
        if (_text[_at] == '\\')
        {
            do
            {
                _at++;
            }
            while (_at < _text.Length && char.IsAsciiLetter(_text[_at]));
        }
        else if (char.IsAsciiLetter(_text[_at]))
        {
            _at++;
        }

        if (_at - start == 0 || (_text[start] == '\\' && _at - start == 1))
        {
            throw new FormatException($"'{_text[start]}' is not expected.");
        }

        if (Take("_"))
        {
            int end = _at < _text.Length && _text[_at] == '{' ? _text.IndexOf('}', _at) : _at;
            _at = end >= 0 && end < _text.Length ? end + 1 : throw new FormatException("An index is expected.");
        }

        int hash = 7;
        foreach (char c in _text.AsSpan(start, _at - start))
        {
            hash = unchecked((hash * 31) + c) & 0xffffff;
        }

        Fraction value = new(s_primes[(hash + (7 * _point)) % s_primes.Length] + (hash % 9973), s_primes[(hash + _point) % 13] + 1);
        return Number.Of(IsNegative(hash) ? -value : value);
    }

    /// <summary>All letters are negative at the first of the points behind the positive ones, and some at each of the others.</summary>
    private bool IsNegative(int letter) => _point >= PositivePoints && (_point == PositivePoints || ((letter >> (_point - PositivePoints - 1)) & 1) != 0);

    private static Number Times(Number a, Number b) => Number.Of(a, b, static (x, y) => x * y, a.Value * b.Value);

    private static Number Quotient(Number a, Number b) => b.Exact is { IsZero: true } ? throw new DivideByZeroException() : Number.Of(a, b, static (x, y) => x / y, a.Value / b.Value);

    private static Number Raised(Number a, Number power)
    {
        if (a.Exact is { } value && power.Exact is { } exponent && exponent.Denominator.IsOne && BigInteger.Abs(exponent.Numerator) <= LargestPower && !(value.IsZero && exponent.IsNegative))
        {
            return Number.Of(Fraction.Pow(value, (int)exponent.Numerator));
        }

        return power.Exact is { Denominator: var root, Numerator.IsOne: true } && root > 1 && root <= LargestPower ? Root(a, Number.Of((int)root)) : Number.Of(Math.Pow(a.Value, power.Value));
    }

    private static Number Root(Number a, Number degree)
    {
        if (a.Exact is { IsNegative: false } value && degree.Exact is { } whole && whole == new Fraction(2) && Square(value.Numerator) is { } numerator && Square(value.Denominator) is { } denominator)
        {
            return Number.Of(new Fraction(numerator, denominator));
        }

        bool isOdd = degree.Exact is { Denominator.IsOne: true } odd && !odd.Numerator.IsEven;
        return Number.Of(a.Value < 0 && isOdd ? -Math.Pow(-a.Value, 1 / degree.Value) : Math.Pow(a.Value, 1 / degree.Value));

        static BigInteger? Square(BigInteger number)
        {
            BigInteger root = (BigInteger)Math.Sqrt((double)number);
            return number.GetBitLength() <= 100 && root * root == number ? root : null;
        }
    }

    private bool Take(string text)
    {
        // A command ends where no letter follows.
        bool found = _text.AsSpan(_at).StartsWith(text, StringComparison.Ordinal) && (text[0] != '\\' || _at + text.Length == _text.Length || !char.IsAsciiLetter(_text[_at + text.Length]));
        _at += found ? text.Length : 0;
        _at += found && text[0] == '\\' && _at < _text.Length && _text[_at] == ' ' ? 1 : 0;
        return found;
    }

    private void Require(string text)
    {
        if (!Take(text))
        {
            throw new FormatException($"'{text}' is expected.");
        }
    }

    /// <summary>A value, exactly where it is rational and of no more digits than any result has.</summary>
    private readonly record struct Number(Fraction? Exact, double Value)
    {
        public bool IsReal => Exact is not null || double.IsFinite(Value);

        public static Number Of(Fraction exact) => new(exact.Numerator.GetBitLength() + exact.Denominator.GetBitLength() <= MostBits ? exact : null, exact.ToDouble());

        public static Number Of(int whole) => Of(new Fraction(whole));

        public static Number Of(double value) => new(null, value);

        public static Number Of(Number a, Number b, Func<Fraction, Fraction, Fraction> exact, double value) => a.Exact is { } x && b.Exact is { } y ? Of(exact(x, y)) : Of(value);
    }
}
