using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using System.Text;
using Gemma.Extensions.AI.Rag.Store;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using Microsoft.Extensions.VectorData.ProviderServices;

namespace Gemma.Extensions.AI.Rag;

// Search by vectors, by words, and by both.
public sealed partial class SqliteVectorCollection<TKey, TRecord>
{
    /// <inheritdoc/>
    public override async IAsyncEnumerable<VectorSearchResult<TRecord>> SearchAsync<TInput>(
        TInput searchValue, int top, VectorSearchOptions<TRecord>? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(searchValue);
        ArgumentOutOfRangeException.ThrowIfLessThan(top, 1);
        options ??= new VectorSearchOptions<TRecord>();
        VectorPropertyModel property = _model.GetVectorPropertyOrSingle(options);
        bool includeVectors = CheckIncludeVectors(options.IncludeVectors);
        Condition? condition = Translate(options.Filter);
        float[] query = await QueryVectorAsync(searchValue, property, cancellationToken).ConfigureAwait(false);
        List<VectorSearchResult<TRecord>> results = await _database.ReadAsync(
            "Search",
            Name,
            (connection, transaction) =>
            {
                CollectionEntry entry = Require(connection, transaction);
                List<ScoredRow> rows = _search.Search(connection, transaction, entry, Target(property), query, condition, Depth(options.Skip, top), cancellationToken);
                bool ascending = SqliteVectorSearch.IsDistance(property.DistanceFunction);
                return Load(
                    connection, transaction, entry,
                    rows.Where(r => options.ScoreThreshold is not { } limit || (ascending ? r.Score <= limit : r.Score >= limit)).Skip(options.Skip).Take(top), includeVectors);
            },
            cancellationToken).ConfigureAwait(false);
        foreach (VectorSearchResult<TRecord> result in results)
        {
            yield return result;
        }
    }

    /// <inheritdoc/>
    /// <remarks>
    /// Ranks by vector and by BM25 are fused by reciprocal rank, score = Σ weight / (60 + rank); the weights are 1 unless
    /// <see cref="SqliteHybridSearchOptions{TRecord}"/> says otherwise, and the threshold applies to that score. A keyword of several
    /// words is a phrase; a record needs to match one keyword only.
    /// </remarks>
    public async IAsyncEnumerable<VectorSearchResult<TRecord>> HybridSearchAsync<TInput>(
        TInput searchValue, ICollection<string> keywords, int top, HybridSearchOptions<TRecord>? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
        where TInput : notnull
    {
        ArgumentNullException.ThrowIfNull(searchValue);
        ArgumentNullException.ThrowIfNull(keywords);
        ArgumentOutOfRangeException.ThrowIfLessThan(top, 1);
        options ??= new HybridSearchOptions<TRecord>();
        VectorPropertyModel vector = _model.GetVectorPropertyOrSingle(new VectorSearchOptions<TRecord> { VectorProperty = options.VectorProperty });
        DataPropertyModel text = _model.GetFullTextDataPropertyOrSingle(options.AdditionalProperty);
        bool includeVectors = CheckIncludeVectors(options.IncludeVectors);
        Condition? condition = Translate(options.Filter);
        float[] query = await QueryVectorAsync(searchValue, vector, cancellationToken).ConfigureAwait(false);

        // Both lists must reach deeper than the result, or a record that is good in both but best in neither is missed.
        int depth = Math.Max(100, Depth(options.Skip, top, times: 4));
        double vectorWeight = (options as SqliteHybridSearchOptions<TRecord>)?.VectorWeight ?? 1;
        List<VectorSearchResult<TRecord>> results = await _database.ReadAsync(
            "HybridSearch",
            Name,
            (connection, transaction) =>
            {
                CollectionEntry entry = Require(connection, transaction);
                List<ScoredRow> byVector = _search.Search(connection, transaction, entry, Target(vector), query, condition, depth, cancellationToken);
                List<ScoredRow> byText = _rows.FullText(connection, transaction, entry, text, keywords, condition, depth);
                return Load(
                    connection, transaction, entry,
                    Fuse((byVector, vectorWeight), (byText, 1)).Where(r => r.Score >= (options.ScoreThreshold ?? 0)).Skip(options.Skip).Take(top), includeVectors);
            },
            cancellationToken).ConfigureAwait(false);
        foreach (VectorSearchResult<TRecord> result in results)
        {
            yield return result;
        }
    }

    /// <summary>Searches the full text alone.</summary>
    /// <param name="keywords">Words or phrases; a record needs to match one.</param>
    /// <param name="top">Most records to return.</param>
    /// <param name="options">Filter, property, paging and threshold; its vector property is not used.</param>
    /// <param name="cancellationToken">Cancels the search.</param>
    /// <returns>Records by BM25, best first. The score is SQLite's bm25() with its sign turned, so more is better.</returns>
    public async IAsyncEnumerable<VectorSearchResult<TRecord>> KeywordSearchAsync(
        ICollection<string> keywords, int top, HybridSearchOptions<TRecord>? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(keywords);
        ArgumentOutOfRangeException.ThrowIfLessThan(top, 1);
        options ??= new HybridSearchOptions<TRecord>();
        DataPropertyModel text = _model.GetFullTextDataPropertyOrSingle(options.AdditionalProperty);
        bool includeVectors = CheckIncludeVectors(options.IncludeVectors);
        Condition? condition = Translate(options.Filter);
        List<VectorSearchResult<TRecord>> results = await _database.ReadAsync(
            "KeywordSearch",
            Name,
            (connection, transaction) =>
            {
                CollectionEntry entry = Require(connection, transaction);
                List<ScoredRow> rows = _rows.FullText(connection, transaction, entry, text, keywords, condition, Depth(options.Skip, top));
                return Load(connection, transaction, entry, rows.Where(r => r.Score >= (options.ScoreThreshold ?? double.MinValue)).Skip(options.Skip).Take(top), includeVectors);
            },
            cancellationToken).ConfigureAwait(false);
        foreach (VectorSearchResult<TRecord> result in results)
        {
            yield return result;
        }
    }

    private static List<ScoredRow> Fuse(params ReadOnlySpan<(List<ScoredRow> Rows, double Weight)> lists)
    {
        Dictionary<long, double> scores = [];
        foreach ((List<ScoredRow> rows, double weight) in lists)
        {
            for (int rank = 0; rank < rows.Count; rank++)
            {
                scores[rows[rank].Id] = scores.GetValueOrDefault(rows[rank].Id) + weight / (FusionConstant + rank + 1);
            }
        }

        return [.. scores.OrderByDescending(s => s.Value).ThenBy(s => s.Key).Select(s => new ScoredRow(s.Key, s.Value))];
    }

    private static async Task<float[]> QueryVectorAsync<TInput>(TInput searchValue, VectorPropertyModel property, CancellationToken cancellationToken)
        where TInput : notnull
    {
        object value = searchValue;
        if (!SqliteValues.IsVector(value.GetType()))
        {
            value = property.EmbeddingGenerationDispatcher is not null
                ? await property.GenerateEmbeddingAsync(searchValue, cancellationToken).ConfigureAwait(false)
                : throw new NotSupportedException(VectorDataStrings.InvalidSearchInputAndNoEmbeddingGeneratorWasConfigured(value.GetType(), SqliteValues.SupportedVectors));
        }

        return SqliteValues.ToFloats(value, property.ModelName, property.Dimensions)!;
    }
}
