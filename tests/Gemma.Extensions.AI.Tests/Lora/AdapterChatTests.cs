using Gemma.Extensions.AI.Files;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary>Adapters as applications use them: by name, from options, from configuration, loaded and unloaded while the model runs.</summary>
public sealed class AdapterChatTests : IDisposable
{
    private readonly TempDirectory _temp = new();
    private readonly string _legal, _support;

    public AdapterChatTests()
    {
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        _legal = new RandomAdapter(file.Config, 1).WritePeft(_temp.File("legal"));
        _support = new RandomAdapter(file.Config, 2).WriteGguf(_temp.File("support.gguf"));
    }

    public void Dispose() => _temp.Dispose();

    [Fact]
    public async Task RequestsNameTheirAdapter()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference", Adapters = { ["Support"] = _support, ["legal"] = _legal } });
        Assert.Equal(["legal", "Support"], model.Adapters);
        using IChatClient client = model.AsIChatClient();
        string plain = await Answer(client, Greedy()), legal = await Answer(client, Greedy("legal")), support = await Answer(client, Greedy("support"));
        Assert.Equal(3, new HashSet<string> { plain, legal, support }.Count);
        ChatOptions properties = Greedy();
        properties.AdditionalProperties = new() { ["adapter"] = "LEGAL" };
        Assert.Equal(legal, await Answer(client, properties));

        string[] together = await Task.WhenAll(Enumerable.Range(0, 9).Select(i => Answer(client, Greedy((i % 3) switch { 0 => null, 1 => "legal", _ => "support" }))));
        Assert.Equal(Enumerable.Range(0, 9).Select(i => (i % 3) switch { 0 => plain, 1 => legal, _ => support }), together);
    }

    [Fact]
    public async Task AnUnknownNameListsTheKnownOnes()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Adapters = { ["support"] = _support, ["legal"] = _legal } });
        using IChatClient client = model.AsIChatClient();
        ArgumentException thrown = await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("Hello", Greedy("leagl")));
        Assert.Contains("'leagl'", thrown.Message, StringComparison.Ordinal);
        Assert.Contains("legal, support", thrown.Message, StringComparison.Ordinal);
        ChatOptions wrong = new() { AdditionalProperties = new() { ["adapter"] = 3 } };
        await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("Hello", wrong));
    }

    [Fact]
    public async Task ScoresAndEmbeddingsTakeThemToo()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference", Adapters = { ["legal"] = _legal } });
        IReadOnlyList<GemmaScore> plain = await model.ScoreAsync("Is it?", ["Yes", "No"]), adapted = await model.ScoreAsync("Is it?", ["Yes", "No"], "legal");
        Assert.NotEqual(plain[0].Logit, adapted[0].Logit, 0.01f);
        await Assert.ThrowsAsync<ArgumentException>(() => model.ScoreAsync("Is it?", ["Yes", "No"], "none"));

        using IEmbeddingGenerator<string, Embedding<float>> bare = model.AsIEmbeddingGenerator(), legal = model.AsIEmbeddingGenerator(new GemmaEmbeddingOptions { Adapter = "legal" });
        float[] one = (await bare.GenerateAsync("zebra")).Vector.ToArray(), two = (await legal.GenerateAsync("zebra")).Vector.ToArray();
        Assert.InRange(one.Zip(two, (a, b) => a * b).Sum(), -1, 0.999f);
    }

    [Fact]
    public async Task AdaptersComeAndGoWhileTheModelRuns()
    {
        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Kernel = "reference" });
        using IChatClient client = model.AsIChatClient();
        Assert.Contains("no adapter is loaded", (await Assert.ThrowsAsync<ArgumentException>(() => client.GetResponseAsync("Hello", Greedy("a")))).Message, StringComparison.Ordinal);
        model.LoadAdapter("a", _legal);
        Assert.Throws<ArgumentException>(() => model.LoadAdapter("A", _support));
        string legal = await Answer(client, Greedy("a"));

        // The same name now means other weights: nothing that the first one computed may be left.
        IAsyncEnumerator<ChatResponseUpdate> running = client.GetStreamingResponseAsync("Tell me of zebras.", Greedy("a", 60)).GetAsyncEnumerator();
        Assert.True(await running.MoveNextAsync());
        Assert.True(model.UnloadAdapter("a"));
        Assert.False(model.UnloadAdapter("a"));
        model.LoadAdapter("a", _support);
        while (await running.MoveNextAsync())
        {
        }

        string support = await Answer(client, Greedy("a"));
        model.LoadAdapter("b", _support);
        Assert.NotEqual(legal, support);
        Assert.Equal(support, await Answer(client, Greedy("b")));

        GemmaModelFormatException refused = Assert.Throws<GemmaModelFormatException>(() => model.LoadAdapter("c", _temp.File("nothing")));
        Assert.Contains("nothing", refused.Message, StringComparison.Ordinal);
        Assert.Equal(["a", "b"], model.Adapters);
    }

    [Fact]
    public async Task ConfigurationNamesThem()
    {
        ServiceCollection services = new();
        services.AddSingleton<IConfiguration>(new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["Gemma:ModelPath"] = TestData.Local("tiny"), ["Gemma:Adapters:legal"] = _legal,
        }).Build());
        services.AddGemmaChatClient();
        await using ServiceProvider provider = services.BuildServiceProvider();
        IChatClient client = provider.GetRequiredService<IChatClient>();
        Assert.NotEqual(await Answer(client, Greedy()), await Answer(client, Greedy("legal")));
    }

    [Fact]
    public void OptionsAreCheckedBeforeAnythingIsRead()
    {
        GemmaOptions options = new() { ModelPath = TestData.Local("tiny"), Adapters = { ["a"] = _temp.File("nothing") } };
        Assert.Contains(options.Validate(), problem => problem.Contains("'a'", StringComparison.Ordinal) && problem.Contains("nothing", StringComparison.Ordinal));
        options.Adapters = new Dictionary<string, string> { ["a"] = _legal, ["A"] = _support };
        Assert.Contains(options.Validate(), problem => problem.Contains("twice", StringComparison.Ordinal));
        options.Adapters = new Dictionary<string, string> { ["a"] = _legal };
        Assert.Empty(options.Validate());
        GemmaOptions other = options.Clone();
        Assert.True(other.LoadsLike(options));
        other.Adapters["b"] = _support;
        Assert.False(other.LoadsLike(options));
        Assert.Single(options.Adapters);
    }

    private static ChatOptions Greedy(string? adapter = null, int tokens = 24) =>
        new() { RawRepresentationFactory = _ => new GemmaGenerationOptions { Temperature = 0, MaxOutputTokens = tokens, Adapter = adapter } };

    private static async Task<string> Answer(IChatClient client, ChatOptions options) => (await client.GetResponseAsync("Hello there, who are you?", options)).Text;
}
