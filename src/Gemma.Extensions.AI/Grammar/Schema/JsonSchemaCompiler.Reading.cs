using System.Text.Json;

namespace Gemma.Extensions.AI.Grammar.Schema;

// Reading keywords, and refusing schemas.
internal sealed partial class JsonSchemaCompiler
{
    private IEnumerable<(SchemaPlace Place, int Index)> Subschemas(SchemaPlace place, string keyword)
    {
        if (!place.Element.TryGetProperty(keyword, out JsonElement list))
        {
            yield break;
        }

        if (list.ValueKind != JsonValueKind.Array)
        {
            throw Malformed(place.Path + "/" + keyword, "must be an array of schemas");
        }

        int i = 0;
        foreach (JsonElement item in list.EnumerateArray())
        {
            yield return (_document.At(place, item, "/" + keyword + "/" + i), i);
            i++;
        }
    }

    private IEnumerable<(string Name, SchemaPlace Place)> Members(SchemaPlace place, string keyword, JsonValueKind? without)
    {
        if (!place.Element.TryGetProperty(keyword, out JsonElement map))
        {
            yield break;
        }

        if (map.ValueKind != JsonValueKind.Object)
        {
            throw Malformed(place.Path + "/" + keyword, "must be an object of schemas");
        }

        foreach (JsonProperty p in map.EnumerateObject())
        {
            if (p.Value.ValueKind != without)
            {
                yield return (p.Name, _document.At(place, p.Value, "/" + keyword + "/" + SchemaDocument.Escape(p.Name)));
            }
        }
    }

    private static IReadOnlyList<string> Names(JsonElement list, string path) =>
        [.. list.EnumerateArray().Select(n => n.ValueKind == JsonValueKind.String ? n.GetString()! : throw Malformed(path, "must be an array of names")).Distinct()];

    private static int? Count(SchemaPlace place, string keyword)
    {
        if (!place.Element.TryGetProperty(keyword, out JsonElement value))
        {
            return null;
        }

        if (keyword is "maxLength" or "maxItems" && value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int none) && none == -1)
        {
            return null; // [MaxLength] without a number: as much as a database takes.
        }

        return value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double d) && d >= 0 && d == Math.Floor(d)
            ? (int)Math.Min(d, 1_000_000_000)
            : throw Malformed(place.Path + "/" + keyword, $"must be a whole number of at least 0, not {Shown(value)}");
    }

    /// <summary>A number; as text too, which .NET makes of [Range(typeof(decimal), "0.01", "99.99")].</summary>
    private static ExactDecimal Number(JsonElement value, string path) =>
        value.ValueKind == JsonValueKind.Number ? ExactDecimal.Parse(value.GetRawText())
        : value.ValueKind == JsonValueKind.String && ExactDecimal.TryParse(value.GetString()!, out ExactDecimal number) ? number
        : throw Malformed(path, $"must be a number, not {Shown(value)}");

    private static string Shown(JsonElement value) => value.GetRawText() is { Length: > 60 } text ? text[..60] + "…" : value.GetRawText();

    private void Refuse(string path, string why)
    {
        if (!_options.Lenient)
        {
            throw new NotSupportedException($"The JSON schema cannot be enforced at '{path}': {why}. Remove the keyword, or allow the lenient mode, which ignores it.");
        }
    }

    private static ArgumentException Malformed(string path, string why) => new($"The JSON schema is malformed at '{path}': {why}.");
}
