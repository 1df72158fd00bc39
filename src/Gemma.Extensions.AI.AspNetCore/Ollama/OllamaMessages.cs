using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Ollama;

/// <summary>The messages and tools of a request as those of the abstractions.</summary>
internal static class OllamaMessages
{
    public static List<ChatMessage> Read(IReadOnlyList<OllamaRequestMessage?> messages)
    {
        CallIds ids = new();
        return [.. messages.Select((message, i) => Read(message, ids, $"messages[{i}]"))];
    }

    /// <summary>The prompt of <c>/api/generate</c> as a conversation.</summary>
    public static List<ChatMessage> Read(string? system, string prompt, IReadOnlyList<string?>? images) =>
    [
        .. string.IsNullOrEmpty(system) ? Array.Empty<ChatMessage>() : [new ChatMessage(ChatRole.System, system)],
        new ChatMessage(ChatRole.User, Contents(prompt, images, "images")),
    ];

    public static List<AITool>? ReadTools(IReadOnlyList<OllamaTool?>? tools)
    {
        List<AITool> functions = [];
        for (int i = 0; i < (tools?.Count ?? 0); i++)
        {
            if (tools![i] is { } tool && tool.Type is null or "function")
            {
                functions.Add(FunctionArguments.Declare(tool.Function?.Name, tool.Function?.Description, tool.Function?.Parameters, $"tools[{i}].function"));
            }
            else
            {
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"tools[{i}] is of the type '{tools[i]?.Type}', expected 'function'.", "tools");
            }
        }

        return functions.Count == 0 ? null : functions;
    }

    private static ChatMessage Read(OllamaRequestMessage? message, CallIds ids, string at) => message?.Role switch
    {
        "system" => new ChatMessage(ChatRole.System, message.Content ?? ""),
        "user" => new ChatMessage(ChatRole.User, Contents(message.Content ?? "", message.Images, at)),
        "assistant" => new ChatMessage(ChatRole.Assistant, ReadAssistant(message, ids, at)),
        "tool" => new ChatMessage(ChatRole.Tool, [new FunctionResultContent(ids.Answered(message.ToolCallId, at, message.ToolName), FunctionArguments.ParseResult(message.Content ?? ""))]),
        { } role => throw new ServerErrorException(ErrorKind.InvalidRequest, $"The role of {at} is '{role}', expected system, user, assistant or tool.", at),
        null => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no role, expected system, user, assistant or tool.", at),
    };

    private static List<AIContent> ReadAssistant(OllamaRequestMessage message, CallIds ids, string at)
    {
        List<AIContent> contents = string.IsNullOrEmpty(message.Content) ? [] : [new TextContent(message.Content)];
        foreach (OllamaToolCall? call in message.ToolCalls ?? [])
        {
            if (call?.Function?.Name is not { Length: > 0 } name)
            {
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"A call of {at} names no function.", at);
            }

            contents.Add(new FunctionCallContent(ids.Called(call.Id, name), name, call.Function.Arguments switch
            {
                null or { ValueKind: JsonValueKind.Null } => [],
                { ValueKind: JsonValueKind.Object } arguments => FunctionArguments.FromObject(arguments),
                { ValueKind: JsonValueKind.String } text => FunctionArguments.Parse(text.GetString(), at),
                { } other => throw new ServerErrorException(ErrorKind.InvalidRequest, $"The arguments of a call of {at} are a JSON {other.ValueKind}, expected an object.", at),
            }));
        }

        return contents;
    }

    private static List<AIContent> Contents(string text, IReadOnlyList<string?>? images, string at)
    {
        List<AIContent> contents = [new TextContent(text)];
        foreach (string? image in images ?? [])
        {
            try
            {
                byte[] bytes = Convert.FromBase64String(image ?? "");
                contents.Add(new DataContent(bytes, MediaTypeOf(bytes)));
            }
            catch (FormatException)
            {
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"An image of {at} is not base64.", at);
            }
        }

        return contents;
    }

    private static string MediaTypeOf(ReadOnlySpan<byte> bytes) =>
        bytes.Length > 4 && bytes[1..4].SequenceEqual("PNG"u8) ? "image/png"
        : bytes.StartsWith("GIF8"u8) ? "image/gif"
        : bytes.StartsWith("RIFF"u8) ? "image/webp"
        : "image/jpeg";
}
