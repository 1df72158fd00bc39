using System.Collections.Concurrent;
using System.IO.Compression;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.Tests.Hub;

/// <summary>A server that misbehaves in as many ways as there are owners of models: the first part of a path says how.</summary>
internal sealed class HostileHub : IAsyncDisposable
{
    private const string Commit = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<string, int> _requests = new();
    private int _leftAlone;

    private HostileHub(WebApplication app)
    {
        _app = app;
        new Random(7).NextBytes(File);
        new Random(8).NextBytes(Other);
    }

    public byte[] File { get; } = new byte[9_999];

    /// <summary>What the file is replaced by.</summary>
    public byte[] Other { get; } = new byte[9_999];

    public Uri Address { get; private set; } = null!;

    /// <summary>The same server under another port: another host as far as tokens go.</summary>
    public Uri Elsewhere { get; private set; } = null!;

    /// <summary>Requests that were never answered whose client went away.</summary>
    public int LeftAlone => _leftAlone;

    /// <summary>Whether the token came to the other host.</summary>
    public bool TokenWentElsewhere { get; private set; }

    public int Requests(string path) => _requests.GetValueOrDefault(path);

    public static async Task<HostileHub> StartAsync()
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Listen(IPAddress.Loopback, 0);
            kestrel.Limits.MinResponseDataRate = null;
        });
        HostileHub hub = new(builder.Build());
        hub._app.Run(hub.Handle);
        await hub._app.StartAsync();
        Uri[] addresses = [.. hub._app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Select(address => new Uri(address))];
        (hub.Address, hub.Elsewhere) = (addresses[0], addresses[1]);
        return hub;
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync(new CancellationTokenSource(TimeSpan.FromMilliseconds(100)).Token);
        await _app.DisposeAsync();
    }

    private async Task Handle(HttpContext context)
    {
        string path = context.Request.Path.Value!;
        string[] parts = path.Split('/');
        _requests.AddOrUpdate(path, 1, (_, old) => old + 1);
        TokenWentElsewhere |= context.Request.Host.Port == Elsewhere.Port && context.Request.Headers.Authorization.Count > 0;
        try
        {
            await (path.StartsWith("/api/models/", StringComparison.Ordinal) ? Listing(context, parts[3]) : path.StartsWith("/u/", StringComparison.Ordinal) ? Url(context, parts[2]) : Content(context, parts[1]));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ConnectionAbortedException)
        {
            // The client has gone.
        }
    }

    private Task Listing(HttpContext context, string way) => way switch
    {
        "missing" => Answer(context, "{}", 404),
        "wronghash" => Answer(context, List(hash: new string('0', 64))),
        "dotdot" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{{string.Join(',', new[] { "../../../evil.gguf", "/evil.gguf", "a/../../x.gguf", "C:\\x.gguf", "..\\x.gguf", "a//b.gguf", "a\0.gguf", "a:b.gguf", "a/./b.gguf", "" }
            .Select(name => $$"""{"rfilename":{{JsonSerializer.Serialize(name)}},"size":5,"blobId":"{{new string('1', 40)}}"}"""))}}]}"""),
        "shadir" => Answer(context, """{"sha":"../../x","siblings":[]}"""),
        "loop" => Redirect(context, context.Request.Path + "x"),
        "redir" => Redirect(context, $"{Elsewhere}api/models/ok/m/revision/main", context.Request.Host.Port != Elsewhere.Port),
        "redir2" => Redirect(context, $"//127.0.0.1:{Elsewhere.Port}/api/models/ok/m/revision/main", true, 307),
        "redirnowhere" => Redirect(context, "http://[::bad/x"),
        "filered" => Redirect(context, "file:///etc/passwd"),
        "ra429" => Later(context, 429, "3600"),
        "ra429d" => Later(context, 429, "Fri, 31 Dec 2027 23:59:59 GMT"),
        "ra429far" => Later(context, 429, "Fri, 31 Dec 9999 23:59:59 GMT"),
        "ra429huge" => Later(context, 429, "99999999999999999999"),
        "ra429past" => Later(context, 429, "Fri, 01 Jan 1999 00:00:00 GMT"),
        "ra503" => Later(context, 503, "2000000000"),
        "hang" => Hang(context),
        "drip" => Drip(context, " "u8.ToArray()),
        "lengthy" => Lengthy(context),
        "deep" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":""" + new string('[', 100_000)),
        "many" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{{string.Join(',', Enumerable.Range(0, 100_000).Select(i => $$"""{"rfilename":"x{{i}}.txt","size":1,"blobId":"{{new string('1', 40)}}"}"""))}}]}"""),
        "dup" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{{Sibling()}},{{Sibling()}}]}"""),
        "huge" => Answer(context, List(size: "4611686018427387904")),
        "negative" => Answer(context, List(size: "-5")),
        "nulls" => Answer(context, """{"sha":null,"siblings":[{"rfilename":null}]}"""),
        "nullname" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{"rfilename":null}]}"""),
        "nullsiblings" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":null}"""),
        "nullsibling" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[null]}"""),
        "nullsize" => Answer(context, List(size: "null")),
        "nullroot" => Answer(context, "null"),
        "nullblob" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{"rfilename":"m.gguf","size":1,"blobId":null,"lfs":null}]}"""),
        "array" => Answer(context, "[]"),
        "half" => Answer(context, """{"sha":"\ud800","siblings":[]}"""),
        "halfname" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{"rfilename":"\ud800.gguf","size":1,"blobId":"{{new string('1', 40)}}"}]}"""),
        "exponent" => Answer(context, List(size: "1e400")),
        "fraction" => Answer(context, List(size: "9999.5")),
        "digits" => Answer(context, List(size: new string('9', 100_000))),
        "shanumber" => Answer(context, """{"sha":12345,"siblings":[]}"""),
        "siblingtext" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":["m.gguf"]}"""),
        "siblingmap" => Answer(context, $$$"""{"sha":"{{{Commit}}}","siblings":{"m.gguf":1}}"""),
        "trailing" => Answer(context, List() + "}"),
        "twice" => Answer(context, List() + List()),
        "longname" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{"rfilename":"{{new string('x', 300)}}.gguf","size":{{File.Length}},"lfs":{"size":{{File.Length}},"sha256":"{{LoopbackHub.Sha256(File)}}"} }]}"""),
        "gzipped" => Gzipped(context, Encoding.UTF8.GetBytes(List())),
        "nocontent" => Answer(context, "", 204),
        "notmodified" => Answer(context, "", 304),
        "teapot" => Answer(context, "", 418),
        "redir301" => Redirect(context, $"{Elsewhere}api/models/ok/m/revision/main", true, 301),
        "redir303" => Redirect(context, $"{Elsewhere}api/models/ok/m/revision/main", true, 303),
        "redir308" => Redirect(context, $"http://u:p@127.0.0.1:{Elsewhere.Port}/api/models/ok/m/revision/main", true, 308),
        "redirback" => Redirect(context, $"{Elsewhere}api/models/back/m/revision/main"),
        "back" => Redirect(context, $"{Address}api/models/ok/m/revision/main"),
        "redirdata" => Redirect(context, "data:application/json,{}"),
        "redirempty" => Redirect(context, ""),
        "pingpong" => Redirect(context, $"{(context.Request.Host.Port == Elsewhere.Port ? Address : Elsewhere)}api/models/pingpong/m/revision/main"),
        "empty" => Answer(context, ""),
        "html" => Answer(context, "<html>Sign in to the guest network"),
        "lfsnum" => Answer(context, $$"""{"sha":"{{Commit}}","siblings":[{"rfilename":"m.gguf","size":1,"lfs":{"sha256":5,"size":"x"} }]}"""),
        _ => Answer(context, List()),
    };

    /// <summary>The file of a repository.</summary>
    private Task Content(HttpContext context, string way) => way switch
    {
        "fshort" => Range(context, File[..^1000]),
        "fgzip" => Compressed(context),
        "frange" => Range(context, File, stated: (0, 99)),
        "flong" => Range(context, File, extra: 5000),
        "fhang" => Hang(context),
        "fdrip" => Drip(context, File[..1], File.Length),
        "fsilent" => Silent(context),
        "fnorange" => Whole(context, File),
        "f302" => Redirect(context, $"http://localhost:{Elsewhere.Port}/ok/m.gguf"),
        "funit" => Range(context, File, unit: "items"),
        "fotherrange" => Range(context, File, stated: (1500, 2999)),
        "f416" => Unsatisfiable(context, File.Length),
        "f204" => Answer(context, "", 204),
        "fwhole206" => Whole206(context),
        "freset" => Reset(context),
        "floop" => Redirect(context, context.Request.Path.Value!),
        "f307" => Redirect(context, $"http://127.0.0.1:{Elsewhere.Port}/ok/m.gguf", true, 307),
        "flength" => Range(context, File, length: File.Length * 3),
        "f302hang" => Redirect(context, $"http://localhost:{Elsewhere.Port}/fhang/m.gguf"),
        _ => Range(context, File),
    };

    /// <summary>A file anywhere, of which nothing is known beforehand.</summary>
    private Task Url(HttpContext context, string way)
    {
        int number = Requests(context.Request.Path.Value!);
        bool changed = number > 3;
        byte[] bytes = changed ? Other : File;
        switch (way)
        {
            case "mix" or "mixwhole":
                context.Response.Headers.ETag = changed ? "\"v2\"" : "\"v1\"";
                return way == "mix" ? Range(context, bytes) : Whole(context, number > 1 ? Other : File, number > 1 ? "\"v2\"" : "\"v1\"");
            case "mixnoet":
                return Range(context, bytes);
            case "mixdate":
                context.Response.Headers.LastModified = changed ? "Tue, 02 Jan 2024 00:00:00 GMT" : "Mon, 01 Jan 2024 00:00:00 GMT";
                return Range(context, bytes);
            case "mixlost": // the new version has no tag
                context.Response.Headers.ETag = changed ? default : "\"v1\"";
                context.Response.Headers.LastModified = changed ? "Tue, 02 Jan 2024 00:00:00 GMT" : "Mon, 01 Jan 2024 00:00:00 GMT";
                return Range(context, bytes);
            case "mixlate": // and here the first answer
                context.Response.Headers.ETag = number == 1 ? default : changed ? "\"v2\"" : "\"v1\"";
                return Range(context, bytes);
            case "mixhidden": // the first answer of each attempt says nothing
                context.Response.Headers.ETag = context.Request.Headers.Range == "bytes=0-0" ? default : changed ? "\"v2\"" : "\"v1\"";
                return Range(context, bytes);
            case "mixlatedate":
                context.Response.Headers.LastModified = number == 1 ? default : changed ? "Tue, 02 Jan 2024 00:00:00 GMT" : "Mon, 01 Jan 2024 00:00:00 GMT";
                return Range(context, bytes);
            case "mixweak": // contents that mean the same are not the same bytes
                context.Response.Headers.ETag = "W/\"v1\"";
                context.Response.Headers.LastModified = changed ? "Tue, 02 Jan 2024 00:00:00 GMT" : "Mon, 01 Jan 2024 00:00:00 GMT";
                return Range(context, bytes);
            case "mixshort": // what is asked for is beyond the end of the new version
                return changed && LoopbackHub.Range(context, File) is { From: >= 2000 } ? Unsatisfiable(context, 2000) : Range(context, changed ? Other[..2000] : File);
            case "nothing416":
                return Unsatisfiable(context, 0);
            case "always416":
                return number == 1 ? Range(context, File) : Unsatisfiable(context, File.Length);
            case "mixsize":
                return Range(context, changed ? Other[..^1] : File);
            case "restless":
                context.Response.Headers.ETag = $"\"v{number}\"";
                return Range(context, File);
            case "dates": // copies on several servers
                context.Response.Headers.ETag = "\"v1\"";
                context.Response.Headers.LastModified = $"Mon, 0{1 + (number % 7)} Jan 2024 00:00:00 GMT";
                return Range(context, File);
            case "hashed" or "linked" or "linkedwrong":
                context.Response.Headers[way == "hashed" ? "ETag" : "X-Linked-ETag"] = $"\"{(way == "linkedwrong" ? new string('0', 64) : LoopbackHub.Sha256(File))}\"";
                return way == "hashed" ? Range(context, File) : Redirect(context, $"{Elsewhere}u/plain/m.gguf");
            case "nosize":
                context.Response.StatusCode = 206;
                context.Response.Headers.ContentRange = "bytes 0-0/*";
                return context.Response.Body.WriteAsync(File, 0, 1);
            case "chunked":
                return Lengthless(context);
            case "nothing":
                return Whole(context, []);
            case "more":
                return number == 1 ? Whole(context, File) : Lengthless(context, [.. File, 1, 2, 3]);
            case "hang":
                return Hang(context);
            default:
                return Range(context, File);
        }
    }

    private string List(string? hash = null, string? size = null) => $$"""{"sha":"{{Commit}}","siblings":[{{Sibling(hash, size)}}]}""";

    private string Sibling(string? hash = null, string? size = null) =>
        $$"""{"rfilename":"m.gguf","size":{{size ?? File.Length.ToString()}},"lfs":{"size":{{size ?? File.Length.ToString()}},"sha256":"{{hash ?? LoopbackHub.Sha256(File)}}"} }""";

    private static Task Answer(HttpContext context, string text, int status = 200)
    {
        context.Response.StatusCode = status;
        return context.Response.WriteAsync(text);
    }

    private Task Redirect(HttpContext context, string target, bool isWanted = true, int status = 302)
    {
        context.Response.StatusCode = isWanted ? status : 500;
        context.Response.Headers.Location = target;
        return Task.CompletedTask;
    }

    private static Task Later(HttpContext context, int status, string when)
    {
        context.Response.StatusCode = status;
        context.Response.Headers.RetryAfter = when;
        return Task.CompletedTask;
    }

    private async Task Hang(HttpContext context)
    {
        try
        {
            await Task.Delay(Timeout.Infinite, context.RequestAborted);
        }
        finally
        {
            Interlocked.Increment(ref _leftAlone);
        }
    }

    private async Task Silent(HttpContext context)
    {
        (int from, int to) = LoopbackHub.Range(context, File);
        context.Response.StatusCode = 206;
        context.Response.Headers.ContentRange = $"bytes {from}-{to - 1}/{File.Length}";
        context.Response.ContentLength = to - from;
        await context.Response.Body.FlushAsync();
        await Hang(context);
    }

    private async Task Drip(HttpContext context, byte[] drop, int? size = null)
    {
        if (size is { } all)
        {
            (int from, int to) = LoopbackHub.Range(context, File);
            context.Response.StatusCode = 206;
            context.Response.Headers.ContentRange = $"bytes {from}-{to - 1}/{all}";
            context.Response.ContentLength = to - from;
        }

        try
        {
            while (true)
            {
                await context.Response.Body.WriteAsync(drop, context.RequestAborted);
                await context.Response.Body.FlushAsync(context.RequestAborted);
                await Task.Delay(20, context.RequestAborted);
            }
        }
        finally
        {
            Interlocked.Increment(ref _leftAlone);
        }
    }

    private static async Task Lengthy(HttpContext context)
    {
        context.Response.ContentLength = 1L << 40;
        await context.Response.Body.WriteAsync(new byte[1000], context.RequestAborted);
        await context.Response.Body.FlushAsync(context.RequestAborted);
        await Task.Delay(Timeout.Infinite, context.RequestAborted);
    }

    private async Task Compressed(HttpContext context)
    {
        using MemoryStream packed = new();
        await using (GZipStream gzip = new(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            await gzip.WriteAsync(File);
        }

        context.Response.Headers.ContentEncoding = "gzip";
        await Whole(context, packed.ToArray());
    }

    private static async Task Gzipped(HttpContext context, byte[] bytes)
    {
        context.Response.Headers.ContentEncoding = "gzip";
        await using GZipStream gzip = new(context.Response.Body, CompressionLevel.Fastest);
        await gzip.WriteAsync(bytes);
    }

    private static Task Unsatisfiable(HttpContext context, long size)
    {
        context.Response.StatusCode = 416;
        context.Response.Headers.ContentRange = $"bytes */{size}";
        return Task.CompletedTask;
    }

    /// <summary>The whole where a range is asked for, and a range where the whole is.</summary>
    private async Task Whole206(HttpContext context)
    {
        if (context.Request.Headers.Range.Count > 0)
        {
            await Whole(context, File);
            return;
        }

        context.Response.StatusCode = 206;
        context.Response.Headers.ContentRange = $"bytes 100-{File.Length - 1}/{File.Length}";
        await context.Response.Body.WriteAsync(File.AsMemory(100));
    }

    /// <summary>The connection breaks in the middle of each range, twice: what the client had not read yet is lost, so that it may have to begin anew both times.</summary>
    private async Task Reset(HttpContext context)
    {
        (int from, int to) = LoopbackHub.Range(context, File);
        if (_requests.AddOrUpdate($"{context.Request.Path} to {to}", 1, (_, old) => old + 1) > 2)
        {
            await Range(context, File);
            return;
        }

        context.Response.StatusCode = 206;
        context.Response.Headers.ContentRange = $"bytes {from}-{to - 1}/{File.Length}";
        context.Response.ContentLength = to - from;
        await context.Response.Body.WriteAsync(File.AsMemory(from, Math.Min(700, to - from)));
        await context.Response.Body.FlushAsync();
        if (to - from > 700)
        {
            await Task.Delay(20);
            context.Abort();
        }
    }

    private static Task Whole(HttpContext context, byte[] bytes, string? tag = null)
    {
        context.Response.Headers.ETag = tag ?? context.Response.Headers.ETag;
        context.Response.ContentLength = bytes.Length;
        return context.Response.Body.WriteAsync(bytes, 0, bytes.Length);
    }

    private Task Lengthless(HttpContext context, byte[]? bytes = null) => context.Response.Body.WriteAsync(bytes ?? File, 0, (bytes ?? File).Length);

    private static async Task Range(HttpContext context, byte[] bytes, (int From, int To)? stated = null, int extra = 0, string unit = "bytes", int? length = null)
    {
        (int from, int to) = LoopbackHub.Range(context, bytes);
        (int first, int last) = stated ?? (from, to - 1);
        context.Response.StatusCode = 206;
        context.Response.Headers.ContentRange = $"{unit} {first}-{last}/{length ?? bytes.Length}";
        context.Response.ContentLength = extra > 0 ? null : last - first + 1;
        await context.Response.Body.WriteAsync(bytes.AsMemory(first, last - first + 1));
        await context.Response.Body.WriteAsync(new byte[extra]);
    }
}

/// <summary>A server below HTTP: says what it is told to each connection, a piece at a time, and then nothing more.</summary>
internal sealed class RawServer : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private int _connections;
    private long _sent;

    public RawServer(byte[][] pieces, TimeSpan pause)
    {
        _listener.Start();
        _ = AcceptAsync(pieces, pause);
    }

    public Uri Address => new($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/");

    public int Connections => _connections;

    /// <summary>Bytes that went out to a client who was there.</summary>
    public long Sent => Interlocked.Read(ref _sent);

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Dispose();
    }

    private async Task AcceptAsync(byte[][] pieces, TimeSpan pause)
    {
        try
        {
            while (true)
            {
                Socket socket = await _listener.AcceptSocketAsync(_stop.Token);
                Interlocked.Increment(ref _connections);
                _ = ServeAsync(socket, pieces, pause);
            }
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(Socket socket, byte[][] pieces, TimeSpan pause)
    {
        using (socket)
        {
            try
            {
                foreach (byte[] piece in pieces)
                {
                    for (int at = 0; at < piece.Length;)
                    {
                        int sent = await socket.SendAsync(piece.AsMemory(at), _stop.Token);
                        at += sent;
                        Interlocked.Add(ref _sent, sent);
                    }

                    await Task.Delay(pause, _stop.Token);
                }

                await Task.Delay(Timeout.Infinite, _stop.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or SocketException)
            {
                // The client or the test has gone.
            }
        }
    }
}
