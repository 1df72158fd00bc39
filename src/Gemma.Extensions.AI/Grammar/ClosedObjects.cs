using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Gemma.Extensions.AI.Grammar;

/// <summary>
/// Keeps what a model writes to the properties that a schema declares. An object schema that says nothing of other properties allows them, but means nothing
/// by it: they are ignored by who asked, and a small model fills its answer with them. A schema that wants more says <c>additionalProperties</c>.
/// </summary>
/// <remarks>
/// What is left is a part of what the schema allows, so it still validates; for that, schemas with keywords under which less can become more (not, oneOf, if…) or
/// which spread one object over several schemas (allOf…) are left as they are.
/// </remarks>
internal static class ClosedObjects
{
    private static readonly HashSet<string> s_leftAlone =
    [
        "not", "if", "oneOf", "allOf", "contains", "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef",
    ];

    private static readonly string[] s_open = ["additionalProperties", "patternProperties", "propertyNames", "minProperties", "dependentRequired", "$ref", "anyOf", "enum", "const"];

    /// <summary>The schema with its objects closed; the schema itself where that is not possible.</summary>
    public static JsonElement Close(JsonElement schema)
    {
        if (schema.ValueKind != JsonValueKind.Object)
        {
            return schema;
        }

        try
        {
            JsonObject root = JsonObject.Create(schema)!;
            if (!CanClose(root))
            {
                return schema;
            }

            CloseIn(root);
            return JsonSerializer.SerializeToElement(root);
        }
        catch (Exception e) when (e is JsonException or ArgumentException or InsufficientExecutionStackException)
        {
            return schema; // too deep, or a name twice: the compiler says so better
        }
    }

    /// <summary>Whether every required property is declared; some schemas name others, which are any value then.</summary>
    public static bool RequiresDeclared(JsonObject schema) =>
        schema["required"] is not JsonArray required || required.All(name => name is JsonValue && schema["properties"] is JsonObject properties && properties.ContainsKey(name.ToString()));

    private static bool CanClose(JsonNode? node)
    {
        RuntimeHelpers.EnsureSufficientExecutionStack();
        return node switch
        {
            JsonObject schema => !schema.Any(static keyword => s_leftAlone.Contains(keyword.Key))
                && !(schema.ContainsKey("properties") && (schema.ContainsKey("$ref") || schema.ContainsKey("anyOf")))
                && schema.All(static keyword => CanClose(keyword.Value)),
            JsonArray list => list.All(CanClose),
            _ => true,
        };
    }

    private static void CloseIn(JsonNode? node)
    {
        switch (node)
        {
            case JsonArray list:
                foreach (JsonNode? item in list)
                {
                    CloseIn(item);
                }

                break;
            case JsonObject schema:
                foreach (string keyword in (string[])["items", "prefixItems", "additionalProperties", "anyOf"])
                {
                    CloseIn(schema[keyword]);
                }

                foreach (string keyword in (string[])["properties", "patternProperties", "$defs", "definitions"])
                {
                    CloseEach(schema[keyword] as JsonObject);
                }

                if (schema["properties"] is JsonObject && !s_open.Any(schema.ContainsKey) && RequiresDeclared(schema))
                {
                    schema["additionalProperties"] = false;
                }

                break;
        }
    }

    private static void CloseEach(JsonObject? schemas)
    {
        foreach (JsonNode? schema in schemas?.Select(static entry => entry.Value) ?? [])
        {
            CloseIn(schema);
        }
    }
}
