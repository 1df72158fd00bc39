using System.Net;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Hosting;
using Gemma.Extensions.AI.Backends;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>The server of its own: whom it answers, and how it says no.</summary>
public class ServerHostTests
{
    private const string Hello = """{"messages":[{"role":"user","content":"Hello!"}]}""";

    [Theory]
    [InlineData("Authorization", "Bearer correct", HttpStatusCode.OK)]
    [InlineData("Authorization", "bearer other", HttpStatusCode.OK)]
    [InlineData("x-api-key", "correct", HttpStatusCode.OK)]
    [InlineData("api-key", "correct", HttpStatusCode.OK)]
    [InlineData("Authorization", "Bearer wrong", HttpStatusCode.Unauthorized)]
    [InlineData("Authorization", "Bearer correct2", HttpStatusCode.Unauthorized)]
    [InlineData("Authorization", "Bearer ", HttpStatusCode.Unauthorized)]
    [InlineData("Authorization", "Basic correct", HttpStatusCode.Unauthorized)]
    [InlineData("x-api-key", "", HttpStatusCode.Unauthorized)]
    [InlineData(null, null, HttpStatusCode.Unauthorized)]
    public async Task OnlyAKnownKeyIsAnswered(string? header, string? value, HttpStatusCode expected)
    {
        await using Host host = await Host.StartAsync(new() { ApiKeys = ["correct", "other"], Port = 0 });
        foreach (string path in (string[])["v1/chat/completions", "chat/completions", "v1/models", "models"])
        {
            using HttpRequestMessage request = new(path.EndsWith("models", StringComparison.Ordinal) ? HttpMethod.Get : HttpMethod.Post, path);
            request.Content = request.Method == HttpMethod.Post ? new StringContent(Hello, Encoding.UTF8, "application/json") : null;
            if (header is not null)
            {
                request.Headers.TryAddWithoutValidation(header, value);
            }

            using HttpResponseMessage response = await host.Http.SendAsync(request);
            Assert.Equal(expected, response.StatusCode);
            if (expected == HttpStatusCode.Unauthorized)
            {
                JsonElement error = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error");
                Assert.Equal("authentication_error", error.GetProperty("type").GetString());
                Assert.Equal("invalid_api_key", error.GetProperty("code").GetString());
            }
        }

        Assert.Equal(HttpStatusCode.OK, (await host.Http.GetAsync("health")).StatusCode); // says nothing but that it runs
    }

