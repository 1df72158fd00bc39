using System.Collections.Concurrent;
using System.Net.ServerSentEvents;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Http;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>An application with mapped APIs, on a port of its own.</summary>
internal sealed class ModelServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private ModelServer(WebApplication app, LogLines log)
    {
        _app = app;
        Log = log;
        Address = new Uri(app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single());
        Http = new HttpClient { BaseAddress = Address, Timeout = TimeSpan.FromMinutes(2) };
    }

    public HttpClient Http { get; }

    public Uri Address { get; }

    /// <summary>What the server logged.</summary>
    public LogLines Log { get; }

    public IServiceProvider Services => _app.Services;

    /// <param name="configure">Registers clients and changes services.</param>
    /// <param name="map">Maps the APIs and middleware; OpenAI's unless given.</param>
    public static async Task<ModelServer> StartAsync(Action<IServiceCollection> configure, Action<WebApplication>? map = null)
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        LogLines log = new();
        builder.WebHost.UseKestrelCore().UseUrls("http://127.0.0.1:0");
        builder.Services.AddRoutingCore();
        builder.Services.AddLogging(logging => logging.AddProvider(log));
        builder.Services.AddGemmaServer();
        configure(builder.Services);
        WebApplication app = builder.Build();
        if (map is null)
        {
            app.MapOpenAI();
        }
        else
        {
            map(app);
        }

        await app.StartAsync();
        return new ModelServer(app, log);
    }

    /// <summary>A server of the model that ships.</summary>
    public static Task<ModelServer> StartNanoAsync(Action<IServiceCollection>? configure = null, Action<WebApplication>? map = null) => StartAsync(services =>
    {
        services.AddGemmaChatClient("nano");
        configure?.Invoke(services);
    }, map);

    /// <summary>A server of a client that says what it is told to.</summary>
    public static Task<ModelServer> StartAsync(IChatClient client, Action<GemmaServerOptionsBuilder>? options = null, Action<WebApplication>? map = null) => StartAsync(services =>
    {
        services.AddChatClient(client);
        options?.Invoke(new GemmaServerOptionsBuilder(services));
    }, map);

    public Task<HttpResponseMessage> PostAsync(string path, string json, CancellationToken cancellation = default) => Http.SendAsync(
        new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") }, HttpCompletionOption.ResponseHeadersRead, cancellation);

    /// <summary>The status and body of an answer.</summary>
    public async Task<(int Status, JsonElement Body)> AskAsync(string path, string json)
    {
        using HttpResponseMessage response = await PostAsync(path, json);
        return ((int)response.StatusCode, await ReadAsync(response));
    }

    public async Task<(int Status, JsonElement Body)> GetAsync(string path)
    {
        using HttpResponseMessage response = await Http.GetAsync(path);
        return ((int)response.StatusCode, await ReadAsync(response));
    }

    /// <summary>The events of an answer: name and data, of which only [DONE] is no JSON.</summary>
    public async Task<List<SseItem<string>>> StreamAsync(string path, string json)
    {
        using HttpResponseMessage response = await PostAsync(path, json);
        string type = response.Content.Headers.ContentType?.MediaType ?? "";
        Xunit.Assert.True(type == "text/event-stream", $"{(int)response.StatusCode} {type}: {(type == "text/event-stream" ? "" : await response.Content.ReadAsStringAsync())}");
        List<SseItem<string>> events = [];
        await foreach (SseItem<string> item in SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync())
        {
            events.Add(item);
        }

        return events;
    }

    /// <summary>The lines of an answer, each JSON.</summary>
    public async Task<List<JsonElement>> LinesAsync(string path, string json)
    {
        using HttpResponseMessage response = await PostAsync(path, json);
        string body = await response.Content.ReadAsStringAsync();
        Xunit.Assert.True(response.Content.Headers.ContentType?.MediaType == "application/x-ndjson", $"{(int)response.StatusCode}: {body}");
        Xunit.Assert.EndsWith("\n", body, StringComparison.Ordinal);
        return [.. body[..^1].Split('\n').Select(line => JsonElement.Parse(line))];
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        await _app.StopAsync();
        await _app.DisposeAsync();
    }

    /// <summary>Reads JSON nested deeper than any that the server takes: a response may wrap its request.</summary>
    private static async Task<JsonElement> ReadAsync(HttpResponseMessage response) =>
        JsonElement.Parse(await response.Content.ReadAsStringAsync(), new JsonDocumentOptions { MaxDepth = 2 * RequestBody.MaxDepth });
}

/// <summary>Sets options of a server in a test.</summary>
internal sealed class GemmaServerOptionsBuilder(IServiceCollection services)
{
    public void Set(Action<Gemma.Extensions.AI.AspNetCore.GemmaServerOptions> configure) => services.AddGemmaServer(configure);
}

/// <summary>Keeps what is logged.</summary>
internal sealed class LogLines : ILoggerProvider, ILogger
{
    private readonly ConcurrentQueue<(LogLevel Level, string Text)> _lines = new();

    public IEnumerable<string> At(LogLevel level) => _lines.Where(line => line.Level == level).Select(line => line.Text);

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _lines.Enqueue((logLevel, formatter(state, exception) + (exception is null ? "" : $" {exception}")));

    public void Dispose()
    {
    }
}
