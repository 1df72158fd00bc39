using System.Text.Json.Nodes;
using System.Text.Json.Schema;
using System.Text.Json.Serialization.Metadata;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>An endpoint as a document of the API describes it.</summary>
/// <param name="Method">GET, POST or DELETE.</param>
/// <param name="Path">Below the prefix, with parameters in braces.</param>
/// <param name="Summary">What it does, in a sentence.</param>
/// <param name="Request">Its body; null where it has none.</param>
/// <param name="Response">What it answers.</param>
internal sealed record ApiOperation(string Method, string Path, string Summary, JsonTypeInfo? Request, JsonTypeInfo Response);

/// <summary>Describes endpoints in OpenAPI 3.1, whose schemas are made of the very types that are read and written.</summary>
internal static class ApiDocument
{
    public static JsonObject Describe(string title, string server, IEnumerable<ApiOperation> operations, JsonTypeInfo error)
    {
        JsonObject paths = [];
        SortedDictionary<string, JsonNode> schemas = new(StringComparer.Ordinal);
        foreach (IGrouping<string, ApiOperation> path in operations.GroupBy(static operation => operation.Path.Replace("{**", "{", StringComparison.Ordinal)))
        {
            JsonObject methods = [];
            foreach (ApiOperation operation in path)
            {
                methods[operation.Method.ToLowerInvariant()] = Describe(operation, path.Key, schemas, error);
            }

            paths[path.Key] = methods;
        }

        return new JsonObject
        {
            ["openapi"] = "3.1.0",
            ["info"] = new JsonObject { ["title"] = title, ["version"] = typeof(ApiDocument).Assembly.GetName().Version?.ToString(3) },
            ["servers"] = new JsonArray(new JsonObject { ["url"] = server }),
            ["paths"] = paths,
            ["components"] = new JsonObject { ["schemas"] = new JsonObject(schemas.Select(static schema => KeyValuePair.Create(schema.Key, (JsonNode?)schema.Value))) },
        };
    }

    private static JsonObject Describe(ApiOperation operation, string path, SortedDictionary<string, JsonNode> schemas, JsonTypeInfo error)
    {
        JsonObject described = new() { ["summary"] = operation.Summary };
        if (path.Contains('{', StringComparison.Ordinal))
        {
            string name = path.Split('{', '}')[1];
            described["parameters"] = new JsonArray(new JsonObject { ["name"] = name, ["in"] = "path", ["required"] = true, ["schema"] = new JsonObject { ["type"] = "string" } });
        }

        if (operation.Request is not null)
        {
            described["requestBody"] = new JsonObject { ["required"] = true, ["content"] = Content(operation.Request, schemas) };
        }

        described["responses"] = new JsonObject
        {
            ["200"] = new JsonObject { ["description"] = "The answer; events where the request asks for a stream.", ["content"] = Content(operation.Response, schemas) },
            ["default"] = new JsonObject { ["description"] = "An error.", ["content"] = Content(error, schemas) },
        };
        return described;
    }

    private static JsonObject Content(JsonTypeInfo type, SortedDictionary<string, JsonNode> schemas)
    {
        string name = type.Type.Name;
        if (!schemas.ContainsKey(name))
        {
            JsonNode schema = type.GetJsonSchemaAsNode(new JsonSchemaExporterOptions { TreatNullObliviousAsNonNullable = true });
            Relocate(schema, $"#/components/schemas/{name}");
            schemas[name] = schema;
        }

        return new JsonObject { ["application/json"] = new JsonObject { ["schema"] = new JsonObject { ["$ref"] = $"#/components/schemas/{name}" } } };
    }

    /// <summary>References within a schema are from its root, which is now within the document.</summary>
    private static void Relocate(JsonNode? node, string root)
    {
        switch (node)
        {
            case JsonObject members:
                if (members["$ref"] is JsonValue reference && reference.TryGetValue(out string? target) && target.StartsWith('#'))
                {
                    members["$ref"] = root + target[1..];
                }

                members.ToList().ForEach(member => Relocate(member.Value, root));
                break;
            case JsonArray items:
                items.ToList().ForEach(item => Relocate(item, root));
                break;
        }
    }
}