    [Theory]
    [InlineData("127.0.0.1", true)]
    [InlineData("localhost", true)]
    [InlineData("::1", true)]
    [InlineData("[::1]", true)]
    [InlineData("127.8.9.1", true)]
    [InlineData("0.0.0.0", false)]
    [InlineData("*", false)]
    [InlineData("192.168.1.5", false)]
    [InlineData("::", false)]
    public void OtherMachinesNeedAKeyOrConsent(string address, bool isLoopback)
    {
        ServerHostSettings settings = new() { Host = address };
        Assert.Equal(isLoopback, !settings.Validate().Any());
        Assert.Empty((settings with { IsInsecure = true }).Validate());
        Assert.Empty((settings with { ApiKeys = ["k"] }).Validate());
        ArgumentException refused = Assert.Throws<ArgumentException>(() => ServerHost.Build(settings with { ApiKeys = [" "] }, _ => { }));
        Assert.Contains("blank", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("example.org", "expected localhost, an IP address")]
    [InlineData("", "expected localhost")]
    public void AHostThatIsNoAddressIsRefused(string host, string expected) =>
        Assert.Contains(expected, Assert.Single(new ServerHostSettings { Host = host }.Validate()), StringComparison.Ordinal);

    [Theory]
    [InlineData("https://chat.example.org", true)]
    [InlineData("http://localhost:3000", true)]
    [InlineData("tauri://localhost", true)]
    [InlineData("*", true)]
    [InlineData("https://chat.example.org/", false)]
    [InlineData("https://chat.example.org/page", false)]
    [InlineData("chat.example.org", false)]
    [InlineData("null", false)]
    public void AnOriginIsSchemeHostAndPort(string origin, bool isOne) => Assert.Equal(isOne, !new ServerHostSettings { CorsOrigins = [origin] }.Validate().Any());

    /// <summary>A page of another site whose name was made to mean this machine sends its own name.</summary>
    [Theory]
    [InlineData("localhost", true)]
    [InlineData("LocalHost:5080", true)]
    [InlineData("127.0.0.1:1", true)]
    [InlineData("[::1]:5080", true)]
    [InlineData("evil.example", false)]
    [InlineData("localhost.evil.example", false)]
    [InlineData("127.0.0.1.evil.example:5080", false)]
    [InlineData("0.0.0.0", false)]
    public async Task WithoutAKeyOnlyItsOwnNamesAreAnswered(string name, bool answered)
    {
        await using Host host = await Host.StartAsync(new() { Port = 0 });
        foreach (string path in (string[])["health", "v1/models"])
        {
            using HttpRequestMessage request = new(HttpMethod.Get, path);
            request.Headers.Host = name;
            using HttpResponseMessage response = await host.Http.SendAsync(request);
            Assert.Equal(answered ? HttpStatusCode.OK : HttpStatusCode.Forbidden, response.StatusCode);
        }
    }

    [Theory]
    [InlineData(null, true)]
    [InlineData("https://allowed.example", true)]
    [InlineData("https://evil.example", false)]
    [InlineData("http://allowed.example", false)]
    [InlineData("null", false)]
    public async Task PagesOfOtherOriginsNeedToBeAllowed(string? origin, bool answered)
    {
        await using Host host = await Host.StartAsync(new() { Port = 0, CorsOrigins = ["https://allowed.example"] });
        using HttpResponseMessage response = await AskAsync(host, HttpMethod.Get, "v1/models", origin);
        Assert.Equal(answered ? HttpStatusCode.OK : HttpStatusCode.Forbidden, response.StatusCode);
        Assert.Equal(origin is not null && answered, response.Headers.Contains("Access-Control-Allow-Origin"));
        using HttpResponseMessage own = await AskAsync(host, HttpMethod.Get, "v1/models", host.Http.BaseAddress!.GetLeftPart(UriPartial.Authority));
        Assert.Equal(HttpStatusCode.OK, own.StatusCode);
    }

    [Fact]
    public async Task ABrowserMayAskFirstWithoutAKey()
    {
        await using Host host = await Host.StartAsync(new() { Port = 0, ApiKeys = ["k"], CorsOrigins = ["https://allowed.example"] });
        using HttpRequestMessage request = new(HttpMethod.Options, "v1/chat/completions");
        request.Headers.Add("Origin", "https://allowed.example");
        request.Headers.Add("Access-Control-Request-Method", "POST");
        request.Headers.Add("Access-Control-Request-Headers", "authorization,content-type");
        using HttpResponseMessage response = await host.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.NoContent, response.StatusCode);
        Assert.Equal("https://allowed.example", response.Headers.GetValues("Access-Control-Allow-Origin").Single());
        Assert.Contains("authorization", response.Headers.GetValues("Access-Control-Allow-Headers").Single(), StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData("GET", "v1/nothing", HttpStatusCode.NotFound)]
    [InlineData("POST", "v1/moderations", HttpStatusCode.NotFound)]
    [InlineData("GET", "v1/chat/completions", HttpStatusCode.MethodNotAllowed)]
    [InlineData("DELETE", "models", HttpStatusCode.MethodNotAllowed)]
    [InlineData("GET", "", HttpStatusCode.NotFound)]
    public async Task WhatIsNotThereIsSaidInJson(string method, string path, HttpStatusCode expected)
    {
        await using Host host = await Host.StartAsync(new() { Port = 0 });
        using HttpResponseMessage response = await AskAsync(host, new HttpMethod(method), path, null);
        Assert.Equal(expected, response.StatusCode);
        JsonElement error = JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error");
        Assert.Contains("/" + path, error.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ItIsUnhealthyWhileAModelIsLoaded()
    {
        TaskCompletionSource loads = new(), mayLoad = new();
        await using Host host = await Host.StartAsync(new() { Port = 0 }, services => services.AddGemmaChatClient(options =>
        {
            options.ModelPath = "nano";
            Func<GemmaOptions, Backend> create = options.CreateBackend;
            options.CreateBackend = own =>
            {
                loads.TrySetResult();
                mayLoad.Task.Wait(TimeSpan.FromMinutes(1)); // a task, for which the thread pool makes up
                return create(own);
            };
        }));
        Assert.Contains("No Gemma model has been used yet", await host.Http.GetStringAsync("health"), StringComparison.Ordinal);
        Task<HttpResponseMessage> asking = host.Http.PostAsync("v1/chat/completions", new StringContent(Hello[..^1] + ",\"max_tokens\":1}", Encoding.UTF8, "application/json"));
        await loads.Task.WaitAsync(TimeSpan.FromMinutes(1));
        using (HttpResponseMessage loading = await host.Http.GetAsync("health"))
        {
            Assert.Contains("is being loaded", await loading.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, loading.StatusCode);
        }

        mayLoad.SetResult();
        using HttpResponseMessage answer = await asking;
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode); // waited for the load
        JsonElement healthy = JsonElement.Parse(await host.Http.GetStringAsync("health"));
        Assert.Equal("ok", healthy.GetProperty("status").GetString());
        Assert.Contains("is ready", healthy.GetProperty("message").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task AStopLetsRunningAnswersFinish()
    {
        TaskCompletionSource<object> rest = new();
        ScriptedChatClient client = new(_ => ["Hi", rest.Task]);
        await using Host host = await Host.StartAsync(new() { Port = 0 }, client);
        using HttpRequestMessage request = new(HttpMethod.Post, "v1/chat/completions") { Content = new StringContent(Hello[..^1] + ",\"stream\":true}", Encoding.UTF8, "application/json") };
        using HttpResponseMessage response = await host.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Task stopping = host.StopAsync();
        rest.SetResult(" there");
        string body = await response.Content.ReadAsStringAsync();
        Assert.Contains(" there", body, StringComparison.Ordinal);
        Assert.EndsWith("data: [DONE]\n\n", body, StringComparison.Ordinal);
        await stopping;
    }

    private static Task<HttpResponseMessage> AskAsync(Host host, HttpMethod method, string path, string? origin)
    {
        HttpRequestMessage request = new(method, path);
        if (origin is not null)
        {
            request.Headers.TryAddWithoutValidation("Origin", origin);
        }

        return host.Http.SendAsync(request);
    }

    private sealed class Host(WebApplication app) : IAsyncDisposable
    {
        public HttpClient Http { get; } = new() { BaseAddress = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single()) };

        public IServiceProvider Services => app.Services;

        public static Task<Host> StartAsync(ServerHostSettings settings, IChatClient? client = null) => StartAsync(settings, services => services.AddChatClient(client ?? new ScriptedChatClient(_ => ["Hi"])));

        public static async Task<Host> StartAsync(ServerHostSettings settings, Action<IServiceCollection> configure)
        {
            WebApplication app = ServerHost.Build(settings, builder =>
            {
                builder.Services.AddLogging(logging => logging.ClearProviders());
                configure(builder.Services);
            });
            await app.StartAsync();
            return new Host(app);
        }

        public Task StopAsync() => app.StopAsync();

        public async ValueTask DisposeAsync()
        {
            Http.Dispose();
            await app.DisposeAsync();
        }
    }
}
