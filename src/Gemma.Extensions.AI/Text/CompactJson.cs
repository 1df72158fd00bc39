using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// JSON as prompts carry it: no spaces, members in the order given, numbers as they were spelt, and no escapes but those that JSON demands,
/// since every escape costs tokens and makes text harder to read for the model.
/// </summary>
internal static partial class CompactJson
{
    private const int MaxRecursion = 500;

    // Line separators too: a description or name must stay on one line.
    private static readonly System.Buffers.SearchValues<char> s_escaped =
        System.Buffers.SearchValues.Create([.. Enumerable.Range(0, 32).Select(static code => (char)code), '"', '\\', '\u0085', '\u2028', '\u2029']);

    /// <summary>Appends any value; those that are not JSON are serialised as by Microsoft.Extensions.AI.</summary>
    /// <exception cref="NotSupportedException">The value cannot be written as JSON; the message names its type.</exception>
    public static void Append(StringBuilder text, object? value)
    {
        switch (value)
        {
            case null:
                text.Append("null");
                break;
            case string item:
                AppendString(text, item);
                break;
            case JsonElement element:
                Append(text, WithoutHalves(element));
                break;
            default:
                Append(text, ToElement(value));
                break;
        }
    }

    /// <summary>
    /// The element with U+FFFD for escaped halves of a surrogate pair, as servers send them that cut texts anywhere. They are valid JSON, but no text: reading them
    /// would throw.
    /// </summary>
    public static JsonElement WithoutHalves(JsonElement element)
    {
        if (element.ValueKind is not (JsonValueKind.Object or JsonValueKind.Array or JsonValueKind.String) || element.GetRawText() is not { } raw
            || !raw.Contains("\\ud", StringComparison.OrdinalIgnoreCase))
        {
            return element;
        }

        string whole = Halves().Replace(raw, static match => match.Groups["half"].Success ? "\\ufffd" : match.Value);
        return whole == raw ? element : JsonElement.Parse(whole, new JsonDocumentOptions { MaxDepth = int.MaxValue });
    }

    /// <summary>Whole escapes, which are kept, and halves of surrogate pairs.</summary>
    [GeneratedRegex(@"\\[^u]|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})", RegexOptions.CultureInvariant)]
    private static partial Regex Halves();

    /// <summary>A value as Microsoft.Extensions.AI serialises it.</summary>
    /// <exception cref="NotSupportedException">The value cannot be written as JSON; the message names its type.</exception>
    public static JsonElement ToElement(object value)
    {
        try
        {
            return JsonSerializer.SerializeToElement(value, AIJsonUtilities.DefaultOptions.GetTypeInfo(value.GetType()));
        }
        catch (Exception e)
        {
            // Whatever a getter of the caller's type throws is the caller's matter too.
            throw new NotSupportedException($"An argument or the result of a function call is a {value.GetType()}, which cannot be written as JSON for the model to read: {e.Message} Give text, or data such as a record.", e);
        }
    }

    public static void Append(StringBuilder text, JsonElement element, int depth = 0)
    {
        if (depth == MaxRecursion)
        {
            text.Append(element.GetRawText()); // A model can nest as deep as its context is long.
            return;
        }

        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                text.Append('{');
                string comma = "";
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    text.Append(comma);
                    AppendString(text, property.Name);
                    text.Append(':');
                    Append(text, property.Value, depth + 1);
                    comma = ",";
                }

                text.Append('}');
                break;
            case JsonValueKind.Array:
                text.Append('[');
                comma = "";
                foreach (JsonElement item in element.EnumerateArray())
                {
                    text.Append(comma);
                    Append(text, item, depth + 1);
                    comma = ",";
                }

                text.Append(']');
                break;
            case JsonValueKind.String:
                AppendString(text, element.GetString()!);
                break;
            case JsonValueKind.Undefined:
                text.Append("null");
                break;
            default:
                text.Append(element.GetRawText());
                break;
        }
    }

    public static void AppendString(StringBuilder text, ReadOnlySpan<char> value)
    {
        text.Append('"');
        while (value.IndexOfAny(s_escaped) is int at and >= 0)
        {
            text.Append(value[..at]);
            char next = value[at];
            switch (next)
            {
                case '"' or '\\':
                    text.Append('\\').Append(next);
                    break;
                case '\n':
                    text.Append("\\n");
                    break;
                case '\r':
                    text.Append("\\r");
                    break;
                case '\t':
                    text.Append("\\t");
                    break;
                default:
                    text.Append(CultureInfo.InvariantCulture, $"\\u{(int)next:x4}");
                    break;
            }

            value = value[(at + 1)..];
        }

        text.Append(value).Append('"');
    }
}
