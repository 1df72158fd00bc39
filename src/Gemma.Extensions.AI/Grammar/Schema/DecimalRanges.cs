using System.Text;

namespace Gemma.Extensions.AI.Grammar.Schema;

/// <summary>Regular expressions of whole numbers up to a bound, for places where numbers are text: keys of dictionaries, exponents.</summary>
internal static class DecimalRanges
{
    /// <summary>The whole numbers from 1 to <paramref name="max"/>, a plain decimal of at least 1, without leading zeros.</summary>
    public static string OneUpTo(string max)
    {
        StringBuilder pattern = new("(?:");
        if (max.Length > 1)
        {
            pattern.Append("[1-9]").Append(max.Length == 2 ? "" : $"[0-9]{{0,{max.Length - 2}}}").Append('|');
        }

        // As many digits: the same ones up to a place with a smaller one, and anything after it.
        for (int i = 0; i < max.Length; i++)
        {
            char least = i == 0 ? '1' : '0';
            if (max[i] > least)
            {
                pattern.Append(max.AsSpan(0, i)).Append('[').Append(least).Append('-').Append((char)(max[i] - 1)).Append(']');
                pattern.Append(i + 1 == max.Length ? "" : $"[0-9]{{{max.Length - i - 1}}}").Append('|');
            }
        }

        return pattern.Append(max).Append(')').ToString();
    }

    /// <summary>The whole numbers from <paramref name="min"/>, 0 or less, to <paramref name="max"/>.</summary>
    public static string Between(string min, string max) => $"(?:0|{OneUpTo(max)}{(min == "0" ? "" : "|-" + OneUpTo(min[1..]))})";
}
