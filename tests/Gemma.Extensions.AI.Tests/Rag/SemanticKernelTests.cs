using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.VectorData;
using Microsoft.SemanticKernel;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class SemanticKernelTests
{
    /// <summary>The kernel's embedding generator fills the store, and the search is a function of a plugin that agents call.</summary>
    [Fact]
    public async Task AKernelEmbedsAndSearchesDocuments()
    {
        using TempDirectory directory = new();
        IKernelBuilder builder = Kernel.CreateBuilder();
        builder.AddGemmaEmbeddingGenerator(TestData.Local("tiny"));
        builder.AddGemmaEmbeddingGenerator(TestData.Local("tiny"), "last", new GemmaEmbeddingOptions { Pooling = GemmaEmbeddingPooling.LastToken });
        Kernel kernel = builder.Build();
        using ServiceProvider services = (ServiceProvider)kernel.Services;
        IEmbeddingGenerator<string, Embedding<float>> embeddings = kernel.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        GemmaModel model = embeddings.GetRequiredService<GemmaModel>();
        Assert.Same(model, kernel.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>("last").GetRequiredService<GemmaModel>());

        using SqliteVectorStore store = new(directory.File("kernel.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("d", DocumentChunk.CreateDefinition((await embeddings.GenerateAsync("x")).Vector.Length));
        DocumentRetriever retriever = new(collection, embeddings, new DocumentRetrieverOptions { VectorWeight = 0.1 });
        KernelPlugin plugin = kernel.Plugins.AddFromFunctions("documents", [retriever.AsAIFunction("search").AsKernelFunction()]);
        KernelArguments arguments = new() { ["query"] = "Who guards the yard?", ["count"] = 1 };
        Assert.Equal("[]", (await kernel.InvokeAsync(plugin["search"], arguments)).ToString());

        await new DocumentIngestor(collection, model.Tokenizer, embeddings).IngestAsync([SourceDocument.FromText("cats.txt", "Cats sleep all day."), SourceDocument.FromText("dogs.txt", "Dogs guard the yard.")]);
        FunctionResult result = await kernel.InvokeAsync(plugin["search"], arguments);
        string text = result.ToString();
        Assert.Contains("dogs.txt, line 1", text, StringComparison.Ordinal);
        Assert.DoesNotContain("Cats", text, StringComparison.Ordinal);
    }
}
