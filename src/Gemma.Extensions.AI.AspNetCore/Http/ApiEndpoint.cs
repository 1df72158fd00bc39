using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>The frame around every endpoint: errors in the form of its API, and silence if the client is gone.</summary>
internal static partial class ApiEndpoint
{
    /// <summary>Maps a handler with the API whose errors it speaks.</summary>
    public static IEndpointConventionBuilder Map(IEndpointRouteBuilder routes, string method, string path, Dialect dialect, ILogger logger, Func<HttpContext, Task> handler) =>
        routes.MapMethods(path, [method], http => RunAsync(http, dialect, logger, handler)).WithMetadata(dialect).WithDisplayName($"{method} {path}");

    public static async Task RunAsync(HttpContext http, Dialect dialect, ILogger logger, Func<HttpContext, Task> handler)
    {
        try
        {
            await handler(http).ConfigureAwait(false);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            LogGone(logger, http.Request.Path);
        }
        catch (Exception exception)
        {
            await dialect.WriteErrorAsync(http, ErrorOf(exception, logger, http.Request.Path)).ConfigureAwait(false);
        }
    }

    /// <summary>Maps an exception to the error that the caller is told. Details of a fault that the request did not cause go to the log only.</summary>
    public static ServerError ErrorOf(Exception exception, ILogger logger, string path)
    {
        ServerError error = ServerError.From(exception);
        if (error.Kind == ErrorKind.Internal)
        {
            LogFailed(logger, path, exception);
        }
        else if (exception is GemmaException { IsTemporary: true })
        {
            LogUnreachable(logger, path, exception.Message); // it tells of machines, which is not for clients
        }

        return error;
    }

    /// <summary>Answers with a value as JSON.</summary>
    public static Task WriteJsonAsync<T>(HttpContext http, T value, JsonTypeInfo<T> type)
    {
        byte[] body = JsonSerializer.SerializeToUtf8Bytes(value, type);
        http.Response.ContentType = "application/json";
        http.Response.ContentLength = body.Length;
        return http.Response.Body.WriteAsync(body, http.RequestAborted).AsTask();
    }

    [LoggerMessage(100, LogLevel.Debug, "{Path}: the client is gone")]
    private static partial void LogGone(ILogger logger, string path);

    [LoggerMessage(101, LogLevel.Error, "{Path} failed")]
    private static partial void LogFailed(ILogger logger, string path, Exception exception);

    [LoggerMessage(107, LogLevel.Warning, "{Path}: {Reason}")]
    private static partial void LogUnreachable(ILogger logger, string path, string reason);
}
