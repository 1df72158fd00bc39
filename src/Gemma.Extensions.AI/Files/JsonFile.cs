using System.Text.Json;
using System.Text.Unicode;

namespace Gemma.Extensions.AI.Files;

/// <summary>A JSON object from a model directory, read with errors that name the file and the field.</summary>
internal sealed class JsonFile : IDisposable
{
    /// <summary>The largest index of a checkpoint has about 100 kB; a tokenizer is not read through this class.</summary>
    private const long MaxBytes = 16 << 20;
    private readonly JsonDocument _document;

    private JsonFile(JsonDocument document, string path) => (_document, Path) = (document, path);

    public string Path { get; }

    public JsonElement Root => _document.RootElement;

    /// <summary>Reads a file.</summary>
    /// <exception cref="GemmaModelFormatException">The file is missing, too large, or not a JSON object.</exception>
    public static JsonFile Open(string path)
    {
        using FileStream stream = MappedFile.OpenRead(path);
        if (stream.Length > MaxBytes)
        {
            throw new GemmaModelFormatException($"'{path}' has {stream.Length:N0} bytes, expected at most {MaxBytes:N0}. It is not the JSON file of a model; download it again.");
        }

        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return Parse(bytes, path);
    }

    /// <summary>Parses bytes.</summary>
    /// <exception cref="GemmaModelFormatException">The bytes are not a JSON object.</exception>
    public static JsonFile Parse(ReadOnlyMemory<byte> bytes, string path)
    {
        ReadOnlyMemory<byte> body = bytes.Span.StartsWith("\uFEFF"u8) ? bytes[3..] : bytes;
        if (!Utf8.IsValid(body.Span))
        {
            throw new GemmaModelFormatException($"'{path}' is not text in UTF-8. Download it again.");
        }

        try
        {
            JsonDocument document = JsonDocument.Parse(body, new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip, AllowTrailingCommas = true });
            CheckText(document.RootElement);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? new JsonFile(document, path)
                : throw new GemmaModelFormatException($"'{path}' holds a JSON {document.RootElement.ValueKind}, expected an object. Download it again.");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new GemmaModelFormatException($"'{path}' is not valid JSON: {ErrorText.Printable(e.Message)} Download it again.", e);
        }
    }

    /// <summary>Escaped halves of a surrogate pair are valid JSON but no text; reading them would throw wherever they are first touched.</summary>
    private static void CheckText(JsonElement element)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (JsonProperty property in element.EnumerateObject())
                {
                    _ = property.Name;
                    CheckText(property.Value);
                }

                break;
            case JsonValueKind.Array:
                foreach (JsonElement item in element.EnumerateArray())
                {
                    CheckText(item);
                }

                break;
            case JsonValueKind.String:
                _ = element.GetString();
                break;
        }
    }

    /// <summary>True if the field is present, even as <c>null</c>.</summary>
    public bool Has(string name) => Root.TryGetProperty(name, out _);

    /// <summary>The field, null where it is absent or JSON null.</summary>
    public JsonElement? Find(string name) => Root.TryGetProperty(name, out JsonElement element) && element.ValueKind != JsonValueKind.Null ? element : null;

    public string? GetString(string name) => Find(name) is not { } element ? null : Text(element, name);

    public bool? GetBoolean(string name) => Find(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } other => throw Wrong(name, other, "true or false"),
    };

    public double? GetNumber(string name) => Find(name) is not { } element ? null
        : element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out double value) && double.IsFinite(value) ? value : throw Wrong(name, element, "a number");

    public int? GetInt32(string name) => Find(name) is not { } element ? null : Int32(element, name);

    public int RequiredInt32(string name) => GetInt32(name)
        ?? throw new GemmaModelFormatException($"'{Path}' has no '{name}'. The file is damaged or of another kind of model; download it again.");

    /// <summary>A number or a list of numbers; empty where the field is absent.</summary>
    public int[] GetInt32OrList(string name) => Find(name) switch
    {
        null => [],
        { ValueKind: JsonValueKind.Array } list => [.. list.EnumerateArray().Select(e => Int32(e, name))],
        { } single => [Int32(single, name)],
    };

    /// <summary>A list of strings; null where the field is absent.</summary>
    public string[]? GetStrings(string name) => Find(name) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Array } list => [.. list.EnumerateArray().Select(e => Text(e, name))],
        { } other => throw Wrong(name, other, "a list of strings"),
    };

    public void Dispose() => _document.Dispose();

    /// <summary>True if a value means absence: null, false, or empty.</summary>
    public static bool IsOff(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.False => true,
        JsonValueKind.Array => value.GetArrayLength() == 0,
        JsonValueKind.Object => !value.EnumerateObject().Any(),
        JsonValueKind.String => value.GetString()!.Length == 0,
        _ => false,
    };

    /// <summary>A field that is well-formed but asks for what is not implemented.</summary>
    public GemmaModelFormatException Unsupported(string name, JsonElement found, string why) =>
        new($"'{Path}': '{name}' is {ErrorText.Printable(found.GetRawText())}, which is not supported: {why}. The results would be wrong, so the model is not opened; take another checkpoint of it.");

    public GemmaModelFormatException Wrong(string name, JsonElement found, string expected) =>
        new($"'{Path}': '{name}' is {ErrorText.Printable(found.GetRawText())}, expected {expected}. The file is damaged or of another kind of model; download it again.");

    private int Int32(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Number && element.TryGetDouble(out double value) && value == Math.Floor(value) && Math.Abs(value) <= int.MaxValue
            ? (int)value
            : throw Wrong(name, element, "a whole number of 32 bits");

    private string Text(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.String ? element.GetString()! : throw Wrong(name, element, "a string");
}
