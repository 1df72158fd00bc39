using System.Text;
using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Evaluation.Data;

/// <summary>Comma-separated values as RFC 4180 has them: a header, fields in quotes where they hold commas, quotes (doubled) or line ends. Every value is a text.</summary>
internal static class CsvRows
{
    /// <exception cref="FormatException">A row has another number of fields than the header, or a quote is not closed.</exception>
    public static IEnumerable<JsonObject> Read(string text, string file)
    {
        string[]? header = null;
        foreach ((int line, List<string> fields) in Records(text, file))
        {
            if (header is null)
            {
                header = [.. fields];
                if (header.Distinct(StringComparer.Ordinal).Count() < header.Length)
                {
                    throw new FormatException($"{file}: the header names a column twice.");
                }

                continue;
            }

            if (fields.Count != header.Length)
            {
                throw new FormatException($"{file}, line {line}: {fields.Count} fields, expected {header.Length} as in the header.");
            }

            JsonObject row = [];
            for (int i = 0; i < header.Length; i++)
            {
                row[header[i]] = fields[i];
            }

            yield return row;
        }
    }

    private static IEnumerable<(int Line, List<string> Fields)> Records(string text, string file)
    {
        int at = text.StartsWith('\uFEFF') ? 1 : 0;
        int line = 1;
        while (at < text.Length)
        {
            int first = line;
            List<string> fields = [];
            while (true)
            {
                fields.Add(Field(text, file, ref at, ref line));
                if (at < text.Length && text[at] == ',')
                {
                    at++;
                    continue;
                }

                break;
            }

            at += at < text.Length && text[at] == '\r' ? 1 : 0;
            at += at < text.Length && text[at] == '\n' ? 1 : 0;
            line++;
            if (fields is not [""])
            {
                yield return (first, fields);
            }
        }
    }

    /// <summary>A field, up to the comma or line end behind it.</summary>
    private static string Field(string text, string file, ref int at, ref int line)
    {
        if (at >= text.Length || text[at] != '"')
        {
            int end = text.AsSpan(at).IndexOfAny(',', '\r', '\n') is var length and >= 0 ? at + length : text.Length;
            string plain = text[at..end];
            at = end;
            return plain;
        }

        int opened = line;
        StringBuilder field = new();
        for (at++; at < text.Length; at++)
        {
            if (text[at] != '"')
            {
                line += text[at] == '\n' ? 1 : 0;
                field.Append(text[at]);
            }
            else if (at + 1 < text.Length && text[at + 1] == '"')
            {
                field.Append('"');
                at++;
            }
            else
            {
                at++;
                return at == text.Length || text[at] is ',' or '\r' or '\n' ? field.ToString()
                    : throw new FormatException($"{file}, line {line}: expected a comma or the end of the line behind a quoted field, found '{text[at]}'.");
            }
        }

        throw new FormatException($"{file}, line {opened}: a quote is not closed.");
    }
}
