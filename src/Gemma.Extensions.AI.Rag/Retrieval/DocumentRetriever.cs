using System.ComponentModel;
using System.Linq.Expressions;
using Gemma.Extensions.AI.Rag.Retrieval;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag;

/// <summary>The kind of search.</summary>
public enum RetrievalMode
{
    /// <summary>Words and vectors, fused by reciprocal rank. Words alone where the collection has no vectors.</summary>
    Hybrid,

    /// <summary>Words (BM25). Needs a collection of <see cref="SqliteVectorStore"/>.</summary>
    Keywords,

    /// <summary>Vectors.</summary>
    Vectors,
}

/// <summary>Options of a <see cref="DocumentRetriever"/>.</summary>
public sealed class DocumentRetrieverOptions
{
    /// <summary>The kind of search.</summary>
    public RetrievalMode Mode { get; set; } = RetrievalMode.Hybrid;

    /// <summary>
    /// Weight of a rank by vector in the fusion, where a rank by words weighs 1. Read by <see cref="SqliteVectorStore"/>; other stores fuse as they do.
    /// </summary>
    public double VectorWeight { get; set; } = 1;

    /// <summary>Judges the best passages again; null leaves the order as it was found.</summary>
    public IPassageReranker? Reranker { get; set; }

    /// <summary>Passages that the re-ranker judges for one search: each costs a run of the model over the passage.</summary>
    public int RerankDepth { get; set; } = 20;

    /// <summary>
    /// Weight of the search's order beside the re-ranker's: passages are ordered by the log-odds of their relevance less this times the
    /// logarithm of their rank. 0 leaves the order to the re-ranker alone, which loses much where the model judges badly.
    /// </summary>
    public double RankWeight { get; set; } = 2;
}

/// <summary>Says how well passages answer a question.</summary>
public interface IPassageReranker
{
    /// <summary>Judges passages.</summary>
    /// <returns>For each passage the probability, 0 to 1, that it answers the question, in the order given.</returns>
    Task<IReadOnlyList<double>> ScoreAsync(string question, IReadOnlyList<string> passages, CancellationToken cancellationToken = default);
}

/// <summary>A passage that was found.</summary>
/// <param name="Chunk">The passage.</param>
/// <param name="Score">Score of the search; its meaning depends on the mode.</param>
/// <param name="TermCoverage">Part of the question's content words that occur in the passage, 0 to 1.</param>
/// <param name="Relevance">The re-ranker's probability that the passage answers the question; null without one.</param>
public sealed record RetrievedPassage(DocumentChunk Chunk, double Score, double TermCoverage, double? Relevance)
{
    /// <summary>
    /// Evidence in the words that the passage shares with the question, by their rarity among the passages: 1 is that of one word that three passages
    /// hold. Null if the store does not count words (any but <see cref="SqliteVectorStore"/>).
    /// </summary>
    public double? Evidence { get; init; }
}

/// <summary>Finds passages by words and by meaning. Safe for concurrent use.</summary>
public sealed class DocumentRetriever
{
    private readonly VectorStoreCollection<Guid, DocumentChunk> _collection;
    private readonly IEmbeddingGenerator<string, Embedding<float>>? _embeddings;
    private readonly DocumentRetrieverOptions _options;

    /// <summary>Prepares searches.</summary>
    /// <param name="collection">The passages.</param>
    /// <param name="embeddings">Embeds questions: the generator that embedded the passages; null searches by words alone.</param>
    /// <param name="options">How passages are found.</param>
    /// <exception cref="GemmaRagException">The mode needs vectors or full text that are not there.</exception>
    public DocumentRetriever(
        VectorStoreCollection<Guid, DocumentChunk> collection, IEmbeddingGenerator<string, Embedding<float>>? embeddings = null, DocumentRetrieverOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(collection);
        _collection = collection;
        _embeddings = embeddings;
        _options = options ?? new DocumentRetrieverOptions();
        Mode = _options.Mode == RetrievalMode.Hybrid && embeddings is null ? RetrievalMode.Keywords : _options.Mode;
        if (Mode == RetrievalMode.Vectors && embeddings is null)
        {
            throw new GemmaRagException("A search by vectors needs an embedding generator, the one that embedded the passages.");
        }

        if (Mode == RetrievalMode.Keywords && collection is not SqliteVectorCollection<Guid, DocumentChunk>)
        {
            throw new GemmaRagException($"A search by words alone needs a collection of SqliteVectorStore; this one is a {collection.GetType().Name}. Pass an embedding generator to search by vectors.");
        }
    }

