using System.Text.Encodings.Web;
using System.Text.Json.Serialization;
using Gemma.Extensions.AI.AspNetCore.Http;
using Gemma.Extensions.AI.AspNetCore.Ollama;
using Gemma.Extensions.AI.AspNetCore.OpenAI;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.AspNetCore.Hosting;

/// <summary>A server of its own: all APIs, keys, the check of names and origins, and all errors in the API's own form.</summary>
internal static class ServerHost
{
    /// <param name="settings">Where it listens and whom it answers.</param>
    /// <param name="configure">Registers models, logging and options.</param>
    /// <param name="map">Maps more routes: onto the application for everybody, onto the group for those with a key.</param>
    /// <exception cref="ArgumentException">The settings are invalid.</exception>
    public static WebApplication Build(ServerHostSettings settings, Action<WebApplicationBuilder> configure, Action<WebApplication, RouteGroupBuilder>? map = null)
    {
        if (string.Join(" ", settings.Validate()) is { Length: > 0 } problems)
        {
            throw new ArgumentException(problems);
        }

        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            if (settings.Address is { } address)
            {
                kestrel.Listen(address, settings.Port);
            }
            else
            {
                kestrel.ListenAnyIP(settings.Port);
            }
        });
        builder.Services.AddRoutingCore();
        builder.Services.AddGemmaServer();
        builder.Services.Configure<HostOptions>(host => host.ShutdownTimeout = settings.DrainTimeout);
        builder.Services.AddCors(cors => cors.AddDefaultPolicy(policy => policy.WithOrigins([.. settings.CorsOrigins]).AllowAnyHeader().AllowAnyMethod()));
        builder.Services.AddHealthChecks().AddGemma();
        builder.Services.AddAuthorization();
        if (settings.ApiKeys.Count > 0)
        {
            // Not AddAuthentication, which brings the protection of cookies along: files of keys in XML, which nothing here reads.
            builder.Services.AddAuthenticationCore(options => options.DefaultScheme = GemmaApiKeyDefaults.AuthenticationScheme);
            builder.Services.TryAddSingleton(UrlEncoder.Default);
            builder.Services.TryAddSingleton(TimeProvider.System);
            new AuthenticationBuilder(builder.Services).AddGemmaApiKeys(options => settings.ApiKeys.ToList().ForEach(options.Keys.Add));
        }

        configure(builder);
        WebApplication app = builder.Build();
        ILogger logger = app.Services.GetRequiredService<ServerCore>().Logger;
        app.Use((http, next) => AnswerErrorsAsync(http, next, logger));
        app.UseRouting();
        app.Use((http, next) => CheckCallerAsync(http, next, settings));
        app.UseCors();
        RouteGroupBuilder api = app.MapGroup("");
        if (settings.ApiKeys.Count > 0)
        {
            app.UseAuthentication();
            app.UseAuthorization();
            api.RequireAuthorization();
        }

        // Clients are told an address with or without /v1, and both are common.
        api.MapOpenAI("/v1");
        api.MapOpenAI("");
        api.MapAnthropic("/v1");
        api.MapAnthropic("");
        api.MapOllama("/api");
        app.MapHealthChecks("/health", new HealthCheckOptions { ResponseWriter = WriteHealthAsync });
        map?.Invoke(app, api);
        return app;
    }

    private static Task WriteHealthAsync(HttpContext http, HealthReport report)
    {
        string message = string.Join(" ", report.Entries.Values.Select(static entry => entry.Description));
        return report.Status == HealthStatus.Unhealthy ? Dialect.AnswerAsync(http, new ServerError(ErrorKind.Overloaded, message), OpenAIDialect.Instance)
            : ApiEndpoint.WriteJsonAsync(http, new HealthBody { Status = report.Status == HealthStatus.Healthy ? "ok" : "degraded", Message = message }, HostJson.Default.HealthBody);
    }

    /// <summary>Whatever refuses a request leaves a status; clients want it in their own form.</summary>
    private static async Task AnswerErrorsAsync(HttpContext http, RequestDelegate next, ILogger logger)
    {
        http.Response.Headers.XContentTypeOptions = "nosniff";
        try
        {
            await next(http).ConfigureAwait(false);
        }
        catch (Exception exception) when (!http.RequestAborted.IsCancellationRequested && !http.Response.HasStarted)
        {
            await Dialect.AnswerAsync(http, ApiEndpoint.ErrorOf(exception, logger, http.Request.Path), DialectOf(http)).ConfigureAwait(false);
        }

        if (!http.Response.HasStarted && http.Response is { StatusCode: >= 400, ContentType: null, ContentLength: null or 0 } && ServerError.KindOf(http.Response.StatusCode) is { } kind)
        {
            string message = kind switch
            {
                ErrorKind.NotFound => $"There is no {http.Request.Method} {http.Request.Path} here.",
                ErrorKind.MethodNotAllowed => $"{http.Request.Path} is not asked with {http.Request.Method}.",
                _ => $"The request was refused with the status {http.Response.StatusCode}.",
            };
            await Dialect.AnswerAsync(http, new ServerError(kind, message), DialectOf(http)).ConfigureAwait(false);
        }
    }

    /// <summary>Refuses what a browser sends for a page of another site: under a name that is not this server's, or from an origin that is not allowed.</summary>
    private static Task CheckCallerAsync(HttpContext http, RequestDelegate next, ServerHostSettings settings)
    {
        string host = http.Request.Host.Host;
        if (settings.AllowedHosts is { } allowed && !allowed.Contains(host, StringComparer.OrdinalIgnoreCase))
        {
            return Dialect.AnswerAsync(http, new ServerError(ErrorKind.Forbidden, $"The request is for '{host}', but this server is {string.Join(", ", allowed.Distinct())}."), DialectOf(http));
        }

        string? origin = http.Request.Headers.Origin;
        bool isOwn = string.IsNullOrEmpty(origin) || string.Equals(origin, $"{http.Request.Scheme}://{http.Request.Host}", StringComparison.OrdinalIgnoreCase);
        return isOwn || settings.CorsOrigins.Contains("*") || settings.CorsOrigins.Contains(origin, StringComparer.OrdinalIgnoreCase) ? next(http)
            : Dialect.AnswerAsync(http, new ServerError(ErrorKind.Forbidden, $"A page of '{origin}' may not use this server. Allow it with --cors {origin}."), DialectOf(http));
    }

    /// <summary>The API that an address belongs to that none of them has.</summary>
    private static Dialect DialectOf(HttpContext http) => http.Request.Path.StartsWithSegments("/api") ? OllamaDialect.Instance : OpenAIDialect.Instance;
}

/// <summary>The health of the server, in the form of llama.cpp's.</summary>
internal sealed class HealthBody
{
    public required string Status { get; init; }

    public required string Message { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(HealthBody))]
internal sealed partial class HostJson : JsonSerializerContext;
