using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>
/// Results of mathematics in TeX. They are made alike by the rules of Lewkowycz et al. (Solving quantitative reasoning problems with language models, 2022, appendix D), which lm-evaluation-harness
/// follows, and compared as texts; then as tuples, sets and matrices, part by part, and as values (<see cref="MathExpression"/>), where the harness asks a computer algebra system.
/// </summary>
internal static partial class MathText
{
    /// <summary>Longest text that is read as a result; longer ones are compared as they stand.</summary>
    private const int Longest = 400;

    /// <summary>Stands for a space that ends a command, while the others go.</summary>
    private const string Kept = "\u0001";

    private static readonly string[] s_dropped =
    [
        "\\left", "\\right", "\\$", "$", "\\%", "%", "^\\circ", "^{\\circ}", "{,}", "\\mathrm{th}", "\\ldots", "\\dots", "\"",
    ];

    /// <summary>Units and other words behind a number that nobody means by the result.</summary>
    private static readonly string[] s_units =
    [
        "square", "ways", "integers", "dollars", "mph", "inches", "ft", "hours", "km", "units", "sue", "points", "feet", "minutes", "digits", "cents", "degrees", "cm", "gm", "pounds", "meters", "meals", "edges",
        "students", "children", "tickets", "multiples",
    ];

    private static readonly Regex s_unit = new($@"(?<![A-Za-z\\])(?:{string.Join('|', s_units)})(?![A-Za-z])(?:\^[23]|\^\{{[23]\}})?", RegexOptions.CultureInvariant);

    /// <summary>True if a written result equals that of a solution: the content of its last <c>\boxed</c>, or the text itself.</summary>
    public static bool AreEqual(string written, string solution)
    {
        string a = Boxed(written) ?? written, b = Boxed(solution) ?? solution;
        string x = Normalize(a), y = Normalize(b);
        return x == y || (x.Length <= Longest && y.Length <= Longest && !HasWords(a) && !HasWords(b) && AreEqualParts(x, y));
    }

    private static bool AreEqualParts(string a, string b)
    {
        if (a == b)
        {
            return true;
        }

        // Parts in any order: unions, and values between commas or of both signs.
        foreach ((string[] parts, string[] others) in ((string[], string[])[])[(Split(a, "\\cup"), Split(b, "\\cup")), ([.. Split(a, ",").SelectMany(Signs)], [.. Split(b, ",").SelectMany(Signs)])])
        {
            if (parts.Length > 1 || others.Length > 1)
            {
                return AreEqualInAnyOrder(parts, others);
            }
        }

        if (Enclosed(a) is { } first && Enclosed(b) is { } second)
        {
            string[] parts = Split(first.Inner, first.Separator), others = Split(second.Inner, second.Separator);
            if (first.Open == "\\{" || parts.Length > 1)
            {
                return (first.Open, first.Close) == (second.Open, second.Close)
                    && (first.Open == "\\{" ? AreEqualInAnyOrder(parts, others) : parts.Length == others.Length && parts.Zip(others).All(pair => AreEqualParts(pair.First, pair.Second)));
            }
        }

        return MathExpression.AreEqual(a, b);
    }

    private static bool AreEqualInAnyOrder(string[] parts, string[] others)
    {
        List<string> left = [.. others];
        return parts.Length == others.Length && parts.All(part => left.FindIndex(other => AreEqualParts(part, other)) is >= 0 and int at && RemoveAt(at));

        bool RemoveAt(int at)
        {
            left.RemoveAt(at);
            return true;
        }
    }

    /// <summary>Both values of a text with one sign of plus or minus.</summary>
    private static string[] Signs(string text)
    {
        int at = text.IndexOf("\\pm", StringComparison.Ordinal);
        return at >= 0 && at == text.LastIndexOf("\\pm", StringComparison.Ordinal) ? [text[..at] + "+" + text[(at + 3)..], text[..at] + "-" + text[(at + 3)..]] : [text];
    }

    /// <summary>The inner text of the brackets, or of the matrix, that the whole text is.</summary>
    private static (string Open, string Close, string Inner, string Separator)? Enclosed(string text)
    {
        if (Matrix().Match(text) is { Success: true } matrix)
        {
            // The number of rows goes with the cells.
            return (matrix.Groups[1].Value, matrix.Groups[1].Value, matrix.Groups[2].Value.Replace("\\\\", "&", StringComparison.Ordinal) + "&" + matrix.Groups[2].Value.Split("\\\\").Length, "&");
        }

        foreach ((string open, string close) in ((string, string)[])[("\\{", "\\}"), ("(", ")"), ("(", "]"), ("[", ")"), ("[", "]")])
        {
            if (text.Length > open.Length + close.Length && text.StartsWith(open, StringComparison.Ordinal) && text.EndsWith(close, StringComparison.Ordinal))
            {
                string inner = text[open.Length..^close.Length];
                return Depths(inner) is { } depths && depths.All(depth => depth >= 0) ? (open, close, inner, ",") : null;
            }
        }

        return null;
    }

