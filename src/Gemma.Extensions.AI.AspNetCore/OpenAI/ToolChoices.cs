using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The tools of a chat completion and which of them may or must be called.</summary>
internal static class ToolChoices
{
    public static (ChatToolMode? Mode, List<AITool>? Tools) Read(IReadOnlyList<RequestTool?>? tools, JsonElement? choice)
    {
        List<AITool> functions = [];
        for (int i = 0; i < (tools?.Count ?? 0); i++)
        {
            string at = $"tools[{i}]";
            RequestTool? tool = tools![i];
            if (tool?.Type is null or "function")
            {
                functions.Add(FunctionArguments.Declare(tool?.Function?.Name, tool?.Function?.Description, tool?.Function?.Parameters, $"{at}.function"));
            }
            else if (tool.Type == "custom")
            {
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} is a custom tool, whose input is free text. Offer a function.", $"{at}.type");
            }
        }

        return Choose(functions, choice);
    }

    /// <summary>The choice among the offered functions.</summary>
    internal static (ChatToolMode? Mode, List<AITool>? Tools) Choose(List<AITool> functions, JsonElement? choice)
    {
        switch (choice)
        {
            case null or { ValueKind: JsonValueKind.Null }:
                return (null, NullIfEmpty(functions));
            case { ValueKind: JsonValueKind.String } word:
                return (ReadMode(word.GetString()!), NullIfEmpty(functions));
            case { ValueKind: JsonValueKind.Object } named:
                return ReadNamed(functions, named);
            default:
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"'tool_choice' is {ContentParts.Describe(choice)}, expected none, auto, required or a function.", "tool_choice");
        }
    }

    private static (ChatToolMode? Mode, List<AITool>? Tools) ReadNamed(List<AITool> functions, JsonElement choice)
    {
        string? type = Member(choice, "type");
        if (type == "allowed_tools")
        {
            JsonElement allowed = choice.TryGetProperty("allowed_tools", out JsonElement inner) && inner.ValueKind == JsonValueKind.Object ? inner : choice;
            HashSet<string> names = allowed.TryGetProperty("tools", out JsonElement list) && list.ValueKind == JsonValueKind.Array
                ? [.. list.EnumerateArray().Select(NameOf).OfType<string>()] : [];
            return (ReadMode(Member(allowed, "mode") ?? "auto"), NullIfEmpty([.. functions.Where(function => names.Contains(function.Name))]));
        }

        if (type is not (null or "function") || NameOf(choice) is not { } name)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"'tool_choice' has the type '{type}', expected 'function' with a name, or 'allowed_tools'.", "tool_choice");
        }

        return functions.Any(function => function.Name == name) ? (ChatToolMode.RequireSpecific(name), functions)
            : throw new ServerErrorException(ErrorKind.InvalidRequest, $"'tool_choice' names the function '{name}', which 'tools' does not offer.", "tool_choice");
    }

    private static ChatToolMode ReadMode(string word) => word switch
    {
        "none" => ChatToolMode.None,
        "auto" => ChatToolMode.Auto,
        "required" or "any" => ChatToolMode.RequireAny,
        _ => throw new ServerErrorException(ErrorKind.InvalidRequest, $"'tool_choice' is '{word}', expected none, auto, required or a function.", "tool_choice"),
    };

    /// <summary>The name of a function, within a member as in chat completions or beside the type as in responses.</summary>
    private static string? NameOf(JsonElement element) =>
        element.ValueKind != JsonValueKind.Object ? null : element.TryGetProperty("function", out JsonElement function) ? Member(function, "name") : Member(element, "name");

    private static string? Member(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;

    private static List<AITool>? NullIfEmpty(List<AITool> tools) => tools.Count == 0 ? null : tools;
}
