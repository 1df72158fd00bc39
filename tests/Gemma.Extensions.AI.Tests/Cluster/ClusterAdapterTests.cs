using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Lora;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Adapters of a cluster's nodes, added and taken away while it serves, for answers and for embeddings.</summary>
public class ClusterAdapterTests
{
    private static readonly string[] s_questions = ["Who pays?", "What is owed?", "When is it due?", "Where is it heard?"];

    [Fact]
    public async Task AdaptersComeAndGoWhileTheClusterServes()
    {
        using TempDirectory folder = new();
        using ModelFile file = ModelFile.Open(TinyModel.Path);
        string path = new RandomAdapter(file.Config).WriteGguf(folder.File("law.gguf"));
        using GemmaModel alone = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1, Adapters = { ["law"] = path } });
        (string[] plain, float[] plainVector) = await AskAsync(alone.AsIChatClient(), alone.AsIEmbeddingGenerator(), adapter: null);
        (string[] law, float[] lawVector) = await AskAsync(alone.AsIChatClient(), alone.AsIEmbeddingGenerator(), "law");
        Assert.NotEqual(plain, law);
        Assert.NotEqual(plainVector, lawVector);
        await using TinyCluster cluster = await TinyCluster.StartAsync(2);
        using GemmaClusterEmbeddingGenerator generator = new(cluster.Cluster.Client, "tiny", options: new GemmaClusterOptions { HeartbeatTimeout = TimeSpan.FromSeconds(10) });
        GemmaNode first = cluster.Service<GemmaNode>(cluster.Silos[0]), second = cluster.Service<GemmaNode>(cluster.Silos[1]);
        await RefusedAsync();

        // One node has it: all that names it goes there.
        await first.AddAdapterAsync("tiny", "law", path);
        await cluster.WaitAsync(view => view.Nodes.Count(node => node.Models[0].FindAdapter("law") is not null) == 1);
        await AnsweredAsync();

        // Both have it, and one goes.
        await second.AddAdapterAsync("tiny", "law", path);
        await cluster.WaitAsync(view => view.Nodes.Count(node => node.Models[0].FindAdapter("law") is not null) == 2);
        await first.DrainAsync();
        await AnsweredAsync();

        // The other takes it away.
        Assert.True(second.RemoveAdapter("tiny", "law"));
        Assert.False(second.RemoveAdapter("tiny", "law"));
        await cluster.WaitAsync(view => view.Nodes.All(node => node.IsDraining || node.Models[0].Adapters.Length == 0));
        await RefusedAsync();

        async Task AnsweredAsync()
        {
            (string[] said, float[] vector) = await AskAsync(cluster.Client(), generator, "law");
            Assert.Equal(law, said);
            Assert.Equal(lawVector, vector);
            (said, vector) = await AskAsync(cluster.Client(), generator, adapter: null);
            Assert.Equal(plain, said);
            Assert.Equal(plainVector, vector);
        }

        // In the words of a model in this process.
        async Task RefusedAsync()
        {
            using GemmaModel without = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Threads = 1 });
            await SameAsync(() => without.AsIChatClient().GetResponseAsync("Who?", With("law")), () => cluster.Client().GetResponseAsync("Who?", With("law")));
            await SameAsync(() => EmbedAsync(without.AsIEmbeddingGenerator(), "law"), () => EmbedAsync(generator, "law"));
        }
    }

    private static async Task SameAsync(Func<Task> inProcess, Func<Task> inCluster)
    {
        Exception expected = (await Record.ExceptionAsync(inProcess))!, found = (await Record.ExceptionAsync(inCluster))!;
        Assert.Contains("law", expected.Message, StringComparison.Ordinal);
        Assert.Equal((expected.GetType(), expected.Message), (found?.GetType(), found?.Message));
    }

    private static async Task<(string[] Said, float[] Vector)> AskAsync(IChatClient client, IEmbeddingGenerator<string, Embedding<float>> generator, string? adapter) =>
        ([.. (await Task.WhenAll(s_questions.Select(question => client.GetResponseAsync(question, With(adapter))))).Select(answer => answer.Text)], await EmbedAsync(generator, adapter));

    private static async Task<float[]> EmbedAsync(IEmbeddingGenerator<string, Embedding<float>> generator, string? adapter) =>
        (await generator.GenerateAsync("a debt", new EmbeddingGenerationOptions { RawRepresentationFactory = _ => new GemmaEmbeddingOptions { Adapter = adapter } })).Vector.ToArray();

    private static ChatOptions With(string? adapter) =>
        new() { Temperature = 0, MaxOutputTokens = 24, RawRepresentationFactory = _ => new GemmaGenerationOptions { Adapter = adapter } };
}
