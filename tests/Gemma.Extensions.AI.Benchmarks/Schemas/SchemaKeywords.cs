using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Benchmarks.Schemas;

/// <summary>The keywords of a schema, those of its parts included.</summary>
internal static class SchemaKeywords
{
    private static readonly HashSet<string> s_values = ["enum", "const", "default", "required", "dependentRequired", "type"];
    private static readonly HashSet<string> s_maps = ["properties", "patternProperties", "dependentSchemas", "$defs"];

    public static IReadOnlySet<string> Of(JsonObject schema)
    {
        SortedSet<string> found = new(StringComparer.Ordinal);
        Collect(schema, found);
        return found;
    }

    private static void Collect(JsonNode? node, SortedSet<string> found)
    {
        if (node is JsonArray list)
        {
            foreach (JsonNode? item in list)
            {
                Collect(item, found);
            }
        }
        else if (node is JsonObject schema)
        {
            foreach ((string keyword, JsonNode? value) in schema)
            {
                found.Add(keyword);
                if (s_maps.Contains(keyword))
                {
                    foreach ((_, JsonNode? sub) in value!.AsObject())
                    {
                        Collect(sub, found);
                    }
                }
                else if (!s_values.Contains(keyword))
                {
                    Collect(value, found);
                }
            }
        }
    }
}