    private static string[] Split(string text, string separator)
    {
        List<string> parts = [];
        int start = 0;
        if (Depths(text) is { } depths)
        {
            for (int at = 0; (at = text.IndexOf(separator, at, StringComparison.Ordinal)) >= 0; at += separator.Length)
            {
                if (depths[at] == 0)
                {
                    parts.Add(text[start..at]);
                    start = at + separator.Length;
                }
            }
        }

        return [.. parts, text[start..]];
    }

    /// <summary>Number of brackets, of whatever kind (intervals mix them), that are open before each character; null where they do not balance.</summary>
    private static int[]? Depths(string text)
    {
        int[] depths = new int[text.Length];
        int depth = 0;
        for (int i = 0; i < text.Length; i++)
        {
            depths[i] = depth;
            depth += text[i] is '{' or '(' or '[' ? 1 : text[i] is '}' or ')' or ']' ? -1 : 0;
        }

        return depth == 0 ? depths : null;
    }

    private static string Normalize(string text)
    {
        text = text.Trim().TrimEnd('.');
        text = text[(text.LastIndexOf('=') + 1)..];
        text = Article().Replace(text.Replace("mbox", "text", StringComparison.Ordinal), "");
        text = And().Replace(text, ",");
        text = Spacing().Replace(text, "");
        text = s_dropped.Aggregate(text, static (current, part) => current.Replace(part, "", StringComparison.Ordinal));
        text = text.Replace("dfrac", "frac", StringComparison.Ordinal).Replace("tfrac", "frac", StringComparison.Ordinal).Replace("cfrac", "frac", StringComparison.Ordinal);
        text = Words().Replace(text, static match => s_unit.Replace(match.Groups[1].Value, "") is var left && string.IsNullOrWhiteSpace(left) ? "" : left + match.Groups[2].Value);
        text = s_unit.Replace(text, "");
        text = Spaces().Replace(BehindCommand().Replace(text, Kept), "").Replace(Kept, " ", StringComparison.Ordinal);
        text = ShortFraction().Replace(text, "\\frac{$1}{$2}");
        text = ShortRoot().Replace(text, "\\sqrt{$1}");
        return Thousands().IsMatch(text) ? text.Replace(",", "", StringComparison.Ordinal) : text;
    }

    /// <summary>True where the letters of a text are words, and no product of variables.</summary>
    private static bool HasWords(string text) => Word().IsMatch(s_unit.Replace(Words().Replace(text, static match => s_unit.Replace(match.Groups[1].Value, "") is { } left && left.Any(char.IsLetter) ? "words" : ""), "").Replace("matrix}", "}", StringComparison.Ordinal));

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

    [GeneratedRegex(@"\\(?:text|textbf|mathrm|overline)\{([^{}]*)\}(\^[23]|\^\{[23]\})?")]
    private static partial Regex Words();

    [GeneratedRegex(@"(?<![\\A-Za-z])[A-Za-z]{4,}")]
    private static partial Regex Word();

    [GeneratedRegex(@"^\s*(?:an?|the)\s+(?=[a-z]{2})")]
    private static partial Regex Article();

    [GeneratedRegex(@",?\s*(?:\\text\{\s*and\s*\}|(?<=[\s\d])and(?=\s))")]
    private static partial Regex And();

    [GeneratedRegex(@"\\frac([0-9a-zA-Z])([0-9a-zA-Z])")]
    private static partial Regex ShortFraction();

    [GeneratedRegex(@"\\sqrt([0-9a-zA-Z])")]
    private static partial Regex ShortRoot();

    [GeneratedRegex(@"^-?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?$")]
    private static partial Regex Thousands();

    [GeneratedRegex(@"^\\begin\{([pbvB]?matrix)\}(.*)\\end\{\1\}$")]
    private static partial Regex Matrix();

    [GeneratedRegex(@"(?<!\\)\\[ !,;:]")]
    private static partial Regex Spacing();

    [GeneratedRegex(@"(?<=\\[A-Za-z]+)\s+(?=[A-Za-z])")]
    private static partial Regex BehindCommand();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();
}
