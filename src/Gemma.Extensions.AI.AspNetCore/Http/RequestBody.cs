using System.Buffers;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>Reads a body of JSON within the limits of size, depth and time.</summary>
internal static class RequestBody
{
    /// <summary>Deepest JSON that is read. Schemas of tools nest, but not like this.</summary>
    public const int MaxDepth = 128;

    /// <param name="http">The request.</param>
    /// <param name="type">What the body is.</param>
    /// <param name="options">The limits.</param>
    /// <param name="anyContentType">
    /// Read the body whatever its content type says, unless a browser sends it, which says for the page of which origin. Where it is checked, a page of another site cannot have a browser send such
    /// a request without asking this server first.
    /// </param>
    /// <exception cref="ServerErrorException">It is too large, too slow, or not what it should be.</exception>
    public static async Task<T> ReadAsync<T>(HttpContext http, JsonTypeInfo<T> type, GemmaServerOptions options, bool anyContentType = false) where T : class
    {
        if (!http.Request.HasJsonContentType() && !(anyContentType && string.IsNullOrEmpty(http.Request.Headers.Origin)))
        {
            throw new ServerErrorException(ErrorKind.UnsupportedMediaType, $"The content type is '{http.Request.ContentType}', expected 'application/json'.");
        }

        ArrayBufferWriter<byte> body = await ReadBytesAsync(http, options).ConfigureAwait(false);
        return Parse(body.WrittenSpan, type);
    }

    private static T Parse<T>(ReadOnlySpan<byte> json, JsonTypeInfo<T> type) where T : class
    {
        try
        {
            CheckText(json);
            return JsonSerializer.Deserialize(json, type) ?? throw new ServerErrorException(ErrorKind.InvalidRequest, "The body is null, expected a JSON object.");
        }
        catch (JsonException exception)
        {
            // The message names the .NET type; path and place are what helps.
            string place = exception.Path is { Length: > 1 } path ? $" at {path}" : "";
            string line = exception.LineNumber is { } number ? $" (line {number + 1}, byte {exception.BytePositionInLine + 1})" : "";
            string detail = exception.InnerException is null && !exception.Message.Contains("could not be converted", StringComparison.Ordinal)
                ? $": {exception.Message.Split(" Path: ")[0].Split(" LineNumber: ")[0]}" : ": a value of another type is expected there.";
            throw new ServerErrorException(new(ErrorKind.InvalidRequest, $"The body is not the JSON that is expected{place}{line}{detail}", "invalid_json", exception.Path is { Length: > 2 } member ? member[2..] : null));
        }
    }

    /// <summary>
    /// Refuses invalid text: bytes that are not UTF-8, and lone surrogates, which slicing a string in JavaScript can leave. JSON elements would only fail when they are read.
    /// </summary>
    private static void CheckText(ReadOnlySpan<byte> json)
    {
        if (!Utf8.IsValid(json))
        {
            throw new ServerErrorException(new(ErrorKind.InvalidRequest, "The body is not UTF-8.", "invalid_json"));
        }

        Utf8JsonReader reader = new(json, new JsonReaderOptions { MaxDepth = MaxDepth });
        while (reader.Read())
        {
            if (reader.ValueIsEscaped)
            {
                try
                {
                    _ = reader.GetString();
                }
                catch (InvalidOperationException)
                {
                    throw new ServerErrorException(new(ErrorKind.InvalidRequest, $"A text at byte {reader.TokenStartIndex} of the body has half of a surrogate pair: a character was cut in two.", "invalid_json"));
                }
            }
        }
    }

    private static async Task<ArrayBufferWriter<byte>> ReadBytesAsync(HttpContext http, GemmaServerOptions options)
    {
        long limit = options.MaxRequestBodySize;
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } feature && (feature.MaxRequestBodySize is null || feature.MaxRequestBodySize < limit))
        {
            feature.MaxRequestBodySize = limit; // the limit of these endpoints, which may be more than the application's own
        }

        if (http.Request.ContentLength > limit)
        {
            throw TooLarge(limit);
        }

        using CancellationTokenSource slow = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted);
        slow.CancelAfter(options.RequestBodyTimeout);
        ArrayBufferWriter<byte> body = new((int)Math.Clamp(http.Request.ContentLength ?? 0, 4096, 1 << 20));
        try
        {
            while (await http.Request.Body.ReadAsync(body.GetMemory(4096), slow.Token).ConfigureAwait(false) is > 0 and int read)
            {
                body.Advance(read);
                if (body.WrittenCount > limit)
                {
                    throw TooLarge(limit);
                }
            }

            return body;
        }
        catch (OperationCanceledException) when (!http.RequestAborted.IsCancellationRequested)
        {
            throw new ServerErrorException(ErrorKind.Timeout, $"The body did not arrive within {options.RequestBodyTimeout.TotalSeconds:0.#} s.");
        }
    }

    private static ServerErrorException TooLarge(long limit) => new(ErrorKind.TooLarge, $"The body is larger than {limit:N0} bytes, which is what this server reads. Send less at once, or raise GemmaServerOptions.MaxRequestBodySize.");
}
