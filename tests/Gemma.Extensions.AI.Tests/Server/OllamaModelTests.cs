using System.Text.Json;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Tests.Files;
using Gemma.Extensions.AI.Tests.Hub;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Ollama's endpoints about models: what there is, loading and unloading, embeddings, downloads.</summary>
public class OllamaModelTests
{
    [Fact]
    public async Task ModelsAreListedAndShown()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapOllama());
        (int status, JsonElement version) = await server.GetAsync("api/version");
        Assert.Equal(200, status);
        Assert.True(Version.Parse(version.GetProperty("version").GetString()!) >= new Version(0, 6, 4)); // what Copilot asks for
        (_, JsonElement tags) = await server.GetAsync("api/tags");
        JsonElement entry = Assert.Single(tags.GetProperty("models").EnumerateArray());
        Assert.Equal(("gemma2-nano:latest", "gemma2-nano:latest"), (entry.GetProperty("name").GetString(), entry.GetProperty("model").GetString()));
        Assert.Matches("^[0-9a-f]{64}$", entry.GetProperty("digest").GetString());
        Assert.Equal("gemma2", entry.GetProperty("details").GetProperty("family").GetString());
        Assert.InRange(entry.GetProperty("size").GetInt64(), 100_000, 1_000_000_000);
        foreach (string name in (string[])["gemma2-nano", "gemma2-nano:latest", "anything"])
        {
            JsonElement shown;
            (status, shown) = await server.AskAsync("api/show", $$"""{"model":"{{name}}"}""");
            Assert.Equal(200, status);
            Assert.Equal("gemma2", shown.GetProperty("model_info").GetProperty("general.architecture").GetString());
            Assert.True(shown.GetProperty("model_info").GetProperty("gemma2.context_length").GetInt32() > 100);
            Assert.Contains("tools", shown.GetProperty("capabilities").EnumerateArray().Select(capability => capability.GetString()));
        }
    }

    [Fact]
    public async Task AModelThatIsNoGemmaIsListedWithWhatIsKnown()
    {
        await using ModelServer server = await ModelServer.StartAsync(services =>
        {
            services.AddKeyedChatClient("one:7b", new ScriptedChatClient(_ => ["x"]));
            services.AddKeyedChatClient("two", new ScriptedChatClient(_ => ["x"]));
        }, app => app.MapOllama());
        (_, JsonElement tags) = await server.GetAsync("api/tags");
        Assert.Equal(["one:7b", "two:latest"], tags.GetProperty("models").EnumerateArray().Select(model => model.GetProperty("name").GetString()!));
        (int status, JsonElement shown) = await server.AskAsync("api/show", """{"name":"two:latest"}""");
        Assert.Equal((200, "unknown"), (status, shown.GetProperty("details").GetProperty("family").GetString()));
        (status, _) = await server.AskAsync("api/show", """{"model":"three"}""");
        Assert.Equal(404, status);
    }

    [Fact]
    public async Task AModelIsLoadedAndUnloadedOnRequest()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(map: app => app.MapOllama());
        Assert.Equal(0, await LoadedAsync());
        (_, JsonElement answer) = await server.AskAsync("api/generate", """{"model":"nano","keep_alive":"10m"}""");
        Assert.Equal((true, "load"), (answer.GetProperty("done").GetBoolean(), answer.GetProperty("done_reason").GetString()));
        (_, JsonElement ps) = await server.GetAsync("api/ps");
        JsonElement entry = Assert.Single(ps.GetProperty("models").EnumerateArray());
        Assert.InRange(entry.GetProperty("expires_at").GetDateTime() - DateTime.UtcNow, TimeSpan.FromMinutes(5), TimeSpan.FromMinutes(10));
        Assert.True(entry.GetProperty("context_length").GetInt32() > 0);
        (_, answer) = await server.AskAsync("api/chat", """{"model":"nano","messages":[],"keep_alive":0}""");
        Assert.Equal("unload", answer.GetProperty("done_reason").GetString());
        Assert.Equal(0, await LoadedAsync());
        (int status, answer) = await server.AskAsync("api/chat", """{"model":"nano","messages":[{"role":"user","content":"Hi"}],"stream":false,"options":{"num_predict":2},"keep_alive":-1}"""); // loads it again
        Assert.Equal(200, status);
        Assert.True(answer.GetProperty("load_duration").GetInt64() > 0);
        (_, ps) = await server.GetAsync("api/ps");
        Assert.True(ps.GetProperty("models")[0].GetProperty("expires_at").GetDateTime() > DateTime.UtcNow.AddYears(1));

        async Task<int> LoadedAsync() => (await server.GetAsync("api/ps")).Body.GetProperty("models").GetArrayLength();
    }

    [Theory]
    [InlineData("5m", 300)]
    [InlineData("1h30m", 5400)]
    [InlineData("90", 90)]
    [InlineData("1.5s", 1.5)]
    [InlineData("300ms", 0.3)]
    [InlineData("0", 0)]
    [InlineData("-1", -0.001)]
    [InlineData("-5m", -0.001)]
    [InlineData("100000h", -0.001)] // longer than a timer can wait
    public void TimesAreReadAsOllamaWritesThem(string text, double seconds)
    {
        Assert.True(KeepAlive.TryParse(text, out TimeSpan time));
        Assert.Equal(TimeSpan.FromSeconds(seconds), time);
    }

    [Theory]
    [InlineData("")]
    [InlineData("soon")]
    [InlineData("5 m")]
    [InlineData("5x")]
    [InlineData("m5")]
    [InlineData("5m3")]
    [InlineData("1..5s")]
    public void OtherTextsAreNoTimes(string text) => Assert.False(KeepAlive.TryParse(text, out _));

    [Fact]
    public async Task EmbeddingsAreThoseInProcess()
    {
        await using ModelServer server = await ModelServer.StartNanoAsync(services => services.AddGemmaEmbeddingGenerator("nano"), app => app.MapOllama());
        IEmbeddingGenerator<string, Embedding<float>> generator = server.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        GeneratedEmbeddings<Embedding<float>> same = await generator.GenerateAsync(["one", "two"]);
        (_, JsonElement answer) = await server.AskAsync("api/embed", """{"model":"nano","input":["one","two"]}""");
        Assert.Equal(same[1].Vector.ToArray(), Vector(answer.GetProperty("embeddings")[1]));
        Assert.Equal(same.Usage!.InputTokenCount, answer.GetProperty("prompt_eval_count").GetInt64());
        (_, answer) = await server.AskAsync("api/embed", """{"model":"nano","input":"one","dimensions":8}""");
        Assert.Equal(8, answer.GetProperty("embeddings")[0].GetArrayLength());
        (_, answer) = await server.AskAsync("api/embed", """{"model":"nano","input":[]}""");
        Assert.Equal(0, answer.GetProperty("embeddings").GetArrayLength());
        (_, answer) = await server.AskAsync("api/embeddings", """{"model":"nano","prompt":"two"}""");
        Assert.Equal(same[1].Vector.ToArray(), Vector(answer.GetProperty("embedding")));
        string text = string.Concat(Enumerable.Repeat("word ", 20_000));
        (int status, _) = await server.AskAsync("api/embed", $$"""{"model":"nano","input":"{{text}}","truncate":false}""");
        Assert.Equal(400, status);
        (status, _) = await server.AskAsync("api/embed", $$"""{"model":"nano","input":"{{text}}"}""");
        Assert.Equal(200, status);
        (status, _) = await server.AskAsync("api/embed", """{"model":"nano","input":[1]}""");
        Assert.Equal(400, status);

        static float[] Vector(JsonElement element) => [.. element.EnumerateArray().Select(value => value.GetSingle())];
    }

    [Fact]
    public async Task ModelsAreDownloadedOnlyWhereThatIsAllowed()
    {
        await using LoopbackHub hub = await LoopbackHub.StartAsync();
        hub.Add("model-Q4_0.gguf", SyntheticModel.Gguf().ToBytes());
        using TempDirectory cache = new();
        ScriptedChatClient client = new(_ => ["x"]);
        await using (ModelServer closed = await ModelServer.StartAsync(client, map: app => app.MapOllama()))
        {
            (int refused, JsonElement error) = await closed.AskAsync("api/pull", """{"model":"hf.co/owner/model:Q4_0"}""");
            Assert.Equal(403, refused);
            Assert.Contains("AllowPull", error.GetProperty("error").GetString(), StringComparison.Ordinal);
        }

        await using ModelServer server = await ModelServer.StartAsync(client, options => options.Set(o =>
        {
            o.AllowPull = true;
            o.Hub = new GemmaHubOptions { CacheDirectory = cache.Path, Endpoint = hub.Address, Offline = false, Retries = 0 };
        }), app => app.MapOllama());
        List<JsonElement> lines = await server.LinesAsync("api/pull", """{"model":"hf.co/owner/model:Q4_0"}""");
        Assert.Equal("pulling manifest", lines[0].GetProperty("status").GetString());
        Assert.Equal("""{"status":"success"}""", lines[^1].GetRawText());
        Assert.Contains(lines, line => line.TryGetProperty("total", out JsonElement total) && total.GetInt64() > 0 && line.GetProperty("completed").GetInt64() <= total.GetInt64());
        Assert.NotEmpty(Directory.EnumerateFiles(cache.Path, "*.gguf", SearchOption.AllDirectories));
        (int status, JsonElement whole) = await server.AskAsync("api/pull", """{"name":"owner/model:Q4_0","stream":false}""");
        Assert.Equal((200, "success"), (status, whole.GetProperty("status").GetString()));
        (status, _) = await server.AskAsync("api/pull", """{"model":"http://169.254.169.254/model.gguf"}"""); // no server fetches an address for a stranger
        Assert.Equal(400, status);
        (status, _) = await server.AskAsync("api/pull", """{"model":"owner/model:Q9"}""");
        Assert.InRange(status, 400, 599);
    }

    /// <summary>The client reads that the log says more.</summary>
    [Fact]
    public async Task ADownloadThatBreaksIsALineForTheClientAndAnErrorInTheLog()
    {
        await using LoopbackHub hub = await LoopbackHub.StartAsync();
        byte[] right = SyntheticModel.Gguf().ToBytes(), wrong = [.. right];
        wrong[^1] ^= 1;
        hub.Add("model-Q4_0.gguf", right);
        hub.Misbehave = async (http, _) =>
        {
            await hub.Send(http, wrong); // whole, but not what its checksum says
            return true;
        };
        using TempDirectory cache = new();
        await using ModelServer server = await ModelServer.StartAsync(new ScriptedChatClient(_ => ["x"]), options => options.Set(o =>
        {
            o.AllowPull = true;
            o.Hub = new GemmaHubOptions { CacheDirectory = cache.Path, Endpoint = hub.Address, Offline = false, Retries = 0 };
        }), app => app.MapOllama());
        List<JsonElement> lines = await server.LinesAsync("api/pull", """{"model":"hf.co/owner/model:Q4_0"}""");
        Assert.Equal("pulling manifest", lines[0].GetProperty("status").GetString());
        Assert.Contains("log says more", lines[^1].GetProperty("error").GetString(), StringComparison.Ordinal);
        Assert.Contains(server.Log.At(LogLevel.Error), line => line.Contains("/api/pull", StringComparison.Ordinal));
    }
}
