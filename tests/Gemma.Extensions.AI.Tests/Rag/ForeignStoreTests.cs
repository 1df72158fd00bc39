using System.Linq.Expressions;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>The pipeline over a store that is not the project's: nothing but the abstractions is used.</summary>
public sealed class ForeignStoreTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task IngestsFindsAndAnswers(bool hybrid)
    {
        using SqliteVectorStore store = new(_directory.File("foreign.db"));
        VectorStoreCollection<Guid, DocumentChunk> inner = store.GetCollection<Guid, DocumentChunk>("d", DocumentChunk.CreateDefinition(WordLengths.Dimensions));
        VectorStoreCollection<Guid, DocumentChunk> collection = hybrid ? new ForeignHybrid(inner) : new Foreign(inner);
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
        WordLengths embeddings = new();
        SourceDocument[] documents = [SourceDocument.FromText("pump.txt", "The pump is serviced every October."), SourceDocument.FromText("cats.txt", "Cats sleep.")];
        DocumentRetriever retriever = new(collection, embeddings);
        Assert.Empty(await retriever.SearchAsync("When is the pump serviced?"));
        DocumentIngestor ingestor = new(collection, tokenizer, embeddings);
        Assert.Equal(2, (await ingestor.IngestAsync(documents)).Stored);
        IngestionResult again = await ingestor.IngestAsync(documents[..1]);
        Assert.Equal((0, 1, 1), (again.Stored, again.Unchanged, again.Removed));
        await ingestor.IngestAsync(documents);

        // A store that breaks ties differently from page to page shows one record twice and another never.
        ((Foreign)collection).LeavesOut = "pump.txt";
        again = await ingestor.IngestAsync(documents);
        Assert.Equal((0, 2, 0), (again.Stored, again.Unchanged, again.Removed));
        ((Foreign)collection).LeavesOut = null;

        RetrievedPassage best = (await retriever.SearchAsync("When is the pump serviced?", 2))[0];
        Assert.Equal("pump.txt", best.Chunk.DocumentId);
        Assert.Null(best.Evidence);
        Assert.Equal(1, best.TermCoverage);
        Assert.Equal("cats.txt", Assert.Single(await retriever.SearchAsync("When is the pump serviced?", 2, c => c.DocumentId == "cats.txt")).Chunk.DocumentId);
        Assert.Throws<GemmaRagException>(() => new DocumentRetriever(collection));

        using GemmaModel model = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Threads = 1 });
        DocumentAnswerer answerer = new(retriever, model.AsIChatClient(), tokenizer, new DocumentAnswererOptions { MaxOutputTokens = 8 });
        Assert.Equal(2, (await answerer.AskAsync("When is the pump serviced?")).Passages.Count);
        Assert.False((await answerer.AskAsync("Who painted sunflowers?")).Found);
    }

    /// <summary>Hides what kind of collection it is, and is as particular as the strictest of them, which orders by one number that is indexed.</summary>
    private class Foreign(VectorStoreCollection<Guid, DocumentChunk> inner) : VectorStoreCollection<Guid, DocumentChunk>
    {
        /// <summary>Document that filtered reads do not show.</summary>
        public string? LeavesOut { get; set; }

        public override string Name => inner.Name;

        public override Task<bool> CollectionExistsAsync(CancellationToken cancellationToken = default) => inner.CollectionExistsAsync(cancellationToken);

        public override Task EnsureCollectionExistsAsync(CancellationToken cancellationToken = default) => inner.EnsureCollectionExistsAsync(cancellationToken);

        public override Task EnsureCollectionDeletedAsync(CancellationToken cancellationToken = default) => inner.EnsureCollectionDeletedAsync(cancellationToken);

        public override Task<DocumentChunk?> GetAsync(Guid key, RecordRetrievalOptions? options = null, CancellationToken cancellationToken = default) => inner.GetAsync(key, options, cancellationToken);

        public override IAsyncEnumerable<DocumentChunk> GetAsync(
            Expression<Func<DocumentChunk, bool>> filter, int top, FilteredRecordRetrievalOptions<DocumentChunk>? options = null, CancellationToken cancellationToken = default)
        {
            Expression order = Assert.Single(options!.OrderBy!.Invoke(new()).Values).PropertySelector.Body;
            Assert.Equal(nameof(DocumentChunk.Ordinal), ((MemberExpression)(order is UnaryExpression boxed ? boxed.Operand : order)).Member.Name);
            return inner.GetAsync(filter, top, options, cancellationToken).Where(c => c.DocumentId != LeavesOut);
        }

        public override Task DeleteAsync(Guid key, CancellationToken cancellationToken = default) => inner.DeleteAsync(key, cancellationToken);

        public override Task UpsertAsync(DocumentChunk record, CancellationToken cancellationToken = default) => inner.UpsertAsync(record, cancellationToken);

        public override Task UpsertAsync(IEnumerable<DocumentChunk> records, CancellationToken cancellationToken = default) => inner.UpsertAsync(records, cancellationToken);

        public override IAsyncEnumerable<VectorSearchResult<DocumentChunk>> SearchAsync<TInput>(
            TInput searchValue, int top, VectorSearchOptions<DocumentChunk>? options = null, CancellationToken cancellationToken = default) =>
            inner.SearchAsync(searchValue, top, options, cancellationToken);

        public override object? GetService(Type serviceType, object? serviceKey = null) => null;
    }

    private sealed class ForeignHybrid(VectorStoreCollection<Guid, DocumentChunk> inner) : Foreign(inner), IKeywordHybridSearchable<DocumentChunk>
    {
        private readonly IKeywordHybridSearchable<DocumentChunk> _inner = (IKeywordHybridSearchable<DocumentChunk>)inner;

        public IAsyncEnumerable<VectorSearchResult<DocumentChunk>> HybridSearchAsync<TInput>(
            TInput searchValue, ICollection<string> keywords, int top, HybridSearchOptions<DocumentChunk>? options = null, CancellationToken cancellationToken = default)
            where TInput : notnull => _inner.HybridSearchAsync(searchValue, keywords, top, options, cancellationToken);
    }

    /// <summary>How many words of each length a text has: enough to tell two sentences apart.</summary>
    private sealed class WordLengths : IEmbeddingGenerator<string, Embedding<float>>
    {
        public const int Dimensions = 16;

        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
            Task.FromResult(new GeneratedEmbeddings<Embedding<float>>(values.Select(v =>
            {
                float[] vector = new float[Dimensions];
                foreach (string word in v.Split([' ', '.', '?', '\n'], StringSplitOptions.RemoveEmptyEntries))
                {
                    vector[Math.Min(word.Length, Dimensions - 1)]++;
                }

                return new Embedding<float>(vector);
            })));

        public object? GetService(Type serviceType, object? serviceKey = null) => null;

        public void Dispose()
        {
        }
    }
}
