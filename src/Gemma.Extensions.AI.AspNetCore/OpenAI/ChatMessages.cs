using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>The messages of a chat completion as those of the abstractions.</summary>
internal static class ChatMessages
{
    public static List<ChatMessage> Read(IReadOnlyList<RequestMessage?>? messages)
    {
        if (messages is not { Count: > 0 })
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'messages' is missing or empty, expected at least one message.", "messages");
        }

        List<ChatMessage> read = [];
        CallIds ids = new();
        for (int i = 0; i < messages.Count; i++)
        {
            read.Add(Read(messages[i], ids, $"messages[{i}]"));
        }

        return read;
    }

    private static ChatMessage Read(RequestMessage? message, CallIds ids, string at)
    {
        if (message?.FunctionCall is { ValueKind: not JsonValueKind.Null })
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, "'function_call' of messages was replaced by 'tool_calls'. Send that.", $"{at}.function_call");
        }

        return message?.Role switch
        {
            "system" or "developer" => Make(ChatRole.System, ContentParts.Read(message.Content, $"{at}.content")),
            "user" => Make(ChatRole.User, ContentParts.Read(message.Content, $"{at}.content")),
            "assistant" => Make(ChatRole.Assistant, ReadAssistant(message, ids, at)),
            "tool" => new ChatMessage(ChatRole.Tool, [new FunctionResultContent(ids.Answered(message.ToolCallId, $"{at}.tool_call_id"),
                FunctionArguments.ParseResult(ContentParts.ReadText(message.Content, $"{at}.content")))]),
            { } role => throw new ServerErrorException(ErrorKind.InvalidRequest, $"The role is '{role}', expected system, developer, user, assistant or tool.", $"{at}.role"),
            null => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no role, expected system, developer, user, assistant or tool.", $"{at}.role"),
        };

        ChatMessage Make(ChatRole role, List<AIContent> contents) => new(role, contents) { AuthorName = string.IsNullOrWhiteSpace(message.Name) ? null : message.Name };
    }

    private static List<AIContent> ReadAssistant(RequestMessage message, CallIds ids, string at)
    {
        List<AIContent> contents = message.Content is null or { ValueKind: JsonValueKind.Null } ? [] : ContentParts.Read(message.Content, $"{at}.content");
        if (contents.Count == 0 && message.Refusal is { Length: > 0 } refusal)
        {
            contents.Add(new TextContent(refusal));
        }

        for (int i = 0; i < (message.ToolCalls?.Count ?? 0); i++)
        {
            string place = $"{at}.tool_calls[{i}]";
            RequestToolCall? call = message.ToolCalls![i];
            if (call?.Function?.Name is not { Length: > 0 } name)
            {
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"{place} names no function.", place);
            }

            contents.Add(new FunctionCallContent(ids.Called(call.Id, name), name, ReadArguments(call.Function.Arguments, $"{place}.function.arguments")));
        }

        return contents;
    }

    private static Dictionary<string, object?> ReadArguments(JsonElement? arguments, string at) => arguments switch
    {
        null or { ValueKind: JsonValueKind.Null } => [],
        { ValueKind: JsonValueKind.String } text => FunctionArguments.Parse(text.GetString(), at),
        { ValueKind: JsonValueKind.Object } element => FunctionArguments.FromObject(element),
        { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"The arguments of a call are a JSON {other.ValueKind}, expected the text of an object.", at),
    };
}
