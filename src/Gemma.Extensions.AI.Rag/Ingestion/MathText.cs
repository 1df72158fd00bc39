using System.Text;
using AngleSharp.Dom;

namespace Gemma.Extensions.AI.Rag.Ingestion;

/// <summary>Presentation MathML as a line of text: a fraction is a/b and a power a^b, since letters without their places would say something else.</summary>
internal static class MathText
{
    /// <summary>The formula; its alternative text or its source in TeX where it has no presentation.</summary>
    public static string Of(IElement math) =>
        Children(math) is { Length: > 0 } text ? text
        : math.GetAttribute("alttext") ?? math.QuerySelector("annotation")?.TextContent.Trim() ?? "";

    private static string Text(IElement element)
    {
        IElement[] parts = [.. element.Children];
        return element.LocalName switch
        {
            "annotation" or "annotation-xml" or "mphantom" or "none" or "mprescripts" or "maligngroup" or "malignmark" => "",
            "mi" or "mn" or "mo" or "ms" => Visible(element.TextContent),
            "mtext" => Visible(element.TextContent),
            "mspace" => " ",
            "mfrac" when parts is [var over, var under] => $"{Group(over)}/{Group(under)}",
            "msup" when parts is [var of, var up] => Raised(of, up),
            "mover" when parts is [var of, var up] => Raised(of, up),
            "msub" or "munder" when parts is [var of, var down] => $"{Text(of)}_{Group(down)}",
            "msubsup" or "munderover" when parts is [var of, var down, var up] => $"{Text(of)}_{Group(down)}^{Group(up)}",
            "msqrt" => $"√{Group(Children(element))}",
            "mroot" when parts is [var of, var index] => $"{Group(index)}√{Group(of)}",
            "mfenced" => $"{element.GetAttribute("open") ?? "("}{string.Join(", ", parts.Select(Text))}{element.GetAttribute("close") ?? ")"}",
            "mtable" => $"[{string.Join("; ", parts.Select(row => string.Join(", ", row.Children.Select(Text))))}]",
            _ => parts.Length == 0 ? Visible(element.TextContent) : Children(element),
        };
    }

    /// <summary>The parts one after the other. Names of several letters keep away from what stands beside them.</summary>
    private static string Children(IElement element)
    {
        StringBuilder text = new();
        string before = "";
        foreach (string part in element.Children.Select(Text).Where(p => p.Length > 0))
        {
            if (before.Length > 0 && char.IsLetterOrDigit(before[^1]) && char.IsLetterOrDigit(part[0]) && (IsName(before) || IsName(part) || before.AsSpan().ContainsAny("^_/") || (char.IsDigit(before[^1]) && char.IsDigit(part[0]))))
            {
                text.Append(' ');
            }

            text.Append(part);
            before = part;
        }

        return text.ToString().Trim();
    }

    private static bool IsName(string part) => part.Length > 1 && part.All(char.IsLetter);

    /// <summary>An accent stands behind its letter.</summary>
    private static string Raised(IElement of, IElement up) =>
        Text(up) is [var accent] && !char.IsLetterOrDigit(accent) && accent is not ('*' or '+' or '-' or '−' or '∞' or '†') ? Text(of) + accent : $"{Text(of)}^{Group(up)}";

    private static string Group(IElement element) => Group(Text(element));

    private static string Group(string text) => text.Length > 1 && !text.All(char.IsLetterOrDigit) ? $"({text})" : text;

    /// <summary>Without white space at the ends, and without invisible operators.</summary>
    private static string Visible(string text) =>
        string.Join(' ', text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)).Replace("\u2061", "", StringComparison.Ordinal).Replace("\u2062", "", StringComparison.Ordinal)
            .Replace("\u2063", ",", StringComparison.Ordinal).Replace("\u2064", "", StringComparison.Ordinal);
}
