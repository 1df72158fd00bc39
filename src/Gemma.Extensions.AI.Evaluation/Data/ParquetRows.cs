using System.Collections;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Parquet.Serialization;

namespace Gemma.Extensions.AI.Evaluation.Data;

/// <summary>Rows of a Parquet file: scalars, lists and structures.</summary>
internal static class ParquetRows
{
    /// <exception cref="FormatException">The file is damaged, or holds what cannot be read.</exception>
    public static async Task<List<JsonObject>> ReadAsync(string file, CancellationToken cancellationToken)
    {
        try
        {
            using FileStream stream = File.OpenRead(file);
            DeserializationResult<Dictionary<string, object>> result = await ParquetSerializer.DeserializeUntypedAsync(stream, cancellationToken: cancellationToken).ConfigureAwait(false);
            string[] columns = [.. result.Schema.Fields.Select(field => field.Name)];
            return [.. result.Data.Select(row => Row(row, columns))];
        }
        catch (Exception e) when (e is not (OperationCanceledException or FormatException or FileNotFoundException or UnauthorizedAccessException))
        {
            throw new FormatException($"{file}: the Parquet file cannot be read: {e.Message}", e);
        }
    }

    /// <summary>A row with all columns; those that the reader leaves out (null, or an empty list) are null.</summary>
    private static JsonObject Row(Dictionary<string, object> row, string[] columns)
    {
        JsonObject fields = [];
        foreach (string column in columns)
        {
            fields[column] = Convert(row.GetValueOrDefault(column));
        }

        return fields;
    }

    private static JsonNode? Convert(object? value)
    {
        switch (value)
        {
            case null:
                return null;
            case string text:
                return text;
            case ReadOnlyMemory<char> characters:
                return characters.ToString();
            case byte[] bytes:
                return Encoding.UTF8.GetString(bytes);
            case ReadOnlyMemory<byte> bytes:
                return Encoding.UTF8.GetString(bytes.Span);
            case IDictionary mapping:
                JsonObject fields = [];
                foreach (DictionaryEntry entry in mapping)
                {
                    fields[entry.Key.ToString()!] = Convert(entry.Value);
                }

                return fields;
            case IEnumerable list:
                return new JsonArray([.. list.Cast<object?>().Select(item => Convert(item))]);
            default:
                return JsonSerializer.SerializeToNode(value, value.GetType());
        }
    }
}
