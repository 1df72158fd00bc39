using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Hub;

/// <summary>A server that behaves as the hub does (API, redirects of large files to a store, ranges, ETags, gated answers) and misbehaves on demand.</summary>
internal sealed class LoopbackHub : IAsyncDisposable
{
    public const string Commit = "0123456789abcdef0123456789abcdef01234567";
    private readonly WebApplication _app;
    private readonly Dictionary<string, byte[]> _files = new(StringComparer.Ordinal);

    private long _sent;

    private LoopbackHub(WebApplication app) => _app = app;

    /// <summary>Bytes of files sent so far.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    public Uri Address { get; private set; } = null!;

    /// <summary>What the store does with a request, instead of or before answering; returns true if it has answered.</summary>
    public Func<HttpContext, byte[], Task<bool>>? Misbehave { get; set; }

    /// <summary>Token that the repository wants; null: open.</summary>
    public string? Gate { get; set; }

    /// <summary>False: the store ignores ranges.</summary>
    public bool Ranges { get; set; } = true;

    public ConcurrentQueue<(string Path, string? Range, string? Authorization)> Requests { get; } = [];

    public static async Task<LoopbackHub> StartAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(k => k.Listen(IPAddress.Loopback, 0));
        WebApplication app = builder.Build();
        LoopbackHub hub = new(app);
        app.Run(hub.Handle);
        await app.StartAsync();
        hub.Address = new Uri(app.Services.GetRequiredService<Microsoft.AspNetCore.Hosting.Server.IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());
        return hub;
    }

    public void Add(string name, byte[] bytes) => _files[name] = bytes;

    public static string Sha256(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(new CancellationTokenSource(TimeSpan.FromSeconds(1)).Token);
        await _app.DisposeAsync();
    }

    private static bool IsLarge(string name) => name.EndsWith(".gguf", StringComparison.Ordinal) || name.EndsWith(".safetensors", StringComparison.Ordinal);

    private static string GitHash(byte[] bytes) => Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes($"blob {bytes.Length}\0"), .. bytes]));

    private async Task Handle(HttpContext context)
    {
        string path = context.Request.Path.Value!;
        Requests.Enqueue((path, context.Request.Headers.Range, context.Request.Headers.Authorization));
        if (Gate is not null && !path.StartsWith("/store/", StringComparison.Ordinal) && context.Request.Headers.Authorization != $"Bearer {Gate}")
        {
            context.Response.Headers["X-Error-Code"] = "GatedRepo";
            context.Response.StatusCode = context.Request.Headers.Authorization.Count > 0 ? 403 : 401;
            return;
        }

        string resolve = $"/owner/model/resolve/{Commit}/";
        if (path == "/api/models/owner/model/revision/main" || path == $"/api/models/owner/model/revision/{Commit}")
        {
            await context.Response.WriteAsync(JsonSerializer.Serialize(new
            {
                sha = Commit,
                siblings = _files.Select(f => IsLarge(f.Key)
                    ? (object)new { rfilename = f.Key, size = f.Value.Length, blobId = GitHash(f.Value), lfs = new { sha256 = Sha256(f.Value), size = f.Value.Length, pointerSize = 130 } }
                    : new { rfilename = f.Key, size = f.Value.Length, blobId = GitHash(f.Value) }).Append(new { rfilename = "../evil", size = 1, blobId = new string('0', 40) }),
            }));
        }
        else if (path.StartsWith(resolve, StringComparison.Ordinal) && _files.TryGetValue(path[resolve.Length..], out byte[]? bytes))
        {
            if (IsLarge(path))
            {
                // The store is another host as far as tokens go: same machine, another name.
                context.Response.Redirect($"http://localhost:{Address.Port}/store/{path[resolve.Length..]}");
            }
            else
            {
                await Send(context, bytes);
            }
        }
        else if (path.StartsWith("/store/", StringComparison.Ordinal) && _files.TryGetValue(path["/store/".Length..], out bytes))
        {
            if (Misbehave is null || !await Misbehave(context, bytes))
            {
                await Send(context, bytes);
            }
        }
        else
        {
            context.Response.Headers["X-Error-Code"] = path.Contains("/revision/", StringComparison.Ordinal) && path.StartsWith("/api/models/owner/model/", StringComparison.Ordinal) ? "RevisionNotFound" : "RepoNotFound";
            context.Response.StatusCode = 404;
        }
    }

    /// <summary>Start and end of the range that a request asks for.</summary>
    public static (int From, int To) Range(HttpContext context, byte[] bytes)
    {
        string? range = context.Request.Headers.Range;
        if (range is null)
        {
            return (0, bytes.Length);
        }

        string[] ends = range["bytes=".Length..].Split('-');
        return (int.Parse(ends[0]), Math.Min(bytes.Length, int.Parse(ends[1]) + 1));
    }

    public async Task Send(HttpContext context, byte[] bytes, int? cutAfter = null, TimeSpan? drip = null, int dripBytes = 1)
    {
        (int from, int to) = Ranges ? Range(context, bytes) : (0, bytes.Length);
        if (Ranges && context.Request.Headers.Range.Count > 0)
        {
            context.Response.StatusCode = 206;
            context.Response.Headers.ContentRange = $"bytes {from}-{to - 1}/{bytes.Length}";
        }

        context.Response.ContentLength = to - from;
        int end = cutAfter is { } cut ? Math.Min(to, from + cut) : to;
        for (int at = from; at < end;)
        {
            int count = Math.Min(end - at, drip is null ? 16 << 10 : dripBytes);
            await context.Response.Body.WriteAsync(bytes.AsMemory(at, count), context.RequestAborted);
            at += count;
            Interlocked.Add(ref _sent, count);
            if (drip is { } pause)
            {
                await context.Response.Body.FlushAsync(context.RequestAborted);
                await Task.Delay(pause, context.RequestAborted);
            }
        }

        if (end < to)
        {
            await context.Response.Body.FlushAsync();
            context.Abort();
        }
    }
}
