using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace Gemma.Extensions.AI.Cli.Mcp;

/// <summary>
/// JSON of requests and answers as a whole. Piece by piece, as ASP.NET does it, it takes code of its own for each type that JSON knows: compiled ahead of time, <c>ChangeLibraries.targets</c> has the server of the
/// Model Context Protocol ask here.
/// </summary>
internal static class JsonBody
{
    private static ReadOnlySpan<byte> Mark => [0xEF, 0xBB, 0xBF];

    /// <summary>As <see cref="HttpRequestJsonExtensions.ReadFromJsonAsync{TValue}(HttpRequest, JsonTypeInfo{TValue}, CancellationToken)"/>.</summary>
    /// <exception cref="InvalidOperationException">The content type is not that of JSON.</exception>
    /// <exception cref="JsonException">The body is not what it should be.</exception>
    public static async ValueTask<T?> ReadAsync<T>(HttpRequest request, JsonTypeInfo<T> type, CancellationToken cancellationToken)
    {
        if (!request.HasJsonContentType())
        {
            throw new InvalidOperationException($"Unable to read the request as JSON because the request content type '{request.ContentType}' is not a known JSON content type.");
        }

        using MemoryStream body = new();
        await request.Body.CopyToAsync(body, cancellationToken);
        byte[] json = body.ToArray();
        if (MediaTypeHeaderValue.TryParse(request.ContentType, out MediaTypeHeaderValue? media) && media.Encoding is { CodePage: not 65001 } encoding)
        {
            json = Encoding.Convert(encoding, Encoding.UTF8, json);
        }

        return JsonSerializer.Deserialize(json.AsSpan(json.AsSpan().StartsWith(Mark) ? Mark.Length : 0), type);
    }

    /// <summary>As <see cref="Results.Json{TValue}(TValue, JsonTypeInfo{TValue}, string?, int?)"/>.</summary>
    public static IResult Result<T>(T value, JsonTypeInfo<T> type, string? contentType, int? statusCode) => new Answer(JsonSerializer.SerializeToUtf8Bytes(value, type), contentType, statusCode);

    private sealed class Answer(byte[] json, string? contentType, int? statusCode) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext)
        {
            HttpResponse response = httpContext.Response;
            response.StatusCode = statusCode ?? response.StatusCode;
            response.ContentType = contentType ?? "application/json; charset=utf-8";
            response.ContentLength = json.Length;
            return response.Body.WriteAsync(json, httpContext.RequestAborted).AsTask();
        }
    }
}
