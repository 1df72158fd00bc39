using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Gemma.Extensions.AI.Rag.Ingestion;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Rag;

/// <summary>How documents are cut into passages.</summary>
public sealed class DocumentIngestorOptions
{
    /// <summary>Most tokens of a passage, its title and headings included.</summary>
    public int MaxTokens { get; set; } = 256;

    /// <summary>A passage of fewer tokens goes on into the next section.</summary>
    public int MinTokens { get; set; } = 48;

    /// <summary>Most tokens that a passage repeats from the end of the one before, within a section.</summary>
    public int OverlapTokens { get; set; } = 32;

    /// <summary>Passages that are embedded and stored at a time.</summary>
    public int BatchSize { get; set; } = 16;
}

/// <summary>What was done with a document.</summary>
public enum IngestionAction
{
    /// <summary>The document was new or had changed, and was stored.</summary>
    Stored,

    /// <summary>The document was stored before and has not changed.</summary>
    Unchanged,

    /// <summary>The document was not in the list any more, and was removed.</summary>
    Removed,

    /// <summary>The document could not be read, and what was stored of it before is kept; or it holds no text, and nothing of it is stored any more.</summary>
    Failed,
}

/// <summary>Progress of an ingestion: one report a document.</summary>
/// <param name="DocumentId">The document.</param>
/// <param name="Action">What was done.</param>
/// <param name="Passages">Passages of a document that was stored; 0 of all others.</param>
/// <param name="Documents">Documents done so far.</param>
/// <param name="Error">Why it failed.</param>
public sealed record IngestionProgress(string DocumentId, IngestionAction Action, int Passages, int Documents, Exception? Error = null);

/// <summary>Result of an ingestion.</summary>
/// <param name="Stored">Documents that were new or had changed.</param>
/// <param name="Unchanged">Documents that were skipped.</param>
/// <param name="Removed">Documents that were removed.</param>
/// <param name="Passages">Passages that were embedded and stored.</param>
/// <param name="Failures">Documents that could not be read, with the reason.</param>
public sealed record IngestionResult(int Stored, int Unchanged, int Removed, int Passages, IReadOnlyDictionary<string, Exception> Failures);

/// <summary>
/// Brings a collection in line with a set of documents: reads, cuts into passages by structure and tokens, embeds, stores. Unchanged documents are
/// skipped; an interrupted run goes on where it stopped, passage batch by passage batch.
/// </summary>
public sealed class DocumentIngestor
{
    /// <summary>Records that are asked for at a time.</summary>
    private const int PageSize = 1000;

    private readonly VectorStoreCollection<Guid, DocumentChunk> _collection;
    private readonly IEmbeddingGenerator<string, Embedding<float>>? _embeddings;
    private readonly DocumentIngestorOptions _options;
    private readonly Chunker _chunker;
    private readonly string _settings;

    /// <summary>Prepares ingestion.</summary>
    /// <param name="collection">Where passages go; made with <see cref="DocumentChunk.CreateDefinition"/>.</param>
    /// <param name="tokenizer">Counts tokens: the chat model's, since passages are packed into its context.</param>
    /// <param name="embeddings">Embeds passages; null for a collection without vectors.</param>
    /// <param name="options">How documents are cut.</param>
    public DocumentIngestor(
        VectorStoreCollection<Guid, DocumentChunk> collection, Tokenizer tokenizer, IEmbeddingGenerator<string, Embedding<float>>? embeddings = null, DocumentIngestorOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(collection);
        ArgumentNullException.ThrowIfNull(tokenizer);
        _options = options ?? new DocumentIngestorOptions();
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.MaxTokens, 16, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_options.MinTokens, _options.MaxTokens, nameof(options));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(_options.OverlapTokens, _options.MaxTokens / 2, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.BatchSize, 1, nameof(options));
        _collection = collection;
        _embeddings = embeddings;
        _chunker = new Chunker(tokenizer, _options.MaxTokens, _options.MinTokens, _options.OverlapTokens);

