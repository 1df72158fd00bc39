using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore;

/// <summary>Errors that an application has to say itself, such as those of its rate limits.</summary>
public static class GemmaServerErrors
{
    /// <summary>
    /// Answers a request with an error in the form of the API that was asked, so that clients understand it: in <c>RateLimiterOptions.OnRejected</c>, for example.
    /// </summary>
    /// <param name="http">The request, before anything of the response was sent.</param>
    /// <param name="statusCode">400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 500 or 503.</param>
    /// <param name="message">What is wrong and what to do, for a person.</param>
    /// <param name="retryAfter">When asking again may help.</param>
    /// <exception cref="ArgumentOutOfRangeException">The status is not one of these.</exception>
    public static Task WriteAsync(HttpContext http, int statusCode, string message, TimeSpan? retryAfter = null)
    {
        ArgumentNullException.ThrowIfNull(http);
        ArgumentNullException.ThrowIfNull(message);
        return Dialect.AnswerAsync(http, new ServerError(ServerError.KindOf(statusCode)
            ?? throw new ArgumentOutOfRangeException(nameof(statusCode), statusCode, $"The status is {statusCode}, expected one of an error that these APIs have."), message, RetryAfter: retryAfter));
    }
}
