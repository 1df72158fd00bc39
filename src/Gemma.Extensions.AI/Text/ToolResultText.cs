using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>
/// The result of a tool as the JSON value that the prompt carries. Text reaches the model; an image, a recording or a binary file is named in a short note,
/// so that the turn continues. Only the content of MCP results is used, not the fields added by the protocol.
/// </summary>
internal static class ToolResultText
{
    /// <summary>Appends the JSON value.</summary>
    /// <exception cref="NotSupportedException">The result cannot be written as JSON; the message names its type.</exception>
    public static void Append(StringBuilder text, object? result)
    {
        switch (result)
        {
            case CarriedToolResult carried:
                text.Append(carried.Json);
                break;
            case AIContent content:
                AppendContents(text, [content]);
                break;
            case IEnumerable<AIContent> contents:
                AppendContents(text, contents);
                break;
            case ChatMessage message:
                AppendContents(text, message.Contents);
                break;
            case ChatResponse response:
                AppendContents(text, response.Messages.SelectMany(static message => message.Contents));
                break;
            case null or string:
                CompactJson.Append(text, result);
                break;
            default:
                AppendElement(text, CompactJson.WithoutHalves(result as JsonElement? ?? CompactJson.ToElement(result)));
                break;
        }
    }

    /// <summary>Appends the message of a failed call.</summary>
    public static void AppendError(StringBuilder text, string message)
    {
        text.Append("{\"error\":");
        CompactJson.AppendString(text, message);
        text.Append('}');
    }

    private static void AppendElement(StringBuilder text, JsonElement element)
    {
        if (ReadContents(element) is { } contents)
        {
            AppendContents(text, contents);
        }
        else if (!TryAppendMcp(text, element))
        {
            CompactJson.Append(text, element);
        }
    }

    /// <summary>The contents as lines; a single text of a JSON type is inserted as JSON.</summary>
    private static void AppendContents(StringBuilder text, IEnumerable<AIContent> contents)
    {
        AIContent[] all = [.. contents];
        if (all is [DataContent data] && IsJson(data.MediaType) && MediaText.Decode(data) is { } json && TryParse(json) is { } parsed)
        {
            CompactJson.Append(text, CompactJson.WithoutHalves(parsed));
            return;
        }

        CompactJson.AppendString(text, string.Join('\n', all.SelectMany(Lines)));
    }

    private static IEnumerable<string> Lines(AIContent? content)
    {
        switch (content)
        {
            case null:
                throw new ArgumentException("The result of a function call holds a content that is null. Leave it out.");
            case TextContent part:
                return [part.Text];
            case DataContent data when MediaText.Decode(data) is { } decoded:
                return [decoded];
            case ErrorContent error:
                return [error.Message];
            case UsageContent or TextReasoningContent:
                return [];
            case FunctionResultContent result:
                StringBuilder nested = new();
                Append(nested, result.Result);
                return [nested.ToString()];
            case ToolResultContent result:
                return ConversationContents.OutputsOf(result).SelectMany(Lines);
            default:
                return [MediaText.Note(content)];
        }
    }

    /// <summary>Contents that were stored as JSON and read again, as sessions of agents are.</summary>
    private static IReadOnlyList<AIContent>? ReadContents(JsonElement element)
    {
        JsonElement[] items = element.ValueKind == JsonValueKind.Array ? [.. element.EnumerateArray()] : [element];
        if (items.Length == 0 || !items.All(static item => item.ValueKind == JsonValueKind.Object && item.TryGetProperty("$type", out JsonElement type) && type.ValueKind == JsonValueKind.String))
        {
            return null;
        }

        try
        {
            JsonTypeInfo<AIContent> info = (System.Text.Json.Serialization.Metadata.JsonTypeInfo<AIContent>)AIJsonUtilities.DefaultOptions.GetTypeInfo(typeof(AIContent));
            return [.. items.Select(item => item.Deserialize(info)!)];
        }
        catch (Exception e) when (e is JsonException or NotSupportedException or InvalidOperationException or ArgumentException or FormatException)
        {
            return null; // data of someone else that names types too
        }
    }

    /// <summary>A CallToolResult of the Model Context Protocol: an object whose content is a list of typed blocks, with no members besides those of the protocol.</summary>
    private static bool TryAppendMcp(StringBuilder text, JsonElement element)
    {
        if (element.ValueKind != JsonValueKind.Object || !element.TryGetProperty("content", out JsonElement content) || content.ValueKind != JsonValueKind.Array
            || !content.EnumerateArray().All(static block => Member(block, "type") is not null)
            || !element.EnumerateObject().All(static member => member.Name is "content" or "structuredContent" or "isError" or "_meta" or "resultType")
            || (content.GetArrayLength() == 0 && element.EnumerateObject().Count() == 1))
        {
            return false;
        }

        string lines = string.Join('\n', content.EnumerateArray().Select(Line));
        bool hasData = element.TryGetProperty("structuredContent", out JsonElement data) && data.ValueKind is not (JsonValueKind.Null or JsonValueKind.Undefined);
        if (element.TryGetProperty("isError", out JsonElement isError) && isError.ValueKind == JsonValueKind.True)
        {
            AppendError(text, lines.Length > 0 || !hasData ? lines : data.GetRawText());
        }
        else if (hasData && (lines.Length == 0 || (TryParse(lines) is { } same && JsonElement.DeepEquals(same, data))))
        {
            CompactJson.Append(text, data); // the text is a copy of it for older clients
        }
        else if (hasData)
        {
            text.Append("{\"content\":");
            CompactJson.AppendString(text, lines);
            text.Append(",\"structuredContent\":");
            CompactJson.Append(text, data);
            text.Append('}');
        }
        else
        {
            CompactJson.AppendString(text, lines);
        }

        return true;
    }

    private static string Line(JsonElement block)
    {
        switch (Member(block, "type"))
        {
            case "text" when Member(block, "text") is { } said:
                return said;
            case "resource" when block.TryGetProperty("resource", out JsonElement resource):
                string? blob = Member(resource, "blob");
                byte[]? bytes = blob is null ? null : FromBase64(blob);
                return Member(resource, "text") ?? (bytes is null ? null : MediaText.Decode(Member(resource, "mimeType"), bytes))
                    ?? MediaText.Note(Member(resource, "uri"), Member(resource, "mimeType"), bytes is null ? null : MediaText.Bytes(bytes.Length));
            case "resource_link":
                return MediaText.Note(Member(block, "title") ?? Member(block, "name"), Member(block, "uri"), Member(block, "mimeType"));
            case var type:
                string? size = Member(block, "data") is { } data && FromBase64(data) is { } found ? MediaText.Bytes(found.Length) : null;
                return MediaText.Note(Member(block, "mimeType") ?? type, size);
        }
    }

    private static string? Member(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String
            ? value.GetString()
            : null;

    private static byte[]? FromBase64(string text)
    {
        byte[] bytes = new byte[(text.Length / 4 * 3) + 3];
        return Convert.TryFromBase64String(text, bytes, out int count) ? bytes[..count] : null;
    }

    private static bool IsJson(string? mediaType) =>
        System.Net.Http.Headers.MediaTypeHeaderValue.TryParse(mediaType, out MediaTypeHeaderValue? parsed)
        && (parsed.MediaType!.Equals("application/json", StringComparison.OrdinalIgnoreCase) || parsed.MediaType.EndsWith("+json", StringComparison.OrdinalIgnoreCase));

    private static JsonElement? TryParse(string json)
    {
        try
        {
            return JsonElement.Parse(json);
        }
        catch (JsonException)
        {
            return null;
        }
    }
}
