using System.Linq.Expressions;
using System.Runtime.CompilerServices;
using System.Text;
using Gemma.Extensions.AI.Rag.Store;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using Microsoft.Extensions.VectorData.ProviderServices;

namespace Gemma.Extensions.AI.Rag;

/// <summary>
/// A collection of a <see cref="SqliteVectorStore"/>. Batches are written in one transaction: all of a batch or nothing. Safe for concurrent use.
/// </summary>
/// <typeparam name="TKey">string, int, long or Guid; object for dynamic records.</typeparam>
/// <typeparam name="TRecord">The record.</typeparam>
public sealed partial class SqliteVectorCollection<TKey, TRecord> : VectorStoreCollection<TKey, TRecord>, IKeywordHybridSearchable<TRecord>
    where TKey : notnull
    where TRecord : class
{
    /// <summary>Constant of reciprocal rank fusion, score = Σ 1 / (60 + rank) (Cormack, Clarke, Büttcher, SIGIR 2009).</summary>
    private const double FusionConstant = 60;

    /// <summary>Far more than any search wants, and small enough to be multiplied.</summary>
    private const int MaxRows = 1 << 26;

    private readonly SqliteDatabase _database;
    private readonly CollectionModel _model;
    private readonly SqliteRows<TRecord> _rows;
    private readonly SqliteVectorSearch _search;
    private readonly string _definition;
    private readonly string _tokenizer;
    private readonly IndexCache _indexes;
    private readonly VectorStoreCollectionMetadata _metadata;

    internal SqliteVectorCollection(SqliteDatabase database, IndexCache indexes, SqliteVectorStoreOptions options, string name, CollectionModel model)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        Name = name;
        _database = database;
        _indexes = indexes;
        _model = model;
        _tokenizer = options.FullTextTokenizer;
        _rows = new SqliteRows<TRecord>(model);
        _search = new SqliteVectorSearch(indexes, options.IndexMemoryLimit);
        _definition = Describe(model);
        if (model.Properties.Any(p => p.StorageName.Equals("_id_", StringComparison.OrdinalIgnoreCase)))
        {
            throw new ArgumentException("The storage name '_id_' is the store's own. Give the property another StorageName.", nameof(model));
        }

        _metadata = new VectorStoreCollectionMetadata { VectorStoreSystemName = "sqlite", VectorStoreName = database.Path, CollectionName = name };
    }

    /// <inheritdoc/>
    public override string Name { get; }

    /// <inheritdoc/>
    public override Task<bool> CollectionExistsAsync(CancellationToken cancellationToken = default) =>
        SqliteCatalogue.ExistsAsync(_database, Name, cancellationToken);

    /// <inheritdoc/>
    /// <exception cref="VectorStoreException">The collection exists with another definition; the message names the difference.</exception>
    public override Task EnsureCollectionExistsAsync(CancellationToken cancellationToken = default) =>
        _database.WriteAsync(
            "EnsureCollectionExists",
            Name,
            (connection, transaction) =>
            {
                if (SqliteCatalogue.Find(connection, transaction, Name) is { } existing)
                {
                    CheckDefinition(existing);
                    return true;
                }

                CollectionEntry entry = SqliteCatalogue.Add(connection, transaction, Name, _definition, _tokenizer);
                foreach (string sql in _rows.CreateStatements(entry))
                {
                    using SqliteCommand command = SqliteDatabase.Command(connection, transaction, sql);
                    command.ExecuteNonQuery();
                }

                return true;
            },
            cancellationToken);

    /// <inheritdoc/>
    public override Task EnsureCollectionDeletedAsync(CancellationToken cancellationToken = default) =>
        SqliteCatalogue.DeleteAsync(_database, _indexes, Name, cancellationToken);

    /// <inheritdoc/>
    public override Task UpsertAsync(TRecord record, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(record);
        return UpsertAsync([record], cancellationToken);
    }

    /// <inheritdoc/>
    public override async Task UpsertAsync(IEnumerable<TRecord> records, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(records);
        List<TRecord> batch = [.. records];
        if (batch.Count == 0)
        {
            return;
        }

        float[]?[][] vectors = await VectorsAsync(batch, cancellationToken).ConfigureAwait(false);
        await _database.WriteAsync(
            "Upsert",
            Name,
            (connection, transaction) =>
            {
                CollectionEntry entry = Require(connection, transaction);
                _rows.Upsert(connection, transaction, entry, batch, vectors, cancellationToken);
                return true;
            },
            cancellationToken).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public override Task DeleteAsync(TKey key, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(key);
        return DeleteAsync([key], cancellationToken);
    }

    /// <inheritdoc/>
    public override Task DeleteAsync(IEnumerable<TKey> keys, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(keys);
        object[] batch = [.. keys.Select(k => Key(k))];
        return batch.Length == 0 ? Task.CompletedTask : _database.WriteAsync(
            "Delete",
            Name,
            (connection, transaction) =>
            {
                _rows.Delete(connection, transaction, Require(connection, transaction), batch, cancellationToken);
                return true;
            },
            cancellationToken);
    }

    /// <inheritdoc/>
    public override async Task<TRecord?> GetAsync(TKey key, RecordRetrievalOptions? options = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(key);
        await foreach (TRecord record in GetAsync([key], options, cancellationToken).ConfigureAwait(false))
        {
            return record;
        }

        return null;
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<TRecord> GetAsync(
        IEnumerable<TKey> keys, RecordRetrievalOptions? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(keys);
        object[] batch = [.. keys.Select(k => Key(k))];
        bool includeVectors = CheckIncludeVectors(options?.IncludeVectors ?? false);
        List<TRecord> records = await _database.ReadAsync(
            "Get", Name, (connection, transaction) => _rows.ByKeys(connection, transaction, Require(connection, transaction), batch, includeVectors), cancellationToken)
            .ConfigureAwait(false);
        foreach (TRecord record in records)
        {
            yield return record;
        }
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<TRecord> GetAsync(
        Expression<Func<TRecord, bool>> filter, int top, FilteredRecordRetrievalOptions<TRecord>? options = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(filter);
        ArgumentOutOfRangeException.ThrowIfLessThan(top, 1);
        options ??= new FilteredRecordRetrievalOptions<TRecord>();
        bool includeVectors = CheckIncludeVectors(options.IncludeVectors);
        Condition condition = Translate(filter)!;

        // Without an order, pages follow insertion, so that paging meets every record once.
        string order = "_id_";
        if (options.OrderBy is { } orderBy)
        {
            order = string.Join(", ", orderBy(new()).Values.Select(s =>
                $"{SqliteRows<TRecord>.Quote(_model.GetDataOrKeyProperty(s.PropertySelector).StorageName)}{(s.Ascending ? "" : " DESC")}").Append("_id_"));
        }

        List<TRecord> records = await _database.ReadAsync(
            "Get",
            Name,
            (connection, transaction) => _rows.Where(connection, transaction, Require(connection, transaction), condition, order, top, options.Skip, includeVectors),
            cancellationToken).ConfigureAwait(false);
        foreach (TRecord record in records)
        {
            yield return record;
        }
    }

    /// <summary>The number of records, for each word the number of those whose full text holds it, and for each of some records which words it holds.</summary>
    internal Task<(long Records, long[] Matches, bool[][] Held)> CountWordsAsync(IReadOnlyList<string> words, TKey[] keys, CancellationToken cancellationToken) =>
        _database.ReadAsync(
            "CountWords", Name,
            (connection, transaction) => _rows.WordCounts(connection, transaction, Require(connection, transaction), _model.GetFullTextDataPropertyOrSingle<TRecord>(null), words, [.. keys.Select(k => Key(k))]),
            cancellationToken);

    /// <inheritdoc/>
    public override object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(VectorStoreCollectionMetadata) ? _metadata
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <summary>Rows to look for; what asks for "all" must not run over.</summary>
    private static int Depth(int skip, int top, int times = 1) => (int)Math.Min(MaxRows, times * ((long)skip + top));

    private static string Describe(CollectionModel model)
    {
        StringBuilder text = new();
        text.Append($"key {model.KeyProperty.StorageName} {SqliteValues.ColumnType(model.KeyProperty.Type)}\n");
        foreach (DataPropertyModel property in model.DataProperties)
        {
            text.Append($"data {property.StorageName} {SqliteValues.ColumnType(property.Type)}{(property.IsIndexed ? " indexed" : "")}{(property.IsFullTextIndexed ? " full-text" : "")}\n");
        }

        foreach (VectorPropertyModel property in model.VectorProperties)
        {
            text.Append($"vector {property.StorageName} {property.Dimensions} {(SqliteValues.IsHalf(property.EmbeddingType) ? "float16" : "float32")}\n");
        }

        return text.ToString();
    }

    private List<VectorSearchResult<TRecord>> Load(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, IEnumerable<ScoredRow> rows, bool includeVectors)
    {
        List<VectorSearchResult<TRecord>> results = [];
        foreach (ScoredRow row in rows)
        {
            if (_rows.ById(connection, transaction, entry, row.Id, includeVectors) is { } record)
            {
                results.Add(new VectorSearchResult<TRecord>(record, row.Score));
            }
        }

        return results;
    }

    private VectorTarget Target(VectorPropertyModel property) => new(
        _model.VectorProperties.Index().First(p => p.Item == property).Index,
        property.Dimensions,
        SqliteValues.IsHalf(property.EmbeddingType),
        property.DistanceFunction,
        property.IndexKind);

    private CollectionEntry Require(SqliteConnection connection, SqliteTransaction transaction)
    {
        CollectionEntry entry = SqliteCatalogue.Find(connection, transaction, Name)
            ?? throw new VectorStoreException($"'{_database.Path}' has no collection '{Name}'. Call EnsureCollectionExistsAsync first.")
            {
                VectorStoreSystemName = "sqlite",
                VectorStoreName = _database.Path,
                CollectionName = Name,
            };
        CheckDefinition(entry);
        return entry;
    }

    private void CheckDefinition(CollectionEntry entry)
    {
        if (entry.Definition == _definition)
        {
            return;
        }

        string[] stored = entry.Definition.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        string[] wanted = _definition.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        throw new VectorStoreException(
            $"Collection '{Name}' of '{_database.Path}' was created with another definition. " +
            $"Stored: [{string.Join("; ", stored.Except(wanted))}]. Asked for: [{string.Join("; ", wanted.Except(stored))}]. " +
            "Open it with the stored definition, or delete the collection and ingest again.")
        {
            VectorStoreSystemName = "sqlite",
            VectorStoreName = _database.Path,
            CollectionName = Name,
        };
    }

    private object Key(TKey key) =>
        key.GetType() == (Nullable.GetUnderlyingType(_model.KeyProperty.Type) ?? _model.KeyProperty.Type)
            ? SqliteValues.ToSql(key)
            : throw new ArgumentException($"The key {key} is a {key.GetType()}, but keys of '{Name}' are {_model.KeyProperty.Type}.", nameof(key));

    private Condition? Translate(Expression<Func<TRecord, bool>>? filter)
    {
        if (filter is null)
        {
            return null;
        }

        List<object> parameters = [];
        string sql = new SqliteFilterTranslator(_model, filter, p => SqliteRows<TRecord>.Quote(p.StorageName), parameters).Translate();
        return new Condition(sql, parameters);
    }

    private bool CheckIncludeVectors(bool includeVectors) =>
        includeVectors && _model.EmbeddingGenerationRequired
            ? throw new NotSupportedException(VectorDataStrings.IncludeVectorsNotSupportedWithEmbeddingGeneration)
            : includeVectors;

    /// <summary>Vectors of the batch by property and record; those given as text are embedded here, a batch at a time.</summary>
    private async Task<float[]?[][]> VectorsAsync(List<TRecord> batch, CancellationToken cancellationToken)
    {
        float[]?[][] vectors = new float[]?[_model.VectorProperties.Count][];
        for (int p = 0; p < vectors.Length; p++)
        {
            VectorPropertyModel property = _model.VectorProperties[p];
            object?[] values = [.. batch.Select(r => property.GetValueAsObject(r))];
            if (!SqliteValues.IsVector(property.Type))
            {
                int[] present = [.. Enumerable.Range(0, values.Length).Where(i => values[i] is not null)];
                IReadOnlyList<Embedding> embeddings = present.Length == 0
                    ? []
                    : await property.GenerateEmbeddingsAsync(present.Select(i => values[i]), cancellationToken).ConfigureAwait(false);
                for (int i = 0; i < present.Length; i++)
                {
                    values[present[i]] = embeddings[i];
                }
            }

            vectors[p] = [.. values.Select(v => SqliteValues.ToFloats(v, property.ModelName, property.Dimensions))];
        }

        return vectors;
    }
}
