using System.Net.Http.Headers;
using System.Text;
using System.Text.RegularExpressions;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Text;

/// <summary>The text of data that has a media type, and a short note in place of data that is no text.</summary>
internal static partial class MediaText
{
    private const int MaxNoteLength = 300;

    private static readonly HashSet<string> s_textual = new(StringComparer.OrdinalIgnoreCase)
    {
        "application/ecmascript", "application/graphql", "application/javascript", "application/json", "application/json5", "application/jsonl",
        "application/jwt", "application/ld+json", "application/ndjson", "application/pem-certificate-chain", "application/sparql-query", "application/sql",
        "application/toml", "application/typescript", "application/x-httpd-php", "application/x-javascript", "application/x-json", "application/x-latex",
        "application/x-ndjson", "application/x-perl", "application/x-php", "application/x-python", "application/x-python-code", "application/x-ruby",
        "application/x-sh", "application/x-subrip", "application/x-tex", "application/x-toml", "application/x-typescript", "application/x-www-form-urlencoded",
        "application/x-yaml", "application/xml", "application/xml-dtd", "application/yaml", "message/rfc822",
    };

    private static readonly string[] s_suffixes = ["+json", "+xml", "+yaml", "+json-seq", "+jsonl", "+toml"];

    /// <summary>The text of the data; null where its type is not textual, its charset is unknown, or it cannot be decoded.</summary>
    public static string? Decode(DataContent data)
    {
        try
        {
            return IsTextual(data.MediaType) ? Decode(data.MediaType, data.Data.Span) : null;
        }
        catch (FormatException)
        {
            return null; // not the base64 that its URI announces
        }
    }

    /// <summary>The text of bytes of a media type. A byte order mark counts most, then the charset, then an XML declaration; otherwise they are UTF-8.</summary>
    public static string? Decode(string? mediaType, ReadOnlySpan<byte> bytes)
    {
        if (!IsTextual(mediaType))
        {
            return null;
        }

        string? charset = Charset(mediaType) ?? (mediaType!.Contains("xml", StringComparison.OrdinalIgnoreCase) ? XmlEncoding(bytes) : null);
        Encoding? encoding = OfByteOrderMark(bytes) ?? (charset is null ? Encoding.UTF8 : Find(charset));
        return encoding?.GetString(bytes).TrimStart('\uFEFF');
    }

    /// <summary>True if data of the type is text: text/*, JSON, XML, YAML and the like, and any type with a charset.</summary>
    public static bool IsTextual(string? mediaType)
    {
        if (!MediaTypeHeaderValue.TryParse(mediaType, out MediaTypeHeaderValue? parsed))
        {
            return false;
        }

        string type = parsed.MediaType!;
        return parsed.CharSet is { Length: > 0 } || type.StartsWith("text/", StringComparison.OrdinalIgnoreCase) || s_textual.Contains(type)
            || s_suffixes.Any(suffix => type.EndsWith(suffix, StringComparison.OrdinalIgnoreCase));
    }

    /// <summary>A one-line placeholder for content that the model cannot read: <c>[chart.png, image/png, 3 bytes: not shown]</c>.</summary>
    /// <param name="parts">Name, address, type and size, as far as they are known.</param>
    public static string Note(params ReadOnlySpan<string?> parts)
    {
        StringBuilder note = new("[");
        foreach (string? part in parts)
        {
            if (!string.IsNullOrWhiteSpace(part) && !part.StartsWith("data:", StringComparison.OrdinalIgnoreCase))
            {
                string line = string.Join(' ', part.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
                note.Append(note.Length > 1 ? ", " : "").Append(line.Length > MaxNoteLength ? string.Concat(line.AsSpan(0, MaxNoteLength), "…") : line);
            }
        }

        return note.Append(note.Length > 1 ? ": not shown]" : "not shown]").ToString();
    }

    /// <summary>A note for content that is no text.</summary>
    public static string Note(AIContent content) => content switch
    {
        DataContent data => Note(data.Name, data.MediaType, Size(data)),
        UriContent uri => Note(Title(uri), uri.Uri.ToString(), uri.MediaType),
        HostedFileContent file => Note(file.Name ?? file.FileId, file.MediaType, file.SizeInBytes is { } size ? Bytes(size) : null),
        HostedVectorStoreContent store => Note($"vector store {store.VectorStoreId}"),
        _ => Note(content.GetType().Name),
    };

    /// <summary>A size for a note.</summary>
    public static string Bytes(long size) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{size:N0} bytes");

    private static string? Size(DataContent data)
    {
        try
        {
            return Bytes(data.Data.Length);
        }
        catch (FormatException)
        {
            return null;
        }
    }

    private static string? Title(AIContent content) => content.AdditionalProperties?.TryGetValue("title", out object? title) == true ? title?.ToString() : null;

    private static string? Charset(string? mediaType) => MediaTypeHeaderValue.TryParse(mediaType, out MediaTypeHeaderValue? parsed) ? parsed.CharSet?.Trim('"') : null;

    private static string? XmlEncoding(ReadOnlySpan<byte> bytes) =>
        XmlDeclaration().Match(Encoding.Latin1.GetString(bytes[..Math.Min(bytes.Length, 200)])) is { Success: true } match ? match.Groups[1].Value : null;

    private static Encoding? OfByteOrderMark(ReadOnlySpan<byte> bytes) =>
        bytes.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]) ? Encoding.UTF8
        : bytes.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) ? Encoding.Unicode
        : bytes.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]) ? Encoding.BigEndianUnicode
        : null;

    private static Encoding? Find(string charset)
    {
        try
        {
            // The provider knows the legacy ones of Windows, ISO 8859 and East Asia, and says null to the rest.
            return CodePagesEncodingProvider.Instance.GetEncoding(charset) ?? Encoding.GetEncoding(charset);
        }
        catch (ArgumentException)
        {
            return null;
        }
    }

    [GeneratedRegex("""^\s*<\?xml\s[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""", RegexOptions.CultureInvariant)]
    private static partial Regex XmlDeclaration();
}
