using System.Text.Json;

namespace Gemma.Extensions.AI.Cli.Mcp;

/// <summary>The arguments of a call, checked as they are read.</summary>
internal sealed class ToolArguments(IEnumerable<KeyValuePair<string, JsonElement>> values, IReadOnlyCollection<string> known)
{
    private readonly Dictionary<string, JsonElement> _values = Read(values, known);

    /// <exception cref="ArgumentException">There is none, or it is no text.</exception>
    public string Text(string name) => OptionalText(name) is { Length: > 0 } text ? text : throw new ArgumentException($"The argument '{name}' is missing, expected a text.");

    public string? OptionalText(string name) => Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.String ? value.GetString()
        : throw Wrong(name, value, "a text");

    public int? Integer(string name, int least) => Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number) && number >= least ? number
        : throw Wrong(name, value, $"a whole number of at least {least}");

    public float? Number(string name) => Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.Number && value.TryGetSingle(out float number) ? number
        : throw Wrong(name, value, "a number");

    public JsonElement? Object(string name) => Find(name) is not { } value ? null
        : value.ValueKind == JsonValueKind.Object ? value
        : throw Wrong(name, value, "an object");

    /// <exception cref="ArgumentException">There is none, or it is no list of texts.</exception>
    public string[] Texts(string name) => Find(name) is { ValueKind: JsonValueKind.Array } list && list.GetArrayLength() > 0 && list.EnumerateArray().All(static item => item.ValueKind == JsonValueKind.String)
        ? [.. list.EnumerateArray().Select(static item => item.GetString()!)]
        : throw new ArgumentException($"The argument '{name}' is {(Find(name) is { } value ? $"'{Shorten(value)}'" : "missing")}, expected a list of texts.");

    private static Dictionary<string, JsonElement> Read(IEnumerable<KeyValuePair<string, JsonElement>> values, IReadOnlyCollection<string> known)
    {
        Dictionary<string, JsonElement> read = [];
        foreach ((string name, JsonElement value) in values)
        {
            read[name] = known.Contains(name) ? value : throw new ArgumentException($"There is no argument '{name}', expected {string.Join(", ", known)}.");
        }

        return read;
    }

    private JsonElement? Find(string name) => _values.TryGetValue(name, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private static ArgumentException Wrong(string name, JsonElement value, string expected) => new($"The argument '{name}' is '{Shorten(value)}', expected {expected}.");

    private static string Shorten(JsonElement value) => value.GetRawText() is { Length: > 60 } text ? text[..60] + "…" : value.GetRawText();
}
