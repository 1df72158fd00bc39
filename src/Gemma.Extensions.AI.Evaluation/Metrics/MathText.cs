using System.Globalization;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>
/// Results of mathematics in TeX, compared as texts without what does not change them (signs around, spacing, names of fractions), and as numbers where both are such. Harnesses with a
/// computer algebra system find a few more that are equal.
/// </summary>
internal static partial class MathText
{
    private static readonly string[] s_dropped = ["\\left", "\\right", "\\!", "\\,", "\\;", "\\ ", "\\$", "$", "\\%", "%", "^\\circ", "^{\\circ}", "{,}"];

    /// <summary>True if a written result equals that of a solution: the content of its last <c>\boxed</c>, or the text itself.</summary>
    public static bool AreEqual(string written, string solution)
    {
        string a = Normalize(Boxed(written) ?? written), b = Normalize(Boxed(solution) ?? solution);
        return a == b || (Number(a) is { } x && Number(b) is { } y && x == y);
    }

    private static string Normalize(string text)
    {
        text = text.Trim().TrimEnd('.');
        text = s_dropped.Aggregate(text, static (current, part) => current.Replace(part, "", StringComparison.Ordinal));
        text = text.Replace("dfrac", "frac", StringComparison.Ordinal).Replace("tfrac", "frac", StringComparison.Ordinal);
        text = Words().Replace(text, "$1");
        text = ShortFraction().Replace(text, "\\frac{$1}{$2}");
        return Spaces().Replace(text, "");
    }

    private static decimal? Number(string text) =>
        decimal.TryParse(text, NumberStyles.Float | NumberStyles.AllowThousands, CultureInfo.InvariantCulture, out decimal number) ? number : null;

    /// <summary>Content of the last <c>\boxed</c>, braces balanced; null if there is none.</summary>
    private static string? Boxed(string text)
    {
        const string Box = "\\boxed{";
        int start = text.LastIndexOf(Box, StringComparison.Ordinal);
        if (start < 0)
        {
            return null;
        }

        start += Box.Length;
        int depth = 1;
        for (int i = start; i < text.Length; i++)
        {
            depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
            if (depth == 0)
            {
                return text[start..i];
            }
        }

        return null;
    }

    [GeneratedRegex(@"\\(?:text|textbf|mathrm|mbox)\{([^{}]*)\}")]
    private static partial Regex Words();

    [GeneratedRegex(@"\\frac([0-9a-zA-Z])([0-9a-zA-Z])")]
    private static partial Regex ShortFraction();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
