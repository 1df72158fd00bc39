using System.Globalization;
using System.Threading.RateLimiting;
using Gemma.Extensions.AI;
using Microsoft.AspNetCore.RateLimiting;
using Microsoft.Extensions.Options;

namespace WebChat;

/// <summary>The web application: a page, one endpoint that streams answers, a health check, and limits.</summary>
public static class WebChatApp
{
    private const string LimitPerUser = "per user";

    /// <summary>Builds the application. <paramref name="configure"/> has the last word on its services.</summary>
    public static WebApplication Build(string[] args, Action<IServiceCollection>? configure = null)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestBodySize = 1 << 20);
        builder.Services.AddGemmaChatClient(options => options.ModelPath ??= "nano");
        builder.Services.AddHealthChecks().AddGemma();
        builder.Services.AddProblemDetails();
        builder.Services.AddOptions<WebChatOptions>().BindConfiguration("Chat").ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddRateLimiter(LimitUsers);
        configure?.Invoke(builder.Services);

        var app = builder.Build();
        app.UseExceptionHandler();
        app.Use(AddSecurityHeaders);
        app.UseRateLimiter();
        app.UseDefaultFiles();
        app.UseStaticFiles();
        app.MapHealthChecks("/health");
        app.MapGet("/api/model", ChatEndpoint.DescribeModel);
        app.MapPost("/api/chat", ChatEndpoint.AnswerAsync).RequireRateLimiting(LimitPerUser);
        return app;
    }

    /// <summary>Whom a request is for. An application with accounts takes the signed-in user instead.</summary>
    internal static string UserOf(HttpContext http) => http.Connection.RemoteIpAddress?.ToString() ?? "unknown";

    private static void LimitUsers(RateLimiterOptions limiter)
    {
        limiter.AddPolicy<string, UserLimit>(LimitPerUser);
        limiter.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
        limiter.OnRejected = async (context, cancellation) =>
        {
            var wait = context.Lease.TryGetMetadata(MetadataName.RetryAfter, out var known) ? known : TimeSpan.FromSeconds(1);
            context.HttpContext.Response.Headers.RetryAfter = Math.Ceiling(wait.TotalSeconds).ToString(CultureInfo.InvariantCulture);
            await Results.Problem("You ask faster than this server allows one user. Wait a moment.", statusCode: 429, title: "Too many questions")
                .ExecuteAsync(context.HttpContext);
        };
    }

    /// <summary>The page loads nothing from elsewhere and runs no inline script, so that even a flaw in its rendering would have nothing to work with.</summary>
    private static Task AddSecurityHeaders(HttpContext http, RequestDelegate next)
    {
        var headers = http.Response.Headers;
        headers.ContentSecurityPolicy =
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        return next(http);
    }

    /// <summary>A number of answers at once and a number of questions a minute, for each user.</summary>
    private sealed class UserLimit(IOptions<WebChatOptions> options) : IRateLimiterPolicy<string>
    {
        public Func<OnRejectedContext, CancellationToken, ValueTask>? OnRejected => null;

        public RateLimitPartition<string> GetPartition(HttpContext http) => RateLimitPartition.Get(UserOf(http), _ => RateLimiter.CreateChained(
            new ConcurrencyLimiter(new ConcurrencyLimiterOptions { PermitLimit = options.Value.AnswersAtOnce }),
            new FixedWindowRateLimiter(new FixedWindowRateLimiterOptions { PermitLimit = options.Value.QuestionsPerMinute, Window = TimeSpan.FromMinutes(1) })));
    }
}