    /// <summary>The kind of search that found the passages.</summary>
    public RetrievalMode Mode { get; }

    /// <summary>True if a model judges what was found.</summary>
    internal bool HasReranker => _options.Reranker is not null;

    /// <summary>
    /// The best passages for a question, best first. None where the collection does not exist because nothing was ingested yet, as in one that is empty:
    /// <see cref="VectorStoreCollection{TKey, TRecord}.CollectionExistsAsync"/> tells the two apart, and is worth a look at start-up, since a store that
    /// creates its file on first use can't tell a mistyped path or name from a new one. Other failures of the store are thrown.
    /// </summary>
    /// <param name="question">The question, in plain words.</param>
    /// <param name="top">Most passages to return.</param>
    /// <param name="filter">Restricts the passages, e.g. <c>c => c.DocumentId == "manual.pdf"</c>.</param>
    /// <param name="cancellationToken">Cancels the search.</param>
    public async Task<IReadOnlyList<RetrievedPassage>> SearchAsync(
        string question, int top = 5, Expression<Func<DocumentChunk, bool>>? filter = null, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(question);
        ArgumentOutOfRangeException.ThrowIfLessThan(top, 1);
        string[] words = QueryTerms.Words(question);
        int depth = _options.Reranker is null ? top : Math.Max(top, _options.RerankDepth);
        List<VectorSearchResult<DocumentChunk>> found = await FindCompleteAsync(question, words, depth, filter, cancellationToken).ConfigureAwait(false);
        string[] content = QueryTerms.Content(words);
        List<RetrievedPassage> passages = [.. found.Select(r => new RetrievedPassage(r.Record, r.Score ?? 0, QueryTerms.Coverage(content, r.Record.Text), null))];
        if (_collection is SqliteVectorCollection<Guid, DocumentChunk> counting && passages.Count > 0)
        {
            HashSet<string> alone = QueryTerms.Alone(question);
            (long total, long[] matches, bool[][] held) = await counting.CountWordsAsync(content, [.. passages.Select(p => p.Chunk.Id)], cancellationToken).ConfigureAwait(false);
            passages = [.. passages.Select((p, i) => p with { Evidence = QueryTerms.Evidence(content, matches, total, p.Chunk.Text, held[i], alone) })];
        }

        if (_options.Reranker is { } reranker && passages.Count > 0)
        {
            IReadOnlyList<double> relevance = await reranker.ScoreAsync(question, [.. passages.Select(p => p.Chunk.Text)], cancellationToken).ConfigureAwait(false);
            passages = [.. passages.Select((p, i) => p with { Relevance = relevance[i] }).Index().OrderByDescending(p => LogOdds(p.Item.Relevance!.Value) - _options.RankWeight * Math.Log(p.Index + 1)).Select(p => p.Item)];
        }

        return passages.Count > top ? passages[..top] : passages;
    }

    /// <summary>A judge that is sure is taken at odds of a million to one.</summary>
    private static double LogOdds(double probability) => Math.Log(Math.Clamp(probability, 1e-6, 1 - 1e-6)) - Math.Log(1 - Math.Clamp(probability, 1e-6, 1 - 1e-6));

    /// <summary>The search as a tool for agents; with Semantic Kernel, <c>.AsKernelFunction()</c> makes it part of a plugin.</summary>
    /// <param name="name">Name that the model calls it by.</param>
    /// <param name="description">What the documents are about, so that the model knows when to search.</param>
    public AIFunction AsAIFunction(string name = "search_documents", string description = "Searches the user's documents and returns the passages that fit best, with their source.") =>
        AIFunctionFactory.Create(
            async ([Description("What to look for, in plain words.")] string query, [Description("Most passages to return.")] int count = 3, CancellationToken cancellationToken = default) =>
                (await SearchAsync(query, Math.Clamp(count, 1, 20), null, cancellationToken).ConfigureAwait(false))
                    .Select(p => new SearchHit(Citation.Place(p.Chunk), p.Chunk.Text)).ToArray(),
            name,
            description);