        // A change of any of these makes other passages or other vectors, so it counts as a change of every document.
        EmbeddingGeneratorMetadata? metadata = embeddings?.GetService(typeof(EmbeddingGeneratorMetadata)) as EmbeddingGeneratorMetadata;
        _settings = string.Create(
            CultureInfo.InvariantCulture,
            $"3|{_options.MaxTokens}|{_options.MinTokens}|{_options.OverlapTokens}|{metadata?.ProviderName}|{metadata?.DefaultModelId}|{metadata?.DefaultModelDimensions}|{embeddings is not null}");
        if (embeddings?.GetService(typeof(GemmaEmbeddingOptions)) is GemmaEmbeddingOptions how)
        {
            _settings += $"|{how.Pooling}|{how.Normalize}|{how.AppendEndToken}|{how.MaxTokens}|{how.Truncate}|{how.Adapter}|{how.DocumentPrefix}";
        }
    }

    /// <summary>Ingests documents one after the other.</summary>
    /// <param name="documents">All documents of the collection, or some of them if <paramref name="removeMissing"/> is false.</param>
    /// <param name="removeMissing">Removes stored documents that are not in the list.</param>
    /// <param name="progress">Told of every document.</param>
    /// <param name="cancellationToken">Stops between two batches; the next run goes on from there.</param>
    public async Task<IngestionResult> IngestAsync(
        IEnumerable<SourceDocument> documents, bool removeMissing = true, IProgress<IngestionProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(documents);
        await _collection.EnsureCollectionExistsAsync(cancellationToken).ConfigureAwait(false);
        Dictionary<string, string?> known = await KnownAsync(cancellationToken).ConfigureAwait(false);
        HashSet<string> seen = [];
        Dictionary<string, Exception> failures = [];
        int stored = 0, unchanged = 0, passages = 0, done = 0;
        foreach (SourceDocument document in documents)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (!seen.Add(document.Id))
            {
                throw new GemmaRagException($"Two documents are named '{document.Id}'. Names tell documents apart; use paths or URLs.");
            }

            try
            {
                byte[] content = await ReadAsync(document, cancellationToken).ConfigureAwait(false);
                string hash = Hash(content, document);
                if (known.GetValueOrDefault(document.Id) is null)
                {
                    await LookUpAsync(document.Id, known, cancellationToken).ConfigureAwait(false);
                }

                if (known.TryGetValue(document.Id, out string? before) && before == hash)
                {
                    unchanged++;
                    progress?.Report(new IngestionProgress(document.Id, IngestionAction.Unchanged, 0, ++done));
                    continue;
                }

                ParsedDocument parsed = DocumentReader.Read(content, document.Format, cancellationToken);
                string title = parsed.Title ?? Path.GetFileNameWithoutExtension(document.Id);
                IReadOnlyList<Chunk> chunks = _chunker.Split(parsed, title);
                if (chunks.Count == 0)
                {
                    await RemoveFromAsync(document.Id, 0, cancellationToken).ConfigureAwait(false);
                    throw new GemmaRagException(document.Format == DocumentFormat.Pdf
                        ? $"'{document.Id}' holds no text; it is probably scanned. Run text recognition on it first."
                        : $"'{document.Id}' holds no text.");
                }

                passages += await StoreAsync(document.Id, title, hash, chunks, known.ContainsKey(document.Id), cancellationToken).ConfigureAwait(false);
                stored++;
                progress?.Report(new IngestionProgress(document.Id, IngestionAction.Stored, chunks.Count, ++done));
            }
            catch (Exception error) when (error is GemmaRagException or IOException or UnauthorizedAccessException)
            {
                failures[document.Id] = error;
                progress?.Report(new IngestionProgress(document.Id, IngestionAction.Failed, 0, ++done, error));
            }
        }

        int removed = 0;
        foreach (string id in removeMissing ? known.Keys.Where(k => !seen.Contains(k)) : [])
        {
            await RemoveFromAsync(id, 0, cancellationToken).ConfigureAwait(false);
            removed++;
            progress?.Report(new IngestionProgress(id, IngestionAction.Removed, 0, ++done));
        }

        return new IngestionResult(stored, unchanged, removed, passages, failures);
    }

    /// <summary>Removes a document; nothing happens where there is none of that name.</summary>
    public async Task RemoveAsync(string documentId, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(documentId);
        await _collection.EnsureCollectionExistsAsync(cancellationToken).ConfigureAwait(false);
        await RemoveFromAsync(documentId, 0, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Where documents come from is the caller's: whatever goes wrong there is that document's failure.</summary>
    private static async Task<byte[]> ReadAsync(SourceDocument document, CancellationToken cancellationToken)
    {
        try
        {
            return await document.ReadAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not IOException and not UnauthorizedAccessException and not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            throw new GemmaRagException($"'{document.Id}' could not be fetched: {error.Message}", error);
        }
    }

    /// <summary>
    /// Stored documents with their hash; null where a document is not complete. Ordered by what stores can order by, one number that is indexed, so that
    /// a store which breaks ties as it likes may leave one out between two pages: who is missing here is looked up by key.
    /// </summary>
    private async Task<Dictionary<string, string?>> KnownAsync(CancellationToken cancellationToken)
    {
        Dictionary<string, string?> known = [];
        for (int skip = 0; ; skip += PageSize)
        {
            int count = 0;
            await foreach (DocumentChunk chunk in _collection.GetAsync(
                c => c.Ordinal <= 1, PageSize, new FilteredRecordRetrievalOptions<DocumentChunk> { Skip = skip, OrderBy = o => o.Ascending(c => c.Ordinal) }, cancellationToken).ConfigureAwait(false))
            {
                count++;
                Note(known, chunk);
            }

            if (count < PageSize)
            {
                return known;
            }
        }
    }

    private static void Note(Dictionary<string, string?> known, DocumentChunk chunk) =>
        known[chunk.DocumentId] = chunk.Ordinal == 0 ? chunk.ContentHash : known.GetValueOrDefault(chunk.DocumentId);

    private async Task LookUpAsync(string id, Dictionary<string, string?> known, CancellationToken cancellationToken)
    {
        await foreach (DocumentChunk chunk in _collection.GetAsync([DocumentChunk.Key(id, 0), DocumentChunk.Key(id, 1)], cancellationToken: cancellationToken).ConfigureAwait(false))
        {
            Note(known, chunk);
        }
    }

    /// <summary>Writes the passages, number 0 last. Batches that an interrupted run has written are kept. Returns the number written.</summary>
    private async Task<int> StoreAsync(string id, string title, string hash, IReadOnlyList<Chunk> chunks, bool replaces, CancellationToken cancellationToken)
    {
        if (replaces)
        {
            await _collection.DeleteAsync(DocumentChunk.Key(id, 0), cancellationToken).ConfigureAwait(false);
        }

        int written = 0;
        int[] order = [.. Enumerable.Range(1, chunks.Count - 1), 0];
        foreach (int[] ordinals in order.Chunk(_options.BatchSize))
        {
            cancellationToken.ThrowIfCancellationRequested();
            HashSet<int> present = [];
            if (replaces)
            {
                await foreach (DocumentChunk chunk in _collection.GetAsync(ordinals.Select(o => DocumentChunk.Key(id, o)), cancellationToken: cancellationToken).ConfigureAwait(false))
                {
                    if (chunk.ContentHash == hash)
                    {
                        present.Add(chunk.Ordinal);
                    }
                }
            }

            DocumentChunk[] batch =
            [
                .. ordinals.Where(o => !present.Contains(o)).Select(o => new DocumentChunk
                {
                    Id = DocumentChunk.Key(id, o),
                    DocumentId = id,
                    Ordinal = o,
                    ContentHash = hash,
                    Title = title,
                    Section = chunks[o].Section.Count > 0 ? string.Join(" > ", chunks[o].Section) : null,
                    Page = chunks[o].Page,
                    Line = chunks[o].Line,
                    TokenCount = chunks[o].Tokens,
                    Text = chunks[o].Text,
                }),
            ];
            if (batch.Length == 0)
            {
                continue;
            }

            if (_embeddings is not null)
            {
                GeneratedEmbeddings<Embedding<float>> vectors = await _embeddings.GenerateAsync(batch.Select(c => c.Text), cancellationToken: cancellationToken).ConfigureAwait(false);
                for (int i = 0; i < batch.Length; i++)
                {
                    batch[i].Vector = vectors[i].Vector;
                }
            }

            await _collection.UpsertAsync(batch, cancellationToken).ConfigureAwait(false);
            written += batch.Length;
        }

        if (replaces)
        {
            await RemoveFromAsync(id, chunks.Count, cancellationToken).ConfigureAwait(false);
        }

        return written;
    }

    /// <summary>Removes the passages from an ordinal on; 0 goes first, so that an interruption leaves a document that is known to be incomplete.</summary>
    private async Task RemoveFromAsync(string id, int first, CancellationToken cancellationToken)
    {
        if (first == 0)
        {
            await _collection.DeleteAsync(DocumentChunk.Key(id, 0), cancellationToken).ConfigureAwait(false);
        }

        while (true)
        {
            List<Guid> keys = await _collection.GetAsync(
                c => c.DocumentId == id && c.Ordinal >= first, PageSize, new FilteredRecordRetrievalOptions<DocumentChunk> { OrderBy = o => o.Descending(c => c.Ordinal) }, cancellationToken)
                .Select(c => c.Id).ToListAsync(cancellationToken).ConfigureAwait(false);
            if (keys.Count > 0)
            {
                await _collection.DeleteAsync(keys, cancellationToken).ConfigureAwait(false);
            }

            // Not until none is found: some stores show deleted records for a while.
            if (keys.Count < PageSize)
            {
                return;
            }
        }
    }

    private string Hash(byte[] content, SourceDocument document)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"{_settings}|{document.Format}|"));
        hash.AppendData(content);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
