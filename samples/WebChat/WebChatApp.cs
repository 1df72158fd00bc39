using System.Net;
using System.Net.Sockets;
using System.Threading.RateLimiting;
using Gemma.Extensions.AI.AspNetCore;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.RateLimiting;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.Options;

namespace WebChat;

/// <summary>The web application: the chat page and the API that it asks, a health check, and limits.</summary>
public static class WebChatApp
{
    /// <summary>Builds the application. <paramref name="configure"/> has the last word on its services.</summary>
    public static WebApplication Build(string[] args, Action<IServiceCollection>? configure = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });

        // A page of another site can make its own name mean this machine (DNS rebinding), and would then be asked as if it were this one: only names that are meant
        // for this server are answered. The framework checks them; the setting is its own.
        builder.Configuration.Sources.Insert(0, new MemoryConfigurationSource { InitialData = [new("AllowedHosts", "localhost;127.0.0.1;[::1]"), new("GemmaServer:RequestTimeout", "00:05:00")] });
        builder.Services.AddGemmaChatClient(options => options.ModelPath ??= "nano").Use(static (client, services) => client.AsBuilder().ConfigureOptions(services.GetRequiredService<IOptions<WebChatOptions>>().Value.Apply).Build());
        builder.Services.AddGemmaServer(options => options.MaxRequestBodySize = 1 << 20);
        builder.Services.AddHealthChecks().AddGemma();
        builder.Services.AddOptions<WebChatOptions>().BindConfiguration("Chat").ValidateDataAnnotations().ValidateOnStart();
        builder.Services.AddOptions<ForwardedHeadersOptions>().PostConfigure<IOptions<WebChatOptions>>(BelieveKnownProxies);
        builder.Services.AddRateLimiter(_ => { }).AddOptions<RateLimiterOptions>().Configure<IOptions<WebChatOptions>>(LimitUsers);
        configure?.Invoke(builder.Services);

        WebApplication app = builder.Build();
        app.UseForwardedHeaders();
        app.UseRateLimiter();
        app.MapHealthChecks("/health");
        app.MapGemmaChatPage();
        app.MapOpenAI().WithMetadata(new LimitedByUser());
        return app;
    }

    /// <summary>Whom a request is for. An application with accounts takes the signed-in user instead.</summary>
    internal static string UserOf(HttpContext http)
    {
        IPAddress? address = http.Connection.RemoteIpAddress;
        return address is null ? "unknown"
            : address.IsIPv4MappedToIPv6 ? address.MapToIPv4().ToString()
            : address.AddressFamily == AddressFamily.InterNetwork ? address.ToString()
            : new IPAddress([.. address.GetAddressBytes().AsSpan(0, 8), .. new byte[8]]) + "/64"; // one connection has a whole network of addresses
    }

    /// <summary>The address of a user is what the last proxy says that is known. Without known proxies nobody is believed: to the framework no list means everybody.</summary>
    private static void BelieveKnownProxies(ForwardedHeadersOptions forwarded, IOptions<WebChatOptions> options)
    {
        forwarded.KnownProxies.Clear();
        forwarded.KnownIPNetworks.Clear();
        foreach (System.Net.IPNetwork network in options.Value.Proxies())
        {
            forwarded.KnownIPNetworks.Add(network);
        }

        forwarded.ForwardedHeaders = forwarded.KnownIPNetworks.Count > 0 ? ForwardedHeaders.XForwardedFor : ForwardedHeaders.None;
        forwarded.ForwardLimit = null; // as many proxies as are known, one behind the other
    }

    /// <summary>A number of answers at once and a number of questions a minute, for each user.</summary>
    private static void LimitUsers(RateLimiterOptions limiter, IOptions<WebChatOptions> options)
    {
        // Two limiters by user, not one of two by user: those that are chained in a partition keep their timers when the user has left.
        limiter.GlobalLimiter = PartitionedRateLimiter.CreateChained(
            PerUser(user => RateLimitPartition.GetConcurrencyLimiter(user, _ => new ConcurrencyLimiterOptions { PermitLimit = options.Value.AnswersAtOnce })),
            PerUser(user => RateLimitPartition.GetFixedWindowLimiter(user, _ => new FixedWindowRateLimiterOptions { PermitLimit = options.Value.QuestionsPerMinute, Window = TimeSpan.FromMinutes(1) })));
        limiter.RejectionStatusCode = StatusCodes.Status429TooManyRequests;
        limiter.OnRejected = async (context, cancellation) =>
        {
            bool tooFast = context.Lease.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan wait);
            string detail = tooFast
                ? "You ask faster than this server allows one user. Wait a moment."
                : "You have as many answers running as this server allows one user. Wait for one to end, or stop one.";
            await GemmaServerErrors.WriteAsync(context.HttpContext, StatusCodes.Status429TooManyRequests, detail, tooFast ? wait : TimeSpan.FromSeconds(1));
        };
    }

    private static PartitionedRateLimiter<HttpContext> PerUser(Func<string, RateLimitPartition<string>> limit) =>
        PartitionedRateLimiter.Create<HttpContext, string>(http => HttpMethods.IsPost(http.Request.Method) && http.GetEndpoint()?.Metadata.GetMetadata<LimitedByUser>() is not null ? limit(UserOf(http)) : RateLimitPartition.GetNoLimiter(""));

    private sealed class LimitedByUser;
}