    /// <summary>
    /// Passages of documents that are stored as a whole: where a run was interrupted, or goes on right now, the others are left out, and more is asked for in their place.
    /// </summary>
    private async Task<List<VectorSearchResult<DocumentChunk>>> FindCompleteAsync(
        string question, string[] words, int depth, Expression<Func<DocumentChunk, bool>>? filter, CancellationToken cancellationToken)
    {
        const int MaxRounds = 4;
        for (int round = 0, count = depth; ; round++, count *= 4)
        {
            List<VectorSearchResult<DocumentChunk>> found = await FindAsync(question, words, count, filter, cancellationToken).ConfigureAwait(false);
            Dictionary<string, string> heads = [];
            if (found.Count > 0)
            {
                Guid[] keys = [.. found.Select(r => r.Record.DocumentId).Distinct(StringComparer.Ordinal).Select(id => DocumentChunk.Key(id, 0))];
                await foreach (DocumentChunk head in _collection.GetAsync(keys, cancellationToken: cancellationToken).ConfigureAwait(false))
                {
                    heads[head.DocumentId] = head.ContentHash;
                }
            }

            List<VectorSearchResult<DocumentChunk>> complete = [.. found.Where(r => IsComplete(r.Record, heads)).Take(depth)];
            if (complete.Count == depth || found.Count < count || round == MaxRounds || count > int.MaxValue / 4)
            {
                return complete;
            }
        }
    }

    /// <summary>Passages that something else than <see cref="DocumentIngestor"/> has stored have keys of their own and no passage that says they are complete.</summary>
    private static bool IsComplete(DocumentChunk chunk, Dictionary<string, string> heads) =>
        heads.TryGetValue(chunk.DocumentId, out string? hash) ? hash == chunk.ContentHash
            : chunk.Id != DocumentChunk.Key(chunk.DocumentId, chunk.ContentHash, chunk.Ordinal) && chunk.Id != DocumentChunk.Key(chunk.DocumentId, chunk.Ordinal);

    private async Task<List<VectorSearchResult<DocumentChunk>>> FindAsync(
        string question, string[] words, int depth, Expression<Func<DocumentChunk, bool>>? filter, CancellationToken cancellationToken)
    {
        ReadOnlyMemory<float> vector = default;
        if (Mode != RetrievalMode.Keywords)
        {
            // Models that tell questions from documents read the convention 'input_type'; others ignore it.
            EmbeddingGenerationOptions options = new() { AdditionalProperties = new AdditionalPropertiesDictionary { ["input_type"] = "query" } };
            vector = (await _embeddings!.GenerateAsync(question, options, cancellationToken).ConfigureAwait(false)).Vector;
        }

        try
        {
            IAsyncEnumerable<VectorSearchResult<DocumentChunk>> results = Mode switch
            {
                RetrievalMode.Keywords => ((SqliteVectorCollection<Guid, DocumentChunk>)_collection)
                    .KeywordSearchAsync(QueryTerms.Searched(words), depth, new HybridSearchOptions<DocumentChunk> { Filter = filter }, cancellationToken),
                RetrievalMode.Hybrid when _collection is IKeywordHybridSearchable<DocumentChunk> hybrid => hybrid
                    .HybridSearchAsync(vector, _collection is SqliteVectorCollection<Guid, DocumentChunk> ? QueryTerms.Searched(words) : QueryTerms.Written(question), depth, new SqliteHybridSearchOptions<DocumentChunk> { Filter = filter, VectorWeight = _options.VectorWeight }, cancellationToken),
                _ => _collection.SearchAsync(vector, depth, new VectorSearchOptions<DocumentChunk> { Filter = filter }, cancellationToken),
            };
            return await results.ToListAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            // Asked only now: stores differ in what they throw, and a search that succeeds should not cost a second call.
            if (await _collection.CollectionExistsAsync(cancellationToken).ConfigureAwait(false))
            {
                throw;
            }

            return [];
        }
    }

    private sealed record SearchHit(string Source, string Text);
}
