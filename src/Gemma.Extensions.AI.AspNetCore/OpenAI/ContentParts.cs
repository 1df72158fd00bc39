using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>Content as a text or as parts, of chat completions and of responses.</summary>
internal static class ContentParts
{
    public static List<AIContent> Read(JsonElement? content, string at)
    {
        switch (content)
        {
            case { ValueKind: JsonValueKind.String } text:
                return [new TextContent(text.GetString())];
            case { ValueKind: JsonValueKind.Array } parts:
                return [.. parts.EnumerateArray().Select((part, i) => ReadPart(part, $"{at}[{i}]"))];
            default:
                throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} is {Describe(content)}, expected a text or a list of parts.", at);
        }
    }

    /// <summary>Content whose text alone matters.</summary>
    public static string ReadText(JsonElement? content, string at)
    {
        if (content is null or { ValueKind: JsonValueKind.Null })
        {
            return "";
        }

        StringBuilder text = new();
        foreach (AIContent part in Read(content, at))
        {
            text.Append(part is TextContent { Text: var piece } ? piece
                : throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has a part that is no text. Send results of tools as text.", at));
        }

        return text.ToString();
    }

    private static AIContent ReadPart(JsonElement part, string at)
    {
        string? type = Member(part, "type");
        return type switch
        {
            "text" or "input_text" or "output_text" => new TextContent(Required(part, "text", at)),
            "refusal" => new TextContent(Required(part, "refusal", at)),
            "image_url" => ReadUrl(part.TryGetProperty("image_url", out JsonElement image) ? (image.ValueKind == JsonValueKind.Object ? Member(image, "url") : Text(image)) : null, "image/*", at),
            "input_image" => ReadUrl(Member(part, "image_url"), "image/*", at),
            "input_audio" when part.TryGetProperty("input_audio", out JsonElement audio) => ReadData(Member(audio, "data"), $"audio/{Member(audio, "format") ?? "wav"}", at),
            "file" when part.TryGetProperty("file", out JsonElement file) => ReadUrl(Member(file, "file_data"), "application/octet-stream", at),
            "input_file" => ReadUrl(Member(part, "file_url") ?? Member(part, "file_data"), "application/octet-stream", at),
            null => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no type, expected 'text' or the like.", at),
            _ => throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} is a part of the type '{type}', which is not known here. Send 'text'.", $"{at}.type"),
        };
    }

    private static AIContent ReadUrl(string? url, string mediaType, string at)
    {
        if (string.IsNullOrEmpty(url))
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has no content that can be read: expected a URL or data.", at);
        }

        try
        {
            return url.StartsWith("data:", StringComparison.OrdinalIgnoreCase) ? new DataContent(url) : new UriContent(url, mediaType);
        }
        catch (Exception exception) when (exception is UriFormatException or ArgumentException)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has a URL that is none.", at);
        }
    }

    private static DataContent ReadData(string? base64, string mediaType, string at)
    {
        try
        {
            return new DataContent(Convert.FromBase64String(base64 ?? ""), mediaType);
        }
        catch (Exception exception) when (exception is FormatException or ArgumentException)
        {
            throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at} has data that are not base64.", at);
        }
    }

    private static string Required(JsonElement part, string name, string at) =>
        Member(part, name) ?? throw new ServerErrorException(ErrorKind.InvalidRequest, $"{at}.{name} is missing, expected a text.", $"{at}.{name}");

    private static string? Member(JsonElement element, string name) =>
        element.ValueKind == JsonValueKind.Object && element.TryGetProperty(name, out JsonElement value) ? Text(value) : null;

    private static string? Text(JsonElement element) => element.ValueKind == JsonValueKind.String ? element.GetString() : null;

    internal static string Describe(JsonElement? element) => element is null or { ValueKind: JsonValueKind.Undefined } ? "missing" : $"a JSON {element.Value.ValueKind}";
}
