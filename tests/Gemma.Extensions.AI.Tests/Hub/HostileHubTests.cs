using System.Text;

namespace Gemma.Extensions.AI.Tests.Hub;

/// <summary>A server that is silent, slow, endless, contradictory or wrong: every download ends, with the right file or with an exception that says why.</summary>
public sealed class HostileHubTests : IAsyncLifetime
{
    private static readonly TimeSpan s_hang = TimeSpan.FromSeconds(100); // a download that does not end fails the test instead of hanging it
    private readonly TempDirectory _temp = new();
    private HostileHub _hub = null!;

    public static TheoryData<string, string[]> BelowHttp => new()
    {
        { "silent from the first byte", [] },
        { "headers that never end", [.. Enumerable.Repeat("X: y\r\n", 1000).Prepend("HTTP/1.1 200 OK\r\n")] },
        { "early hints for ever", [.. Enumerable.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000)] },
        { "no HTTP", ["SSH-2.0-OpenSSH_9.9\r\n"] },
        { "a body that is announced and does not come", ["HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"] },
        { "chunks that never end", [.. Enumerable.Repeat("1\r\n \r\n", 1000).Prepend("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")] },
        { "a chunk's size that never ends", [.. Enumerable.Repeat("0", 1000).Prepend("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")] },
    };

    public async ValueTask InitializeAsync() => _hub = await HostileHub.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _hub.DisposeAsync();
        _temp.Dispose();
    }

    [Theory]
    [InlineData("ok")]
    [InlineData("redir")]
    [InlineData("redir2")]
    [InlineData("flong")]
    [InlineData("f302")]
    [InlineData("fnorange")]
    [InlineData("redir301")]
    [InlineData("redir303")]
    [InlineData("redir308")]
    [InlineData("redirback")]
    [InlineData("f307")]
    [InlineData("freset")]
    public async Task TheRightFileComes(string way)
    {
        string path = await EnsureAsync($"{way}/m");
        Assert.Equal(_hub.File, File.ReadAllBytes(path));
        Assert.False(_hub.TokenWentElsewhere);
    }

    [Theory]
    [InlineData("missing", "not found")]
    [InlineData("wronghash", "hash was wrong")]
    [InlineData("shadir", "names a commit that is none")]
    [InlineData("loop", "redirects more than 10 times")]
    [InlineData("filered", "no web address")]
    [InlineData("redirnowhere", "answered 302")]
    [InlineData("lengthy", "more than")]
    [InlineData("deep", "did not answer as the hub does")]
    [InlineData("dup", "did not answer as the hub does")]
    [InlineData("huge", "4,611,686,018,427,387,904 bytes")]
    [InlineData("nulls", "names a commit that is none")]
    [InlineData("nullname", "has no name")]
    [InlineData("nullsiblings", "did not answer as the hub does")]
    [InlineData("nullsibling", "did not answer as the hub does")]
    [InlineData("nullsize", "did not answer as the hub does")]
    [InlineData("nullroot", "did not answer as the hub does")]
    [InlineData("array", "did not answer as the hub does")]
    [InlineData("half", "did not answer as the hub does")]
    [InlineData("empty", "did not answer as the hub does")]
    [InlineData("html", "did not answer as the hub does")]
    [InlineData("lfsnum", "did not answer as the hub does")]
    [InlineData("fshort", "expected 0-1499 of 9999")]
    [InlineData("frange", "expected 100-1499 of 9999")]
    [InlineData("fgzip", "compressed (gzip)")]
    [InlineData("halfname", "did not answer as the hub does")]
    [InlineData("exponent", "did not answer as the hub does")]
    [InlineData("fraction", "did not answer as the hub does")]
    [InlineData("digits", "did not answer as the hub does")]
    [InlineData("shanumber", "did not answer as the hub does")]
    [InlineData("siblingtext", "did not answer as the hub does")]
    [InlineData("siblingmap", "did not answer as the hub does")]
    [InlineData("trailing", "did not answer as the hub does")]
    [InlineData("twice", "did not answer as the hub does")]
    [InlineData("longname", "failed")]
    [InlineData("gzipped", "compressed (gzip)")]
    [InlineData("nocontent", "did not answer as the hub does")]
    [InlineData("notmodified", "answered 304")]
    [InlineData("teapot", "answered 418")]
    [InlineData("redirdata", "no web address")]
    [InlineData("redirempty", "answered 302")]
    [InlineData("pingpong", "redirects more than 10 times")]
    [InlineData("floop", "redirects more than 10 times")]
    [InlineData("funit", "items 0-1499/9999")]
    [InlineData("fotherrange", "expected 0-1499 of 9999")]
    [InlineData("flength", "expected 0-1499 of 9999")]
    [InlineData("f416", "no bytes 0-1499")]
    [InlineData("f204", "ended at byte 0")]
    [InlineData("fwhole206", "asked for as a whole")]
    public async Task WhatIsWrongIsSaid(string way, string message)
    {
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync($"{way}/m", options => options.Connections = 1));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        AssertNothingOutside();
        Assert.False(_hub.TokenWentElsewhere);
    }

    [Theory]
    [InlineData("dotdot")]
    [InlineData("many")]
    [InlineData("negative")]
    [InlineData("nullblob")]
    public async Task AListingWithoutAModelIsOne(string way)
    {
        await Assert.ThrowsAsync<GemmaModelFormatException>(() => EnsureAsync($"{way}/m"));
        AssertNothingOutside();
    }

    /// <summary>Asked to wait for hours, the client waits for the stall window, tries as often as it may, and says what it was asked.</summary>
    [Theory]
    [InlineData("ra429", " and asks to wait for 3,600 s")]
    [InlineData("ra429d", " and asks to wait for ")]
    [InlineData("ra429far", " and asks to wait for ")]
    [InlineData("ra429huge", "1 retries. ")]
    [InlineData("ra429past", "1 retries. ")]
    [InlineData("ra503", " and asks to wait for 2,000,000,000 s")]
    public async Task RetryAfterIsFollowedUpToTheStallWindow(string way, string message)
    {
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync($"{way}/m", options => (options.Retries, options.StallWindow) = (1, TimeSpan.FromSeconds(0.5))));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal(2, _hub.Requests($"/api/models/{way}/m/revision/main"));
    }

    [Theory]
    [InlineData("hang", "did not answer in 0.2 s")]
    [InlineData("drip", "bytes in")]
    public async Task AListingThatDoesNotComeIsLeft(string way, string message)
    {
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync($"{way}/m", Impatient));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.Equal(2, _hub.Requests($"/api/models/{way}/m/revision/main"));
        Eventually.IsTrue(() => _hub.LeftAlone == 2);
    }

    [Fact]
    public async Task AFileThatDoesNotComeIsLeft()
    {
        await EnsureAsync("ok/m");
        string[] ways = ["fhang", "fdrip", "fsilent", "f302hang"];
        await Task.WhenAll(ways.Select(async way =>
        {
            GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync($"{way}/m", options => (options.Retries, options.StallWindow, options.Connections) = (1, TimeSpan.FromSeconds(1.5), 1)));
            Assert.Matches("did not answer in|brought [0-9]+ bytes in", error.Message);
        }));
        Eventually.IsTrue(() => _hub.LeftAlone >= 8);
        Assert.Equal(8, _hub.LeftAlone);
    }

    [Fact]
    public async Task AUrlThatDoesNotAnswerIsLeft()
    {
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync($"{_hub.Address}u/hang/m.gguf", Impatient));
        Assert.Contains("did not answer", error.Message, StringComparison.Ordinal);
        Assert.Equal(2, _hub.Requests("/u/hang/m.gguf"));
    }

    [Theory]
    [MemberData(nameof(BelowHttp))]
    public async Task AServerBelowHttpIsLeft(string what, string[] pieces)
    {
        using RawServer server = new([.. pieces.Select(Encoding.ASCII.GetBytes)], TimeSpan.FromMilliseconds(15));
        await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync("a/b", options =>
        {
            Impatient(options);
            options.Endpoint = server.Address;
        }));
        Assert.True(server.Connections == 2, $"{what}: {server.Connections} connections");
    }

    /// <summary>Answers that contradict themselves: no listing, and no wait.</summary>
    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n{}")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 500\r\n\r\n{}")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n{}")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n\r\nmore")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}")]
    [InlineData("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}")]
    [InlineData("HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("HTTP/1.1 302 Found\r\nLocation: \u0001\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n")]
    public async Task AnAnswerThatContradictsItselfIsNone(string answer)
    {
        using RawServer server = new([Encoding.Latin1.GetBytes(answer)], TimeSpan.FromMilliseconds(1));
        await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync("a/b", options =>
        {
            Impatient(options);
            options.Endpoint = server.Address;
        }));
        AssertNothingOutside();
    }

    /// <summary>700 MB in chunks, of which no header says how many they are.</summary>
    [Fact]
    public async Task AListingWithoutEndIsLeft()
    {
        byte[] chunk = Encoding.ASCII.GetBytes($"100000\r\n{new string(' ', 1 << 20)}\r\n");
        using RawServer server = new([.. Enumerable.Repeat(chunk, 700).Prepend("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"u8.ToArray())], TimeSpan.Zero);
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync("a/b", options => options.Endpoint = server.Address));
        Assert.Contains("more than 33,554,432 bytes", error.Message, StringComparison.Ordinal);
        Assert.InRange(server.Sent, 32 << 20, 100 << 20); // and what lay in buffers
        Assert.Equal(1, server.Connections);
    }

    [Theory]
    [InlineData("mix")]
    [InlineData("mixdate")]
    [InlineData("mixsize")]
    [InlineData("mixwhole")]
    [InlineData("mixlost")]
    [InlineData("mixlate")]
    [InlineData("mixlatedate")]
    [InlineData("mixhidden")]
    [InlineData("mixweak")]
    [InlineData("mixshort")]
    public async Task AFileThatChangesBetweenRangesIsStartedAgain(string way)
    {
        string path = await EnsureAsync($"{_hub.Address}u/{way}/m.gguf", options => options.Connections = 1);
        Assert.Equal(way switch { "mixsize" => _hub.Other[..^1], "mixshort" => _hub.Other[..2000], _ => _hub.Other }, File.ReadAllBytes(path));
        Assert.DoesNotContain(Directory.GetFiles(Path.GetDirectoryName(path)!), file => file.Contains("incomplete", StringComparison.Ordinal));
    }

    [Fact]
    public async Task AFileThatKeepsChangingIsNotTaken()
    {
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync($"{_hub.Address}u/restless/m.gguf"));
        Assert.Contains("changed while it was downloaded, 3 times", error.Message, StringComparison.Ordinal);
        Assert.Equal(_hub.File, File.ReadAllBytes(await EnsureAsync($"{_hub.Address}u/dates/m.gguf")));
    }

    [Theory]
    [InlineData("plain", true)]
    [InlineData("mixnoet", true)]
    [InlineData("hashed", false)]
    [InlineData("linked", false)]
    public async Task AUrlWithoutAHashSaysSo(string way, bool hasNoHash)
    {
        Listener listener = new();
        string path = await EnsureAsync($"{_hub.Address}u/{way}/m.gguf", progress: listener);
        Assert.Equal(_hub.File.Length, new FileInfo(path).Length);
        Assert.NotEmpty(listener.Seen);
        Assert.All(listener.Seen, progress => Assert.Equal(hasNoHash, progress.HasNoHash));
    }

    [Theory]
    [InlineData("linkedwrong", "hash was wrong")]
    [InlineData("nosize", "does not say how large")]
    [InlineData("chunked", "does not say how large")]
    [InlineData("nothing", "empty")]
    [InlineData("nothing416", "empty")]
    [InlineData("always416", "the file has no bytes")]
    [InlineData("more", "sends more than the 9,999 bytes")]
    public async Task AUrlThatCannotBeTrustedIsNotTaken(string way, string message)
    {
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => EnsureAsync($"{_hub.Address}u/{way}/m.gguf"));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetFiles(_temp.Path, "*", SearchOption.AllDirectories), file => file.EndsWith(".gguf", StringComparison.Ordinal));
    }

    private static void Impatient(GemmaHubOptions options) => (options.Retries, options.StallWindow) = (1, TimeSpan.FromSeconds(0.2));

    private async Task<string> EnsureAsync(string reference, Action<GemmaHubOptions>? change = null, IProgress<GemmaDownloadProgress>? progress = null)
    {
        GemmaHubOptions options = new()
        {
            CacheDirectory = Path.Combine(_temp.Path, "cache"), Endpoint = _hub.Address, Token = "secret", Offline = false, RangeBytes = 1500, Connections = 4, Retries = 2,
            RetryDelay = TimeSpan.FromMilliseconds(1), StallWindow = TimeSpan.FromSeconds(30), MinimumBytesPerWindow = 1000,
        };
        change?.Invoke(options);
        return await GemmaModelHub.EnsureAsync(reference, options, progress).WaitAsync(s_hang);
    }

    private void AssertNothingOutside()
    {
        Assert.Equal([Path.Combine(_temp.Path, "cache")], Directory.Exists(_temp.Path) && Directory.GetFileSystemEntries(_temp.Path) is { Length: > 0 } entries ? entries : [Path.Combine(_temp.Path, "cache")]);
        Assert.DoesNotContain(Directory.GetFiles(_temp.Path, "*", SearchOption.AllDirectories), file => file.EndsWith(".gguf", StringComparison.Ordinal));
    }

    private sealed class Listener : IProgress<GemmaDownloadProgress>
    {
        public List<GemmaDownloadProgress> Seen { get; } = [];

        public void Report(GemmaDownloadProgress value)
        {
            lock (Seen)
            {
                Seen.Add(value);
            }
        }
    }
}
