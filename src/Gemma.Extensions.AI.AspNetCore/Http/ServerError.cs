using Microsoft.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Http;

/// <summary>The kind of error reported to a client; each API has its own names for them.</summary>
internal enum ErrorKind
{
    InvalidRequest,
    Unauthenticated,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    Conflict,
    TooLarge,
    UnsupportedMediaType,
    RateLimited,
    Internal,
    Overloaded,
}

/// <summary>An error as a client is told, before an API gives it its form.</summary>
/// <param name="Kind">Its kind, which also decides the status.</param>
/// <param name="Message">What was found, what was expected, what to do.</param>
/// <param name="Code">A word for programs, where OpenAI has one.</param>
/// <param name="Parameter">The member of the request at fault.</param>
/// <param name="RetryAfter">When asking again may help.</param>
internal sealed record ServerError(ErrorKind Kind, string Message, string? Code = null, string? Parameter = null, TimeSpan? RetryAfter = null)
{
    private static readonly (ErrorKind Kind, int Status)[] s_statuses =
    [
        (ErrorKind.InvalidRequest, StatusCodes.Status400BadRequest),
        (ErrorKind.Unauthenticated, StatusCodes.Status401Unauthorized),
        (ErrorKind.Forbidden, StatusCodes.Status403Forbidden),
        (ErrorKind.NotFound, StatusCodes.Status404NotFound),
        (ErrorKind.MethodNotAllowed, StatusCodes.Status405MethodNotAllowed),
        (ErrorKind.Timeout, StatusCodes.Status408RequestTimeout),
        (ErrorKind.Conflict, StatusCodes.Status409Conflict),
        (ErrorKind.TooLarge, StatusCodes.Status413PayloadTooLarge),
        (ErrorKind.UnsupportedMediaType, StatusCodes.Status415UnsupportedMediaType),
        (ErrorKind.RateLimited, StatusCodes.Status429TooManyRequests),
        (ErrorKind.Internal, StatusCodes.Status500InternalServerError),
        (ErrorKind.Overloaded, StatusCodes.Status503ServiceUnavailable),
    ];

    public int Status => s_statuses.First(entry => entry.Kind == Kind).Status;

    /// <summary>The kind of error that has a status; null where none has.</summary>
    public static ErrorKind? KindOf(int status) => s_statuses.Where(entry => entry.Status == status).Select(entry => (ErrorKind?)entry.Kind).FirstOrDefault();

    /// <summary>Maps exceptions of a client or the engine to errors for the caller. Details of errors that the request did not cause only go to the log.</summary>
    public static ServerError From(Exception exception) => exception switch
    {
        ServerErrorException known => known.Error,
        GemmaContextLengthException => new(ErrorKind.InvalidRequest, exception.Message, "context_length_exceeded", "messages"),
        GemmaKvCacheException => new(ErrorKind.InvalidRequest, exception.Message, "context_length_exceeded"),
        GemmaOverloadedException { IsStopping: true } => new(ErrorKind.Overloaded, exception.Message, "shutting_down", RetryAfter: TimeSpan.FromSeconds(10)),
        ObjectDisposedException { ObjectName: nameof(GemmaModel) } => new(ErrorKind.Overloaded, "The model is shutting down.", "shutting_down", RetryAfter: TimeSpan.FromSeconds(10)),
        GemmaOverloadedException => new(ErrorKind.RateLimited, exception.Message, "queue_full", RetryAfter: TimeSpan.FromSeconds(2)),
        GemmaException { IsTemporary: true } => new(ErrorKind.Overloaded, "The model cannot be reached at the moment. Try again in a moment.", "unavailable", RetryAfter: TimeSpan.FromSeconds(5)),
        TimeoutException => new(ErrorKind.Overloaded, "The answer took longer than this server allows. Try again later, or ask for less.", "timeout", RetryAfter: TimeSpan.FromSeconds(5)),
        ArgumentException argument => new(ErrorKind.InvalidRequest, WithoutParameter(argument)),
        NotSupportedException => new(ErrorKind.InvalidRequest, exception.Message, "unsupported"),
        BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge } => new(ErrorKind.TooLarge, exception.Message),
        BadHttpRequestException { StatusCode: StatusCodes.Status408RequestTimeout } => new(ErrorKind.Timeout, exception.Message),
        BadHttpRequestException => new(ErrorKind.InvalidRequest, exception.Message),
        _ => new(ErrorKind.Internal, "The server had an error while it processed the request. Its log says more.", "internal_error"),
    };

    /// <summary>The name of a C# parameter says nothing to a client of HTTP.</summary>
    private static string WithoutParameter(ArgumentException exception) =>
        exception.ParamName is { } name ? exception.Message.Replace($" (Parameter '{name}')", "", StringComparison.Ordinal).Split("\nActual value was", 2)[0].TrimEnd() : exception.Message;
}

/// <summary>Ends a request with an error.</summary>
internal sealed class ServerErrorException(ServerError error) : Exception(error.Message)
{
    public ServerErrorException(ErrorKind kind, string message, string? parameter = null) : this(new ServerError(kind, message, Parameter: parameter))
    {
    }

    public ServerError Error => error;
}
