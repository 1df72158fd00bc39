using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Rag.Store;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag;

/// <summary>Settings of a <see cref="SqliteVectorStore"/>.</summary>
public sealed class SqliteVectorStoreOptions
{
    internal const string DefaultTokenizer = "porter ascii";

    /// <summary>Makes vectors for properties and searches that are given as text, where the property names no generator of its own.</summary>
    public IEmbeddingGenerator? EmbeddingGenerator { get; set; }

    /// <summary>
    /// FTS5 tokenizer of new collections. It reads words that are made before, the same for texts and searches: without case, accents and formatting
    /// characters, parted by single spaces, pairs of letters where a script has no spaces (Chinese, Japanese, Thai). The default stems English;
    /// <c>ascii</c> takes the words as they are, and <c>trigram</c> also finds parts of words.
    /// </summary>
    public string FullTextTokenizer { get; set; } = DefaultTokenizer;

    /// <summary>
    /// Most bytes that the in-memory index of one vector property may take: about dimensions + 56 for each record, so 238 MB for 100,000
    /// vectors of 2,304 dimensions. Beyond it, searches read the vectors from the file.
    /// </summary>
    public long IndexMemoryLimit { get; set; } = 1L << 30;

    /// <summary>
    /// Told when the words of a file that an earlier version has written are indexed anew. That is done in place when such a file is first used, in one
    /// transaction: a process that ends in between leaves the file as it was.
    /// </summary>
    public IProgress<SqliteReindexProgress>? ReindexProgress { get; set; }

    /// <summary>Time for which a writer waits for writers of other processes; at most 24 days.</summary>
    public TimeSpan BusyTimeout { get; set; } = TimeSpan.FromSeconds(30);
}

/// <summary>Progress of indexing the words of a collection anew; at the beginning, every <see cref="Rows"/> records and at the end.</summary>
/// <param name="Collection">Name of the collection.</param>
/// <param name="Done">Records done so far.</param>
/// <param name="Total">All records of the collection.</param>
public sealed record SqliteReindexProgress(string Collection, long Done, long Total)
{
    /// <summary>Records from one report to the next.</summary>
    public const int Rows = 1000;
}

/// <summary>
/// A vector store in one SQLite file: records as rows, full text in FTS5 (BM25), vectors as float32 or float16 blobs. Similarity search scans
/// signed-byte codes in memory and scores the best candidates again with the stored vectors; <see cref="IndexKind.Flat"/> asks for an exact scan
/// of the file instead. Instances, threads and processes may share the file: readers see a snapshot, writers take turns, and a commit
/// survives the process and the machine.
/// </summary>
public sealed class SqliteVectorStore : VectorStore
{
    private readonly SqliteDatabase _database;
    private readonly SqliteVectorStoreOptions _options;
    private readonly IndexCache _indexes = new();
    private readonly VectorStoreMetadata _metadata;

    /// <summary>Opens the file, or will create it on first use.</summary>
    /// <param name="path">Path of the database file. Its directory must exist.</param>
    /// <param name="options">Settings; null takes the defaults.</param>
    public SqliteVectorStore(string path, SqliteVectorStoreOptions? options = null)
    {
        _options = options ?? new SqliteVectorStoreOptions();
        ArgumentOutOfRangeException.ThrowIfNegative(_options.IndexMemoryLimit, nameof(options));
        ArgumentException.ThrowIfNullOrWhiteSpace(_options.FullTextTokenizer, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.BusyTimeout, TimeSpan.Zero, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_options.BusyTimeout, TimeSpan.FromMilliseconds(int.MaxValue), nameof(options));
        _database = new SqliteDatabase(path, _options.BusyTimeout, _options.ReindexProgress);
        _metadata = new VectorStoreMetadata { VectorStoreSystemName = "sqlite", VectorStoreName = _database.Path };
    }

    /// <inheritdoc/>
    [RequiresUnreferencedCode("Reads the record's properties by reflection. Use GetDynamicCollection with trimming, or keep the record's members.")]
    [RequiresDynamicCode("Reads the record's properties by reflection. Use GetDynamicCollection with ahead-of-time compilation, or keep the record's members.")]
    public override VectorStoreCollection<TKey, TRecord> GetCollection<TKey, TRecord>(string name, VectorStoreCollectionDefinition? definition = null)
    {
        if (typeof(TRecord) == typeof(Dictionary<string, object?>))
        {
            throw new ArgumentException("Dictionary records are opened with GetDynamicCollection.", nameof(definition));
        }

        return new SqliteVectorCollection<TKey, TRecord>(
            _database, _indexes, _options, name, new SqliteModelBuilder().Build(typeof(TRecord), typeof(TKey), definition, _options.EmbeddingGenerator));
    }

    /// <inheritdoc/>
    public override VectorStoreCollection<object, Dictionary<string, object?>> GetDynamicCollection(string name, VectorStoreCollectionDefinition definition)
    {
        ArgumentNullException.ThrowIfNull(definition);
        return new SqliteVectorCollection<object, Dictionary<string, object?>>(
            _database, _indexes, _options, name, new SqliteModelBuilder().BuildDynamic(definition, _options.EmbeddingGenerator));
    }

    /// <inheritdoc/>
    public override async IAsyncEnumerable<string> ListCollectionNamesAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        List<string> names = await _database.ReadAsync(
            "ListCollectionNames",
            null,
            static (connection, transaction) =>
            {
                using SqliteCommand command = SqliteDatabase.Command(connection, transaction, "SELECT name FROM vector_collections ORDER BY name");
                using SqliteDataReader reader = command.ExecuteReader();
                List<string> found = [];
                while (reader.Read())
                {
                    found.Add(reader.GetString(0));
                }

                return found;
            },
            cancellationToken).ConfigureAwait(false);
        foreach (string name in names)
        {
            yield return name;
        }
    }

    /// <inheritdoc/>
    public override Task<bool> CollectionExistsAsync(string name, CancellationToken cancellationToken = default) =>
        SqliteCatalogue.ExistsAsync(_database, name, cancellationToken);

    /// <inheritdoc/>
    public override Task EnsureCollectionDeletedAsync(string name, CancellationToken cancellationToken = default) =>
        SqliteCatalogue.DeleteAsync(_database, _indexes, name, cancellationToken);

    /// <inheritdoc/>
    public override object? GetService(Type serviceType, object? serviceKey = null)
    {
        ArgumentNullException.ThrowIfNull(serviceType);
        return serviceKey is not null ? null
            : serviceType == typeof(VectorStoreMetadata) ? _metadata
            : serviceType.IsInstanceOfType(this) ? this
            : null;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _database.Dispose();
        }

        base.Dispose(disposing);
    }
}
