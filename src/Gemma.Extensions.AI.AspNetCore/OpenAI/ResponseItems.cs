using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The items of a response's input as messages of the abstractions.</summary>
internal static class ResponseItems
{
    /// <summary>Items of tools that other services run, and of models that reason: they are no part of what this model reads.</summary>
    private static readonly HashSet<string> s_leftOut =
    [
        "reasoning", "file_search_call", "web_search_call", "computer_call", "computer_call_output", "image_generation_call", "code_interpreter_call",
        "local_shell_call", "local_shell_call_output", "shell_call", "shell_call_output", "apply_patch_call", "apply_patch_call_output", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response",
        "mcp_call", "custom_tool_call", "custom_tool_call_output", "compaction",
    ];

    /// <summary>The input as items: a text is a message of the user.</summary>
    public static List<JsonElement> ReadInput(JsonElement? input)
    {
        switch (input)
        {
            case { ValueKind: JsonValueKind.String } text:
                return [JsonSerializer.SerializeToElement(new TextMessage { Content = text.GetString()! }, OpenAIJson.Wire.TextMessage)];
            case { ValueKind: JsonValueKind.Array } items:
                return [.. items.EnumerateArray()];
            case null or { ValueKind: JsonValueKind.Null }:
                return [];
            default:
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"'input' is {ContentParts.Describe(input)}, expected a text or a list of items.", "input");
        }
    }

    /// <summary>The messages of a conversation. What the assistant said and called in a row is one message, as it was generated.</summary>
    public static List<ChatMessage> Read(string? instructions, IReadOnlyList<JsonElement> items)
    {
        List<ChatMessage> messages = [];
        if (!string.IsNullOrEmpty(instructions))
        {
            messages.Add(new ChatMessage(ChatRole.System, instructions));
        }

        CallIds ids = new();
        for (int i = 0; i < items.Count; i++)
        {
            if (Read(items[i], ids, $"input[{i}]") is not { } message)
            {
                continue;
            }

            if (message.Role == ChatRole.Assistant && messages is [.., { } last] && last.Role == ChatRole.Assistant)
            {
                message.Contents.ToList().ForEach(last.Contents.Add);
            }
            else
            {
                messages.Add(message);
            }
        }

        return messages.Count > 0 ? messages : throw new ServerErrorException(ErrorKind.InvalidRequest, "'input' is missing or empty, expected a text or items.", "input");
    }

    private static ChatMessage? Read(JsonElement item, CallIds ids, string at)
    {
        if (item.ValueKind != JsonValueKind.Object)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} is {ContentParts.Describe(item)}, expected an item.", at);
        }

        string? type = Text(item, "type") ?? (item.TryGetProperty("role", out _) ? "message" : null);
        return type switch
        {
            "message" => ReadMessage(item, at),
            "function_call" => new ChatMessage(ChatRole.Assistant, [new FunctionCallContent(ids.Called(Text(item, "call_id")),
                Text(item, "name") is { Length: > 0 } name ? name : throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} names no function.", $"{at}.name"),
                FunctionArguments.Parse(Text(item, "arguments"), $"{at}.arguments"))]),
            "function_call_output" => new ChatMessage(ChatRole.Tool, [new FunctionResultContent(ids.Answered(Text(item, "call_id"), $"{at}.call_id"),
                FunctionArguments.ParseResult(ContentParts.ReadText(Member(item, "output"), $"{at}.output")))]),
            "item_reference" => throw new ServerErrorException(ErrorKind.InvalidRequest, "References to items are not supported: items are kept with their response. Send the item, or 'previous_response_id'.", at),
            not null when s_leftOut.Contains(type) => null,
            null => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no type, expected 'message', 'function_call' or 'function_call_output'.", $"{at}.type"),
            _ => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has the type '{type}', expected 'message', 'function_call' or 'function_call_output'.", $"{at}.type"),
        };
    }

    private static ChatMessage ReadMessage(JsonElement item, string at)
    {
        ChatRole role = Text(item, "role") switch
        {
            "system" or "developer" => ChatRole.System,
            "user" => ChatRole.User,
            "assistant" => ChatRole.Assistant,
            { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"The role is '{other}', expected system, developer, user or assistant.", $"{at}.role"),
            null => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no role, expected system, developer, user or assistant.", $"{at}.role"),
        };
        return new ChatMessage(role, ContentParts.Read(Member(item, "content"), $"{at}.content"));
    }

    internal static JsonElement? Member(JsonElement item, string name) => item.TryGetProperty(name, out JsonElement value) ? value : null;

    internal static string? Text(JsonElement item, string name) => Member(item, name) is { ValueKind: JsonValueKind.String } text ? text.GetString() : null;
}

/// <summary>A message of the user that is a text.</summary>
internal sealed class TextMessage
{
    public string Type => "message";

    public string Role => "user";

    public required string Content { get; init; }
}
