using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>One call registers everything from documents to answers; what is registered before is used.</summary>
public sealed class RagServicesTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task OneCallRegistersThePipeline()
    {
        ServiceCollection services = new();
        services.AddSingleton<IConfiguration>(new ConfigurationBuilder().AddInMemoryCollection(
            [new("Gemma:ModelPath", TestData.Local("tiny")), new("Gemma:Rag:DatabasePath", _directory.File("rag.db")), new("Gemma:Rag:Answering:MaxPassages", "2"), new("Gemma:Rag:Rerank", "true")]).Build());
        services.AddGemmaRag(configure: options => options.Answering.MinRelevance = 0);
        await using ServiceProvider provider = services.BuildServiceProvider();
        IngestionResult result = await provider.GetRequiredService<DocumentIngestor>().IngestAsync(
            [SourceDocument.FromText("cats.txt", "Cats sleep all day."), SourceDocument.FromText("dogs.txt", "Dogs guard the yard."), SourceDocument.FromText("yard.txt", "The yard is swept on Fridays.")]);
        Assert.Equal(3, result.Stored);
        Assert.True(File.Exists(_directory.File("rag.db")));

        DocumentRetriever retriever = provider.GetRequiredService<DocumentRetriever>();
        Assert.Equal(RetrievalMode.Hybrid, retriever.Mode);
        Assert.Contains(await retriever.SearchAsync("Who guards the yard?", 2), p => p.Chunk.DocumentId == "dogs.txt" && p.Relevance is > 0 and < 1);
        DocumentAnswer answer = await provider.GetRequiredService<DocumentAnswerer>().AskAsync("Who guards the yard?");
        Assert.InRange(answer.Passages.Count, 1, 2);

        // Chat, vectors and re-ranking share one model; the collection is named after it.
        GemmaModel model = provider.GetRequiredService<IChatClient>().GetRequiredService<GemmaModel>();
        Assert.Same(model, provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>().GetRequiredService<GemmaModel>());
        Assert.Equal("passages-tiny", provider.GetRequiredService<VectorStoreCollection<Guid, DocumentChunk>>().Name);
    }

    [Fact]
    public async Task WhatIsRegisteredBeforeIsUsed()
    {
        ServiceCollection services = new();
        services.AddGemmaChatClient(TestData.Local("tiny"));
        services.AddSingleton<IEmbeddingGenerator<string, Embedding<float>>>(new FourDimensions());
        services.AddSingleton<VectorStore>(new SqliteVectorStore(_directory.File("own.db")));
        services.AddGemmaRag("no such model", options =>
        {
            options.DatabasePath = _directory.File("not used.db");
            options.CollectionName = "own";
        });
        await using ServiceProvider provider = services.BuildServiceProvider();
        await provider.GetRequiredService<DocumentIngestor>().IngestAsync([SourceDocument.FromText("a.txt", "Cats sleep.")]);
        Assert.Equal("own", provider.GetRequiredService<VectorStoreCollection<Guid, DocumentChunk>>().Name);
        Assert.True(File.Exists(_directory.File("own.db")));
        Assert.False(File.Exists(_directory.File("not used.db")));
        Assert.Equal("a.txt", Assert.Single(await provider.GetRequiredService<DocumentRetriever>().SearchAsync("Do cats sleep?")).Chunk.DocumentId);
        Assert.Single(services, service => service.ServiceType == typeof(IChatClient));
    }

    private sealed class FourDimensions : IEmbeddingGenerator<string, Embedding<float>>
    {
        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
            Task.FromResult(new GeneratedEmbeddings<Embedding<float>>(values.Select(v => new Embedding<float>(new float[] { v.Length, 1, 0, 2 }))));

        public object? GetService(Type serviceType, object? serviceKey = null) =>
            serviceType == typeof(EmbeddingGeneratorMetadata) ? new EmbeddingGeneratorMetadata("four", null, "four", 4) : null;

        public void Dispose()
        {
        }
    }
}
