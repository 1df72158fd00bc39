using System.Text.Json;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Lora;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Tests.Server;

/// <summary>Adapters as clients of every API name them: MODEL@ADAPTER.</summary>
public sealed class ServedAdapterTests : IDisposable
{
    private const string Question = "Hello there, who are you?";

    private readonly TempDirectory _temp = new();
    private readonly string _legal, _support;

    public ServedAdapterTests()
    {
        using ModelFile file = ModelFile.Open(TinyModel.Path);
        _legal = new RandomAdapter(file.Config, 1).WritePeft(_temp.File("legal"));
        _support = new RandomAdapter(file.Config, 2).WriteGguf(_temp.File("support.gguf"));
    }

    public void Dispose() => _temp.Dispose();

    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task AnAdapterAnswersAsInProcess(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await StartAsync();
        IChatClient client = server.Services.GetRequiredKeyedService<IChatClient>("base");
        HashSet<string> answers = [];
        foreach (string? adapter in (string?[])[null, "legal", "support"])
        {
            string expected = (await client.GetResponseAsync(Question, new ChatOptions
            {
                Temperature = 0,
                MaxOutputTokens = 24,
                RawRepresentationFactory = _ => new GemmaGenerationOptions { Adapter = adapter },
            })).Text;
            foreach (string asked in adapter is null ? ["base"] : (string[])[$"base@{adapter}", $"BASE@{adapter.ToUpperInvariant()}"])
            {
                (int status, JsonElement answer) = await server.AskAsync(api.Path, api.Body(asked, Question, 24, false));
                Assert.True(status == 200, answer.GetRawText());
                Assert.Equal(expected, api.Read(answer));
                Assert.StartsWith(adapter is null ? "base" : $"base@{adapter}", answer.GetProperty("model").GetString(), StringComparison.Ordinal); // as it is registered
            }

            answers.Add(expected);
        }

        Assert.Equal(3, answers.Count); // otherwise it would show nothing
    }

    [Theory]
    [MemberData(nameof(ApiForm.Names), MemberType = typeof(ApiForm))]
    public async Task AnUnknownAdapterIs404AndTheKnownOnesAreNamed(string name)
    {
        ApiForm api = ApiForm.Of(name);
        await using ModelServer server = await StartAsync();
        foreach (string model in (string[])["base@none", "base@", "other@legal", "nothing@legal"])
        {
            foreach (bool streams in (bool[])[false, true])
            {
                (int status, JsonElement error) = await server.AskAsync(api.Path, api.Body(model, Question, 4, streams));
                Assert.True(status == 404, error.GetRawText());
                Assert.Contains("base, base@legal, base@support, other", api.Error(error), StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task AdaptersAreListedAndEmbedToo()
    {
        await using ModelServer server = await StartAsync();
        (_, JsonElement list) = await server.GetAsync("v1/models");
        Assert.Equal(["base", "base@legal", "base@support", "other"], list.GetProperty("data").EnumerateArray().Select(model => model.GetProperty("id").GetString()!));
        (int status, JsonElement one) = await server.GetAsync("v1/models/base@legal");
        Assert.Equal((200, "base@legal"), (status, one.GetProperty("id").GetString()));
        (_, JsonElement tags) = await server.GetAsync("api/tags");
        Assert.Equal(["base:latest", "base@legal:latest", "base@support:latest", "other:latest"], tags.GetProperty("models").EnumerateArray().Select(model => model.GetProperty("name").GetString()!));
        (_, JsonElement plain) = await server.AskAsync("v1/embeddings", """{"model":"base","input":"zebra"}""");
        (_, JsonElement adapted) = await server.AskAsync("v1/embeddings", """{"model":"base@legal","input":"zebra"}""");
        Assert.NotEqual(Vector(plain), Vector(adapted));
        (_, JsonElement ollama) = await server.AskAsync("api/embed", """{"model":"base@legal","input":"zebra"}""");
        Assert.Equal(Vector(adapted), ollama.GetProperty("embeddings")[0].GetRawText());

        static string Vector(JsonElement answer) => answer.GetProperty("data")[0].GetProperty("embedding").GetRawText();
    }

    private Task<ModelServer> StartAsync() => ModelServer.StartAsync(services =>
    {
        services.AddKeyedGemmaChatClient("base", options =>
        {
            (options.ModelPath, options.Kernel) = (TinyModel.Path, "reference");
            options.Adapters["legal"] = _legal;
            options.Adapters["support"] = _support;
        });
        services.AddKeyedGemmaChatClient("other", "nano");
    }, ApiForm.MapAll);
}
