using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text.Templates;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>A row's fields as the values of templates.</summary>
internal static class TaskRow
{
    public static Dictionary<string, object?> Variables(JsonObject row, IReadOnlyDictionary<string, TemplateFunction> functions)
    {
        Dictionary<string, object?> variables = new(StringComparer.Ordinal);
        foreach ((string name, JsonNode? value) in row)
        {
            variables[name] = Value(value);
        }

        foreach ((string name, TemplateFunction function) in functions)
        {
            variables[name] = function;
        }

        return variables;
    }

    private static object? Value(JsonNode? node)
    {
        switch (node)
        {
            case null:
                return null;
            case JsonArray array:
                return array.Select(Value).ToList();
            case JsonObject fields:
                TemplateMapping mapping = new();
                foreach ((string name, JsonNode? value) in fields)
                {
                    mapping[name] = Value(value);
                }

                return mapping;
            default:
                JsonValue scalar = node.AsValue();
                return scalar.TryGetValue(out bool truth) ? truth
                    : scalar.TryGetValue(out long whole) ? whole
                    : scalar.TryGetValue(out double number) ? number
                    : new TemplateText(scalar.GetValue<string>());
        }
    }
}
