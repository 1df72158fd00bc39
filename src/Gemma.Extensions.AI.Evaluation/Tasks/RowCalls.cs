using System.Text.Json;
using System.Text.Json.Nodes;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Evaluation.Tasks;

/// <summary>Functions and calls as rows have them.</summary>
internal static class RowCalls
{
    /// <summary>The functions that a row offers.</summary>
    /// <exception cref="FormatException">One is no function.</exception>
    public static IReadOnlyList<AITool> Tools(JsonNode? tools) => [.. List(tools, "tools").Select(tool =>
    {
        JsonObject? function = tool is JsonObject { Count: > 0 } wrapped && wrapped["function"] is JsonObject inner ? inner : tool as JsonObject;
        return function?["name"] is JsonValue name && name.TryGetValue(out string? text) && text.Length > 0 && function["parameters"] is null or JsonObject
            ? AIFunctionFactory.CreateDeclaration(text, Text(function["description"]), Schema(function["parameters"]))
            : throw new FormatException($"A row offers {tool?.ToJsonString() ?? "null"}, expected a function with 'name', 'description' and 'parameters'.");
    })];

    /// <summary>The calls that are right.</summary>
    /// <exception cref="FormatException">One is no call.</exception>
    public static IReadOnlyList<ExpectedCall> Expected(JsonNode? calls) => [.. List(calls, "answer").Select(call => call switch
    {
        JsonObject given when given["name"] is JsonValue name && name.TryGetValue(out string? text) && given["arguments"] is null or JsonObject => ExpectedCall.Of(
            text, ((given["arguments"] as JsonObject) ?? []).Select(argument => KeyValuePair.Create(argument.Key, Value(argument.Value)))),
        JsonObject { Count: 1 } given when given.First() is { Value: JsonObject arguments } named && arguments.All(argument => argument.Value is JsonArray { Count: > 0 }) => Berkeley(named.Key, arguments),
        _ => throw new FormatException($"A call that is right is {call?.ToJsonString() ?? "null"}, expected an object with 'name' and 'arguments', or a name with lists of the values of each argument."),
    })];

    private static ExpectedCall Berkeley(string name, JsonObject arguments) => new(
        name, arguments.ToDictionary(argument => argument.Key, argument => (IReadOnlyList<object?>)[.. ((JsonArray)argument.Value!).Select(Value)], StringComparer.Ordinal))
    {
        Optional = [.. arguments.Where(argument => ((JsonArray)argument.Value!).Any(value => value is JsonValue text && text.TryGetValue(out string? known) && known.Length == 0)).Select(argument => argument.Key)],
    };

    private static JsonArray List(JsonNode? node, string member) => node as JsonArray ?? throw new FormatException($"'{member}' of a row is {node?.ToJsonString() ?? "null"}, expected a list.");

    private static object? Value(JsonNode? node) => node is null ? null : JsonSerializer.SerializeToElement(node);

    private static string Text(JsonNode? node) => node is JsonValue value && value.TryGetValue(out string? text) ? text : "";

    private static JsonElement Schema(JsonNode? parameters) => JsonSerializer.SerializeToElement(parameters ?? new JsonObject { ["type"] = "object", ["properties"] = new JsonObject() });
}
