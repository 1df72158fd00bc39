using System.Net;
using System.Text.Json;
using Gemma.Extensions.AI.Tests.Chat;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.Tests.WebChat;

/// <summary>The sample over HTTP on loopback.</summary>
public sealed class WebChatTests
{
    private static string Tiny => $"--Gemma:ModelPath={TinyModel.Path}";

    /// <summary>Slow enough that a test can interrupt it: the float32 path, without guessing.</summary>
    private static string[] Slow { get; } = ["--Gemma:ModelPath=nano", "--Gemma:Kernel=reference", "--Gemma:Threads=1", "--Gemma:SpeculativeTokens=0"];

    [Fact]
    public async Task TheSecondTurnComesFromTheCache()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(null, Tiny, "--Chat:MaxOutputTokens=20", "--Chat:SystemPrompt=Be brief.");
        (string answer, JsonElement first) = await WebChatServer.ReadAsync(await server.AskAsync(WebChatServer.Question("Tell me something.")));
        (_, JsonElement second) = await WebChatServer.ReadAsync(await server.AskAsync(WebChatServer.Question("Tell me something.", answer, "More.")));
        // Not the last tokens of the answer: the template trims it, so white space at its end is not repeated.
        Assert.InRange(second.GetProperty("prompt_tokens_details").GetProperty("cached_tokens").GetInt64(), first.GetProperty("prompt_tokens").GetInt64(), first.GetProperty("total_tokens").GetInt64());
        Assert.InRange(first.GetProperty("completion_tokens").GetInt64(), 1, 20); // as the options say
    }

    [Fact]
    public async Task ClosingTheConnectionFreesTheMemory()
    {
        EndlessClient endless = null!;
        await using WebChatServer server = await WebChatServer.StartAsync(inner => endless = new EndlessClient(inner), Slow);
        using (HttpResponseMessage response = await server.AskAsync(WebChatServer.Question("Go.")))
        {
            Stream stream = await response.Content.ReadAsStreamAsync();
            await stream.ReadExactlyAsync(new byte[200]);
            Assert.True(server.Model.Engine.Status.UsedBlocks > 0);
        }

        Assert.IsAssignableFrom<OperationCanceledException>(await endless.Ended);
        await NothingRunsAsync(server);
    }

    [Fact]
    public async Task AFullQueueIs429WithATime()
    {
        EndlessClient endless = null!;
        await using WebChatServer server = await WebChatServer.StartAsync(
            inner => endless = new EndlessClient(inner), [.. Slow, "--Gemma:MaxConcurrentRequests=1", "--Gemma:MaxQueuedRequests=0"]);
        using HttpResponseMessage running = await server.AskAsync(WebChatServer.Question("Go."));
        using HttpResponseMessage refused = await server.AskAsync(WebChatServer.Question("Me too."));
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.True(refused.Headers.RetryAfter!.Delta > TimeSpan.Zero);
        await ErrorAsync(refused, "requests");
        Assert.Equal(1, server.Model.Engine.Status.Running); // the one that ran goes on
    }

    [Fact]
    public async Task TooManyQuestionsAre429WithATime()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), "--Chat:QuestionsPerMinute=2");
        for (int i = 0; i < 2; i++)
        {
            using HttpResponseMessage response = await server.AskAsync(WebChatServer.Question("Hi"));
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        }

        using HttpResponseMessage refused = await server.Http.PostAsync("v1/chat/completions/", WebChatServer.Question("Hi")); // however the address is written
        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.Equal("Healthy", await server.Http.GetStringAsync("health")); // what is no question is not limited
        Assert.InRange(refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 60);
        await ErrorAsync(refused, "faster than");
    }

    [Fact]
    public async Task TooManyAnswersAtOnceAre429UntilOneEnds()
    {
        TaskCompletionSource<string> gate = new();
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["a", gate.Task]), "--Chat:AnswersAtOnce=1");
        using HttpResponseMessage first = await server.AskAsync(WebChatServer.Question("Hi"));
        using (HttpResponseMessage refused = await server.AskAsync(WebChatServer.Question("Hi")))
        {
            Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
            Assert.NotNull(refused.Headers.RetryAfter);
            await ErrorAsync(refused, "as many answers running");
        }

        gate.SetResult("b");
        await WebChatServer.ReadAsync(first);
        await Eventually.IsTrueAsync(async () =>
        {
            using HttpResponseMessage again = await server.AskAsync(WebChatServer.Question("Hi"));
            return again.StatusCode == HttpStatusCode.OK;
        });
    }

    [Fact]
    public async Task WhatIsNotJsonIsRefused()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]));
        using HttpResponseMessage broken = await server.AskAsync(new StringContent("{", System.Text.Encoding.UTF8, "application/json"));
        Assert.Equal(HttpStatusCode.BadRequest, broken.StatusCode);
        // A form of another site could send text/plain without asking; it must not be understood.
        using HttpResponseMessage plain = await server.AskAsync(new StringContent("""{"messages":[{"role":"user","content":"Hi"}]}"""));
        Assert.Equal(HttpStatusCode.UnsupportedMediaType, plain.StatusCode);
    }

    [Fact]
    public async Task AConversationOverTheContextIsRefused()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(null, Tiny, "--Gemma:ContextLength=64");
        using HttpResponseMessage response = await server.AskAsync(WebChatServer.Question(string.Join(' ', Enumerable.Repeat("river", 200))));
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        await ErrorAsync(response, "64");
    }

    [Fact]
    public async Task ATimeLimitThatPassesWhileWaitingIs503()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(null, [.. Slow, "--Gemma:MaxConcurrentRequests=1", "--GemmaServer:RequestTimeout=00:00:00.1"]);
        // Whoever has the only place holds it, without a time limit.
        EndlessClient endless = new(server.Model.AsIChatClient());
        await using IAsyncEnumerator<ChatResponseUpdate> running = endless.GetStreamingResponseAsync("Go.").GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());
        using HttpResponseMessage response = await server.AskAsync(WebChatServer.Question("Hi"));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, response.StatusCode);
        await Eventually.IsTrueAsync(() => server.Model.Engine.Status is { Running: 1, Waiting: 0 });
    }

    /// <summary>A page of another site whose name was made to mean this machine sends its own name.</summary>
    [Theory]
    [InlineData(null, "localhost", true)]
    [InlineData(null, "LocalHost:5080", true)]
    [InlineData(null, "127.0.0.1:1", true)]
    [InlineData(null, "[::1]:5080", true)]
    [InlineData(null, "evil.example", false)]
    [InlineData(null, "localhost.evil.example", false)]
    [InlineData(null, "127.0.0.1.evil.example:5080", false)]
    [InlineData(null, "192.168.1.5", false)]
    [InlineData(null, "0.0.0.0", false)]
    [InlineData(null, "localhost.", false)]
    [InlineData(null, "127.0.0.1.", false)]
    [InlineData(null, "127.1", false)]
    [InlineData(null, "2130706433", false)]
    [InlineData(null, "[::ffff:127.0.0.1]", false)]
    [InlineData(null, "xlocalhost", false)]
    [InlineData("*.example.net", "evilexample.net", false)]
    [InlineData("chat.example.org;*.example.net", "chat.example.org:80", true)]
    [InlineData("chat.example.org;*.example.net", "a.example.net", true)]
    [InlineData("chat.example.org;*.example.net", "localhost", false)]
    [InlineData("*", "evil.example", true)]
    public async Task OnlyItsOwnNamesAreAnswered(string? allowed, string host, bool answered)
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), allowed is null ? [] : [$"--AllowedHosts={allowed}"]);
        foreach (string path in (string[])["", "health", "v1/models", "v1/chat/completions"])
        {
            using HttpRequestMessage request = new(path == "v1/chat/completions" ? HttpMethod.Post : HttpMethod.Get, path) { Content = path == "v1/chat/completions" ? WebChatServer.Question("Hi") : null };
            request.Headers.Host = host;
            using HttpResponseMessage response = await server.Http.SendAsync(request);
            Assert.Equal(answered ? HttpStatusCode.OK : HttpStatusCode.BadRequest, response.StatusCode);
        }
    }

    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("127.0.0.0/8")]
    [InlineData("::ffff:127.0.0.1")]
    public async Task UsersBehindAKnownProxyAreToldApart(string proxy)
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), "--Chat:QuestionsPerMinute=1", $"--Chat:KnownProxies:0={proxy}", "--Chat:KnownProxies:1=10.0.0.0/8");
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "203.0.113.1"));
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "203.0.113.2"));
        Assert.Equal(HttpStatusCode.TooManyRequests, await AskFromAsync(server, "203.0.113.1"));
        Assert.Equal(HttpStatusCode.TooManyRequests, await AskFromAsync(server, "8.8.8.8, 203.0.113.1")); // what the user wrote himself stands before it
        Assert.Equal(HttpStatusCode.TooManyRequests, await AskFromAsync(server, "203.0.113.2, 10.1.2.3")); // through two known proxies
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "203.0.113.2, 192.0.2.7")); // 192.0.2.7 is a user who says something
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "2001:db8::1"));
        Assert.Equal(HttpStatusCode.TooManyRequests, await AskFromAsync(server, "2001:db8::2:3:4:5")); // the same connection
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "2001:db8:0:1::1"));
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "not an address")); // counts as the proxy's own
        Assert.Equal(HttpStatusCode.TooManyRequests, await AskFromAsync(server, null));
    }

    [Theory]
    [InlineData()]
    [InlineData("--Chat:KnownProxies:0=10.0.0.5")]
    [InlineData("--ForwardedHeaders_Enabled=true")]
    public async Task NobodyElseCanSayWhoHeIs(params string[] settings)
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), [.. settings, "--Chat:QuestionsPerMinute=1"]);
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "203.0.113.1"));
        Assert.Equal(HttpStatusCode.TooManyRequests, await AskFromAsync(server, "203.0.113.2"));
        Assert.Equal(HttpStatusCode.TooManyRequests, await AskFromAsync(server, null));
    }

    /// <summary>Ports, brackets, mapped addresses, chains that lie or break: a user is always the address that the last known proxy saw.</summary>
    [Fact]
    public async Task ChainsOfProxiesAreReadFromTheirEnd()
    {
        string[] proxies = ["127.0.0.1", "10.0.0.0/8", "::1", "2001:db8:ffff::/48", "::ffff:192.168.7.0/120"];
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), ["--Chat:QuestionsPerMinute=1", .. proxies.Select(static (proxy, i) => $"--Chat:KnownProxies:{i}={proxy}")]);
        foreach ((string first, string[] same) in ((string, string[])[])
            [
                ("198.51.100.1", ["198.51.100.1:4711", "::ffff:198.51.100.1", "[::ffff:198.51.100.1]:80", "198.51.100.1, 10.1.2.3, 10.9.9.9", "1.1.1.1, 198.51.100.1:1, 10.1.2.3:99", "198.51.100.1,192.168.7.9", "127.0.0.1, 198.51.100.1", " 198.51.100.1 ", "198.51.100.1, 2001:db8:ffff::5", "198.51.100.1, [2001:db8:ffff::5]:443, 10.0.0.1"]),
                ("2001:db8:1::1", ["2001:db8:1::2", "[2001:db8:1::3]:8080", "[2001:db8:1::4]", "2001:db8:1:0:9:9:9:9", "9.9.9.9, 2001:db8:1::1, 10.0.0.2"]),
                ("evil, 192.0.2.50", ["unknown, 192.0.2.50", "192.0.2.50, , 10.0.0.1", ", 192.0.2.50", "' or 1=1, 192.0.2.50"]),
            ])
        {
            Assert.Equal((first, HttpStatusCode.OK), (first, await AskFromAsync(server, first)));
            foreach (string chain in same)
            {
                Assert.Equal((chain, HttpStatusCode.TooManyRequests), (chain, await AskFromAsync(server, chain)));
            }
        }

        // What is no address is nobody's: it counts as the proxy that passes it on.
        Assert.Equal(HttpStatusCode.OK, await AskFromAsync(server, "unknown"));
        foreach (string malformed in (string[])["_hidden", "300.1.1.1", "1.2.3.4.5", "[::1", "::gg", "198.51.100.77:port", "", ",", new string('1', 2000), "198.51.100.78;198.51.100.79", "for=198.51.100.80"])
        {
            Assert.Equal((malformed, HttpStatusCode.TooManyRequests), (malformed, await AskFromAsync(server, malformed)));
        }
    }

    private static async Task<HttpStatusCode> AskFromAsync(WebChatServer server, string? forwarded)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, "v1/chat/completions") { Content = WebChatServer.Question("Hi") };
        if (forwarded is not null)
        {
            request.Headers.TryAddWithoutValidation("X-Forwarded-For", forwarded);
        }

        using HttpResponseMessage response = await server.Http.SendAsync(request);
        return response.StatusCode;
    }

    [Theory]
    [InlineData("--GemmaServer:RequestTimeout=00:00:00")]
    [InlineData("--GemmaServer:RequestTimeout=-00:00:01")]
    [InlineData("--Chat:AnswersAtOnce=0")]
    public async Task SettingsWithWhichNoQuestionCouldBeAnsweredStopTheStart(string setting)
    {
        OptionsValidationException exception = await Assert.ThrowsAsync<Microsoft.Extensions.Options.OptionsValidationException>(() => WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), setting));
        Assert.Contains(setting.Split(':')[1].Split('=')[0], exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task AProxyThatIsNoneStopsTheStart()
    {
        OptionsValidationException exception = await Assert.ThrowsAsync<Microsoft.Extensions.Options.OptionsValidationException>(
            () => WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]), "--Chat:KnownProxies:0=proxy.local"));
        Assert.Contains("'proxy.local', expected an address", exception.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task HealthModelAndPageAreServed()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(null, Tiny);
        Assert.Equal("Healthy", await server.Http.GetStringAsync("health"));
        Assert.Contains("tiny", await server.Http.GetStringAsync("v1/models"), StringComparison.Ordinal);
        foreach (string path in (string[])["", "chat.js", "markdown.js", "chat.css", "icon.svg"])
        {
            using HttpResponseMessage response = await server.Http.GetAsync(path);
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            Assert.Contains("default-src 'none'", response.Headers.GetValues("Content-Security-Policy").Single(), StringComparison.Ordinal);
            Assert.Equal("nosniff", response.Headers.GetValues("X-Content-Type-Options").Single());
            using HttpRequestMessage again = new(HttpMethod.Get, path);
            again.Headers.IfNoneMatch.Add(response.Headers.ETag!);
            using HttpResponseMessage unchanged = await server.Http.SendAsync(again);
            Assert.Equal(HttpStatusCode.NotModified, unchanged.StatusCode);
        }
    }

    [Fact]
    public void ThePageNeverMakesHtmlOfText()
    {
        string folder = Path.Combine(TestData.Repository, "src", "Gemma.Extensions.AI.AspNetCore", "Web", "page");
        foreach (string file in Directory.GetFiles(folder, "*.js"))
        {
            string code = File.ReadAllText(file);
            foreach (string way in (string[])["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "createContextualFragment", "setHTML", "eval(", "Function("])
            {
                Assert.DoesNotContain(way, code, StringComparison.OrdinalIgnoreCase);
            }
        }
    }

    internal static async Task NothingRunsAsync(WebChatServer server)
    {
        AI.Engine.GemmaEngine engine = server.Model.Engine;
        await Eventually.IsTrueAsync(() => engine.Status is { Running: 0, Waiting: 0, UsedBlocks: 0 });
        long steps = engine.Steps;
        await Task.Delay(100);
        Assert.Equal(steps, engine.Steps);
    }

    private static async Task ErrorAsync(HttpResponseMessage response, string expected)
    {
        Assert.Equal("application/json", response.Content.Headers.ContentType!.MediaType);
        Assert.Contains(expected, JsonElement.Parse(await response.Content.ReadAsStringAsync()).GetProperty("error").GetProperty("message").GetString(), StringComparison.Ordinal);
    }
}
