using System.Text.Json;
using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Evaluation.Data;

/// <summary>Rows of JSON.</summary>
internal static class JsonRows
{
    private static readonly JsonDocumentOptions s_options = new() { AllowDuplicateProperties = false };

    /// <summary>An object a line; blank lines count for nothing.</summary>
    public static IEnumerable<JsonObject> ReadLines(string text, string file)
    {
        int number = 0;
        foreach (string line in text.Split('\n'))
        {
            number++;
            if (!string.IsNullOrWhiteSpace(line))
            {
                yield return Parse(line, $"{file}, line {number}") as JsonObject ?? throw new FormatException($"{file}, line {number}: expected an object.");
            }
        }
    }

    /// <summary>A list of objects.</summary>
    public static IEnumerable<JsonObject> ReadList(string text, string file) => Parse(text, file) is JsonArray list
        ? list.Select((item, i) => item as JsonObject ?? throw new FormatException($"{file}: item {i} is no object."))
        : throw new FormatException($"{file}: expected a list of objects. One object a line is JSON Lines: name the file .jsonl.");

    private static JsonNode? Parse(string json, string place)
    {
        try
        {
            return JsonNode.Parse(json, documentOptions: s_options);
        }
        catch (JsonException e)
        {
            throw new FormatException($"{place}: {e.Message}", e);
        }
    }
}
