using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.Anthropic;

/// <summary>Content as a text or as blocks.</summary>
internal static class ContentBlocks
{
    /// <exception cref="ServerErrorException">It is neither, or a block cannot be read.</exception>
    public static List<AIContent> Read(JsonElement? content, string at)
    {
        switch (content)
        {
            case { ValueKind: JsonValueKind.String } text:
                return [new TextContent(text.GetString())];
            case { ValueKind: JsonValueKind.Array } blocks:
                int i = 0;
                return [.. blocks.EnumerateArray().SelectMany(block => ReadBlock(block, $"{at}.{i++}"))];
            default:
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} is {(content is null ? "missing" : $"a JSON {content.Value.ValueKind}")}, expected a text or a list of blocks.", at);
        }
    }

    private static AIContent[] ReadBlock(JsonElement block, string at) => Member(block, "type") switch
    {
        "text" => [new TextContent(Required(block, "text", at))],
        "tool_use" => [new FunctionCallContent(Required(block, "id", at), Required(block, "name", at), ReadInput(block, at))],
        "tool_result" => [ReadResult(block, at)],
        "thinking" => [new TextReasoningContent(Member(block, "thinking"))],
        "redacted_thinking" => [new TextReasoningContent("")],
        "image" => [ReadSource(block, "image/*", at)],
        "document" => ReadDocument(block, at),
        "search_result" => [new TextContent(Member(block, "title")), .. ReadMember(block, "content", at)],
        null => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no type, expected 'text' or the like.", at),
        var type => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} is a block of the type '{type}', which is not known here. Send 'text', 'tool_use' or 'tool_result'.", at),
    };

    /// <summary>The result of a tool: one text, which may be JSON, or several contents.</summary>
    private static FunctionResultContent ReadResult(JsonElement block, string at)
    {
        string id = Required(block, "tool_use_id", at);
        List<AIContent> contents = block.TryGetProperty("content", out JsonElement content) && content.ValueKind != JsonValueKind.Null ? Read(content, $"{at}.content") : [];
        string? text = contents.All(static part => part is TextContent) ? string.Concat(contents.Select(static part => ((TextContent)part).Text)) : null;
        return block.TryGetProperty("is_error", out JsonElement failed) && failed.ValueKind == JsonValueKind.True
            ? new FunctionResultContent(id, text ?? "The tool failed.") { Exception = new InvalidOperationException(text ?? "The tool failed.") }
            : new FunctionResultContent(id, text is null ? contents : FunctionArguments.ParseResult(text));
    }

    private static Dictionary<string, object?> ReadInput(JsonElement block, string at) =>
        !block.TryGetProperty("input", out JsonElement input) || input.ValueKind == JsonValueKind.Null ? []
        : input.ValueKind == JsonValueKind.Object ? FunctionArguments.FromObject(input)
        : throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at}.input is a JSON {input.ValueKind}, expected an object.", $"{at}.input");

    /// <summary>A document of text is text; another one is data.</summary>
    private static AIContent[] ReadDocument(JsonElement block, string at)
    {
        AIContent[] title = Member(block, "title") is { Length: > 0 } text ? [new TextContent(text + "\n")] : [];
        JsonElement source = block.TryGetProperty("source", out JsonElement given) ? given : default;
        return Member(source, "type") switch
        {
            "text" => [.. title, new TextContent(Required(source, "data", $"{at}.source"))],
            "content" => [.. title, .. ReadMember(source, "content", $"{at}.source")],
            _ => [ReadSource(block, "application/pdf", at)],
        };
    }

    private static AIContent ReadSource(JsonElement block, string mediaType, string at)
    {
        JsonElement source = block.TryGetProperty("source", out JsonElement given) ? given : default;
        try
        {
            return Member(source, "type") switch
            {
                "base64" => new DataContent(Convert.FromBase64String(Required(source, "data", $"{at}.source")), Member(source, "media_type") ?? mediaType),
                "url" => new UriContent(Required(source, "url", $"{at}.source"), mediaType),
                var type => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at}.source is of the type '{type}', expected base64 or url.", $"{at}.source"),
            };
        }
        catch (Exception exception) when (exception is FormatException or ArgumentException)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at}.source is neither base64 nor a URL: {exception.Message}", $"{at}.source");
        }
    }

    private static List<AIContent> ReadMember(JsonElement element, string name, string at) => Read(element.TryGetProperty(name, out JsonElement content) ? content : null, $"{at}.{name}");

    private static string Required(JsonElement element, string name, string at) =>
        Member(element, name) ?? throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at}.{name}: Field required", $"{at}.{name}");

    private static string? Member(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
}
