using System.Buffers;
using System.Globalization;
using Microsoft.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>The API-specific part of error handling: the form of errors. It is metadata of every endpoint, so that any middleware can report an error in the right form.</summary>
internal abstract class Dialect
{
    /// <summary>The API of the endpoint that was asked; null where it belongs to none.</summary>
    public static Dialect? Of(HttpContext http) => http.GetEndpoint()?.Metadata.GetMetadata<Dialect>();

    /// <summary>Answers with an error in the form of the API that was asked; as a plain text where none was.</summary>
    public static Task AnswerAsync(HttpContext http, ServerError error, Dialect? otherwise = null)
    {
        if ((Of(http) ?? otherwise) is { } dialect)
        {
            return dialect.WriteErrorAsync(http, error);
        }

        http.Response.StatusCode = error.Status;
        http.Response.ContentType = "text/plain; charset=utf-8";
        return http.Response.WriteAsync(error.Message, http.RequestAborted);
    }

    /// <summary>Writes the body of an error.</summary>
    public abstract void WriteError(IBufferWriter<byte> output, ServerError error);

    /// <summary>Answers a request with an error. Where the answer has begun already, nothing can be said any more and the connection is closed.</summary>
    public async Task WriteErrorAsync(HttpContext http, ServerError error)
    {
        if (http.Response.HasStarted)
        {
            http.Abort();
            return;
        }

        http.Response.StatusCode = error.Status;
        http.Response.ContentType = "application/json";
        if (error.RetryAfter is { } wait)
        {
            http.Response.Headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
        }

        ArrayBufferWriter<byte> body = new();
        WriteError(body, error);
        http.Response.ContentLength = body.WrittenCount;
        await http.Response.Body.WriteAsync(body.WrittenMemory, http.RequestAborted).ConfigureAwait(false);
    }
}
