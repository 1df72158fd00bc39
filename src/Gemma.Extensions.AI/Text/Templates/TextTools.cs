using System.Globalization;

namespace Gemma.Extensions.AI.Text.Templates;

/// <summary>String operations of filters and methods, which keep marks.</summary>
internal static class TextTools
{
    /// <param name="context">The evaluation.</param>
    /// <param name="text">What to trim.</param>
    /// <param name="characters">The characters to take away; null: white space.</param>
    /// <param name="start">Whether the beginning is trimmed.</param>
    /// <param name="end">Whether the end is trimmed.</param>
    public static TemplateText Trim(TemplateContext context, TemplateText text, string? characters, bool start, bool end)
    {
        context.Spend(text.Length);
        int first = 0;
        int last = text.Length;
        while (start && first < last && Goes(text.Value[first]))
        {
            first++;
        }

        while (end && last > first && Goes(text.Value[last - 1]))
        {
            last--;
        }

        return text.Slice(first, last - first);

        bool Goes(char c) => characters is null ? IsSpace(c) : characters.Contains(c);
    }

    /// <summary>Without white space at both ends, as templates trim.</summary>
    public static string Trim(string text)
    {
        int first = 0, last = text.Length;
        while (first < last && IsSpace(text[first]))
        {
            first++;
        }

        while (last > first && IsSpace(text[last - 1]))
        {
            last--;
        }

        return text[first..last];
    }

    /// <summary>Python also takes the separators of files, groups, records and units for white space.</summary>
    private static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    /// <summary>The parts between separators, or between runs of white space where there is none; at most <paramref name="most"/> cuts where it is not negative.</summary>
    public static List<object?> Split(TemplateContext context, TemplateText text, string? separator, long most, bool fromEnd)
    {
        context.Spend(4L * text.Length);
        if (separator is { Length: 0 })
        {
            throw context.Failed("the separator of 'split' is empty");
        }

        if (separator is null)
        {
            // White space at the ends separates nothing; behind the last cut that is wanted it stays.
            text = Trim(context, text, null, start: !fromEnd || most < 0, end: fromEnd || most < 0);
        }

        List<(int Start, int End)> cuts = separator is null ? Spaces(text.Value) : Occurrences(text.Value, separator);
        if (most >= 0 && cuts.Count > most)
        {
            cuts = fromEnd ? cuts[^(int)most..] : cuts[..(int)most];
        }

        List<object?> parts = [];
        int at = 0;
        foreach ((int start, int end) in cuts)
        {
            parts.Add(text.Slice(at, start - at));
            at = end;
        }

        parts.Add(text.Slice(at, text.Length - at));
        if (separator is null)
        {
            parts.RemoveAll(static part => ((TemplateText)part!).Length == 0);
        }

        return parts;
    }

    private static List<(int Start, int End)> Spaces(string text)
    {
        List<(int, int)> runs = [];
        for (int at = 0; at < text.Length; at++)
        {
            int start = at;
            while (at < text.Length && char.IsWhiteSpace(text[at]))
            {
                at++;
            }

            if (at > start)
            {
                runs.Add((start, at));
            }
        }

        return runs;
    }

    private static List<(int Start, int End)> Occurrences(string text, string part)
    {
        List<(int, int)> found = [];
        for (int at = text.IndexOf(part, StringComparison.Ordinal); at >= 0; at = text.IndexOf(part, at + part.Length, StringComparison.Ordinal))
        {
            found.Add((at, at + part.Length));
        }

        return found;
    }

    public static List<object?> Lines(TemplateContext context, TemplateText text)
    {
        context.Spend(4L * text.Length);
        List<object?> lines = [];
        int start = 0;
        for (int at = 0; at < text.Length; at++)
        {
            if (text.Value[at] is '\n' or '\r' or '\v' or '\f' or '\x1c' or '\x1d' or '\x1e' or '\x85' or '\u2028' or '\u2029')
            {
                lines.Add(text.Slice(start, at - start));
                at += text.Value[at] == '\r' && at + 1 < text.Length && text.Value[at + 1] == '\n' ? 1 : 0;
                start = at + 1;
            }
        }

        if (start < text.Length)
        {
            lines.Add(text.Slice(start, text.Length - start));
        }

        return lines;
    }

    public static TemplateText Replace(TemplateContext context, TemplateText text, TemplateText old, TemplateText with, long most)
    {
        context.Spend(text.Length);
        List<(int Start, int End)> cuts = old.Length > 0 ? Occurrences(text.Value, old.Value) : [.. Enumerable.Range(0, text.Length + 1).Select(static at => (at, at))];
        cuts = most >= 0 && cuts.Count > most ? cuts[..(int)most] : cuts;
        context.Spend(cuts.Count * (long)(with.Length + 1));
        TemplateTextBuilder result = new();
        int at = 0;
        foreach ((int start, int end) in cuts)
        {
            result.Append(text.Slice(at, start - at));
            result.Append(with);
            at = end;
        }

        result.Append(text.Slice(at, text.Length - at));
        return result.ToText();
    }

    public static TemplateText Join(TemplateContext context, List<TemplateText> parts, TemplateText separator)
    {
        TemplateTextBuilder joined = new();
        for (int i = 0; i < parts.Count; i++)
        {
            context.Spend(1L + parts[i].Length + separator.Length);
            joined.Append(i == 0 ? TemplateText.Empty : separator);
            joined.Append(parts[i]);
        }

        return joined.ToText();
    }

    public static long Count(TemplateContext context, string text, string part)
    {
        context.Spend(text.Length);
        return part.Length == 0 ? text.Length + 1 : Occurrences(text, part).Count;
    }

    public static TemplateText Upper(TemplateContext context, TemplateText text) => Respell(context, text, text.Value.ToUpperInvariant());

    public static TemplateText Lower(TemplateContext context, TemplateText text) => Respell(context, text, text.Value.ToLowerInvariant());

    public static TemplateText Capitalize(TemplateContext context, TemplateText text) =>
        Respell(context, text, text.Length == 0 ? "" : char.ToUpperInvariant(text.Value[0]) + text.Value[1..].ToLowerInvariant());

    public static TemplateText Title(TemplateContext context, TemplateText text)
    {
        char[] letters = text.Value.ToCharArray();
        for (int at = 0; at < letters.Length; at++)
        {
            bool inside = at > 0 && char.IsLetter(letters[at - 1]);
            letters[at] = inside ? char.ToLower(letters[at], CultureInfo.InvariantCulture) : char.ToUpper(letters[at], CultureInfo.InvariantCulture);
        }

        return Respell(context, text, new string(letters));
    }

    private static TemplateText Respell(TemplateContext context, TemplateText text, string other)
    {
        context.Spend(text.Length);
        return text.Respell(other);
    }
}
