using System.Globalization;
using System.Numerics;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>An exact decimal number: mantissa / 10^scale, without trailing zeros.</summary>
internal readonly partial record struct ExactDecimal : IComparable<ExactDecimal>
{
    public static readonly ExactDecimal Zero = new(0, 0);

    public static readonly ExactDecimal One = new(1, 0);

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

    /// <summary>Reads a JSON number from text that may be anything.</summary>
    public static bool TryParse(string text, out ExactDecimal value)
    {
        bool isNumber = JsonNumber().IsMatch(text);
        value = isNumber ? Parse(text) : Zero;
        return isNumber;
    }

    [GeneratedRegex("^-?(?:0|[1-9][0-9]*)(?:[.][0-9]+)?(?:[eE][+-]?[0-9]+)?\\z")]
    private static partial System.Text.RegularExpressions.Regex JsonNumber();

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

    /// <summary>A number that a double holds, exactly.</summary>
    public static ExactDecimal Of(double value)
    {
        long bits = BitConverter.DoubleToInt64Bits(Math.Abs(value));
        int exponent = (int)(bits >> 52);
        BigInteger mantissa = exponent == 0 ? bits : (bits & ((1L << 52) - 1)) | (1L << 52);
        return Of(value < 0 ? -mantissa : mantissa, Math.Max(exponent, 1) - 1075);
    }

    /// <summary>An integer times a power of two.</summary>
    public static ExactDecimal Of(BigInteger factor, int power) =>
        power >= 0 ? new ExactDecimal(factor << power, 0) : new ExactDecimal(factor * BigInteger.Pow(5, -power), -power);

    /// <summary>An integer over a power of ten.</summary>
    public static ExactDecimal OverPowerOfTen(BigInteger factor, int power) => new(factor, power);

    /// <summary>The double that this number is read as; infinite beyond the largest.</summary>
    public double ToDouble() => double.Parse(ToString(), CultureInfo.InvariantCulture);

    public static ExactDecimal operator -(ExactDecimal a) => new(-a.Mantissa, a.Scale);

    /// <summary>The nearest number below with at most so many digits after the point.</summary>
    public ExactDecimal Floor(int places)
    {
        if (Scale <= places)
        {
            return this;
        }

        BigInteger quotient = BigInteger.DivRem(Mantissa, BigInteger.Pow(10, Scale - places), out BigInteger rest);
        return new ExactDecimal(rest.Sign < 0 ? quotient - 1 : quotient, places);
    }

    /// <summary>The digits of the plain spelling, before the point and in all.</summary>
    public (int Whole, int All) Digits()
    {
        int digits = BigInteger.Abs(Mantissa).ToString(CultureInfo.InvariantCulture).Length;
        return (Math.Max(1, digits - Scale), Math.Max(digits, Scale + 1));
    }

    /// <summary>The plain decimal spelling.</summary>
    public override string ToString()
    {
        string digits = BigInteger.Abs(Mantissa).ToString(CultureInfo.InvariantCulture).PadLeft(Scale + 1, '0');
        return (Mantissa.Sign < 0 ? "-" : "") + (Scale == 0 ? digits : digits[..^Scale] + "." + digits[^Scale..]);
    }
}
