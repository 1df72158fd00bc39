using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Gemma.Extensions.AI.Rag.Ingestion;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using Microsoft.ML.Tokenizers;

namespace Gemma.Extensions.AI.Rag;

/// <summary>Options of a <see cref="DocumentIngestor"/>.</summary>
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

    /// <summary>Most bytes of a document. A document over this or another limit is reported as failed, and the others are ingested.</summary>
    public long MaxDocumentBytes { get; set; } = 256L << 20;

    /// <summary>Most bytes of a document in Markdown or HTML, whose parsers take many times the document's size in memory.</summary>
    public long MaxMarkupBytes { get; set; } = 32L << 20;

    /// <summary>Most characters of a document's text.</summary>
    public long MaxTextLength { get; set; } = 64L << 20;

    /// <summary>Longest time that reading and cutting one document may take; <see cref="Timeout.InfiniteTimeSpan"/> sets no limit. Fetching, embedding and storing don't count.</summary>
    public TimeSpan ReadTimeout { get; set; } = TimeSpan.FromMinutes(5);

    internal ReadLimits Limits => new(MaxDocumentBytes, MaxMarkupBytes, MaxTextLength);
}

/// <summary>The outcome for one document.</summary>
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
/// skipped; an interrupted run goes on where it stopped, passage batch by passage batch. Until a changed document is stored as a whole, <see cref="DocumentRetriever"/> finds
/// the version before.
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
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.MaxDocumentBytes, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.MaxMarkupBytes, 1, nameof(options));
        ArgumentOutOfRangeException.ThrowIfLessThan(_options.MaxTextLength, 1, nameof(options));
        if (_options.ReadTimeout != Timeout.InfiniteTimeSpan)
        {
            ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(_options.ReadTimeout, TimeSpan.Zero, nameof(options));
            ArgumentOutOfRangeException.ThrowIfGreaterThan(_options.ReadTimeout, TimeSpan.FromMilliseconds(int.MaxValue), nameof(options));
        }

        _collection = collection;
        _embeddings = embeddings;
        _chunker = new Chunker(tokenizer, _options.MaxTokens, _options.MinTokens, _options.OverlapTokens);

        // A change of any of these makes other passages or other vectors, so it counts as a change of every document.
        EmbeddingGeneratorMetadata? metadata = embeddings?.GetService(typeof(EmbeddingGeneratorMetadata)) as EmbeddingGeneratorMetadata;
        _settings = string.Create(
            CultureInfo.InvariantCulture,
            $"{_options.MaxTokens}|{_options.MinTokens}|{_options.OverlapTokens}|{metadata?.ProviderName}|{metadata?.DefaultModelId}|{metadata?.DefaultModelDimensions}|{embeddings is not null}");
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
        (Dictionary<string, string?> known, HashSet<string> mixed) = await KnownAsync(cancellationToken).ConfigureAwait(false);
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
                (IngestionAction action, int chunks, int added) = await IngestAsync(document, known, mixed, cancellationToken).ConfigureAwait(false);
                stored += action == IngestionAction.Stored ? 1 : 0;
                unchanged += action == IngestionAction.Unchanged ? 1 : 0;
                passages += added;
                progress?.Report(new IngestionProgress(document.Id, action, chunks, ++done));
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
            await RemoveOthersAsync(id, null, cancellationToken).ConfigureAwait(false);
            removed++;
            progress?.Report(new IngestionProgress(id, IngestionAction.Removed, 0, ++done));
        }

        return new IngestionResult(stored, unchanged, removed, passages, failures);
    }

    /// <summary>Stores one document, unless the store has it as it is.</summary>
    private async Task<(IngestionAction Action, int Chunks, int Added)> IngestAsync(SourceDocument document, Dictionary<string, string?> known, HashSet<string> mixed, CancellationToken cancellationToken)
    {
        byte[] content = await FetchAsync(document, cancellationToken).ConfigureAwait(false);
        string hash = Hash(content, document);
        if (known.GetValueOrDefault(document.Id) is null)
        {
            await LookUpAsync(document.Id, hash, known, cancellationToken).ConfigureAwait(false);
        }

        if (known.TryGetValue(document.Id, out string? before) && before == hash)
        {
            if (mixed.Contains(document.Id))
            {
                await RemoveOthersAsync(document.Id, hash, cancellationToken).ConfigureAwait(false);
            }

            return (IngestionAction.Unchanged, 0, 0);
        }

        (string title, IReadOnlyList<Chunk> chunks) = Cut(document, content, cancellationToken);
        if (chunks.Count == 0)
        {
            await RemoveOthersAsync(document.Id, null, cancellationToken).ConfigureAwait(false);
            throw new GemmaRagException(document.Format == DocumentFormat.Pdf
                ? $"'{document.Id}' holds no text; it is probably scanned. Run text recognition on it first."
                : $"'{document.Id}' holds no text.");
        }

        return (IngestionAction.Stored, chunks.Count, await StoreAsync(document.Id, title, hash, chunks, known.ContainsKey(document.Id), cancellationToken).ConfigureAwait(false));
    }

    /// <summary>Removes a document. Does nothing if there is none of that name.</summary>
    public async Task RemoveAsync(string documentId, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(documentId);
        await _collection.EnsureCollectionExistsAsync(cancellationToken).ConfigureAwait(false);
        await RemoveOthersAsync(documentId, null, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Where documents come from is the caller's: whatever goes wrong there is that document's failure.</summary>
    private async Task<byte[]> FetchAsync(SourceDocument document, CancellationToken cancellationToken)
    {
        if (document.Length is { } length)
        {
            DocumentReader.CheckSize(length, document.Format, _options.Limits);
        }

        try
        {
            return await document.ReadAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (Exception error) when (error is not IOException and not UnauthorizedAccessException and not OutOfMemoryException && !cancellationToken.IsCancellationRequested)
        {
            throw new GemmaRagException($"'{document.Id}' could not be fetched: {error.Message}", error);
        }
    }

    /// <summary>Reads a document and cuts it into passages, within the limits.</summary>
    private (string Title, IReadOnlyList<Chunk> Chunks) Cut(SourceDocument document, byte[] content, CancellationToken cancellationToken)
    {
        using CancellationTokenSource limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(_options.ReadTimeout);
        try
        {
            ParsedDocument parsed = DocumentReader.Read(content, document.Format, limit.Token, _options.Limits);
            string title = parsed.Title ?? Path.GetFileNameWithoutExtension(document.Id);
            return (title, _chunker.Split(parsed, title, limit.Token));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            throw new GemmaRagException(
                $"'{document.Id}' took longer to read than {_options.ReadTimeout}, which is what DocumentIngestorOptions.ReadTimeout allows. Split it, ingest it as DocumentFormat.Text, or raise the limit.");
        }
    }

    /// <summary>
    /// Stored documents with their hash, null where a document is not complete, and those that passages of several versions are stored of. Ordered by what stores can order
    /// by, one number that is indexed, so that a store which breaks ties as it likes may leave one out between two pages: who is missing here is looked up by key.
    /// </summary>
    private async Task<(Dictionary<string, string?> Known, HashSet<string> Mixed)> KnownAsync(CancellationToken cancellationToken)
    {
        Dictionary<string, string?> known = [];
        List<(string Id, string Hash)> seconds = [];
        for (int skip = 0; ; skip += PageSize)
        {
            int count = 0;
            await foreach (DocumentChunk chunk in _collection.GetAsync(
                c => c.Ordinal <= 1, PageSize, new FilteredRecordRetrievalOptions<DocumentChunk> { Skip = skip, OrderBy = o => o.Ascending(c => c.Ordinal) }, cancellationToken).ConfigureAwait(false))
            {
                count++;
                Note(known, chunk);
                if (chunk.Ordinal == 1)
                {
                    seconds.Add((chunk.DocumentId, chunk.ContentHash));
                }
            }

            if (count < PageSize)
            {
                return (known, [.. seconds.Where(s => known[s.Id] != s.Hash).Select(s => s.Id)]);
            }
        }
    }

    private static void Note(Dictionary<string, string?> known, DocumentChunk chunk) =>
        known[chunk.DocumentId] = chunk.Ordinal == 0 ? chunk.ContentHash : known.GetValueOrDefault(chunk.DocumentId);

    private async Task LookUpAsync(string id, string hash, Dictionary<string, string?> known, CancellationToken cancellationToken)
    {
        Guid[] keys = [DocumentChunk.Key(id, 0), DocumentChunk.Key(id, 1), DocumentChunk.Key(id, hash, 1)];
        await foreach (DocumentChunk chunk in _collection.GetAsync(keys, cancellationToken: cancellationToken).ConfigureAwait(false))
        {
            Note(known, chunk);
        }
    }

    /// <summary>
    /// Writes the passages beside those of the version before, number 0 last: with it, the document is the new one. Batches that an interrupted run has written are kept.
    /// Returns the number written.
    /// </summary>
    private async Task<int> StoreAsync(string id, string title, string hash, IReadOnlyList<Chunk> chunks, bool replaces, CancellationToken cancellationToken)
    {
        int written = 0;
        int[] order = [.. Enumerable.Range(1, chunks.Count - 1), 0];
        foreach (int[] ordinals in order.Chunk(_options.BatchSize))
        {
            cancellationToken.ThrowIfCancellationRequested();
            HashSet<int> present = [];
            if (replaces)
            {
                await foreach (DocumentChunk chunk in _collection.GetAsync(ordinals.Select(o => DocumentChunk.Key(id, hash, o)), cancellationToken: cancellationToken).ConfigureAwait(false))
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
                    Id = DocumentChunk.Key(id, hash, o),
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
            await RemoveOthersAsync(id, hash, cancellationToken).ConfigureAwait(false);
        }

        return written;
    }

    /// <summary>
    /// Removes the passages of all versions but one, or of all; then passage 0 goes first, so that an interruption leaves a document that is known to be incomplete.
    /// </summary>
    private async Task RemoveOthersAsync(string id, string? keep, CancellationToken cancellationToken)
    {
        if (keep is null)
        {
            await _collection.DeleteAsync(DocumentChunk.Key(id, 0), cancellationToken).ConfigureAwait(false);
        }

        List<Guid> others = [];
        for (int skip = 0, count = PageSize; count == PageSize; skip += PageSize)
        {
            count = 0;
            await foreach (DocumentChunk chunk in _collection.GetAsync(
                c => c.DocumentId == id && c.Ordinal >= 0, PageSize, new FilteredRecordRetrievalOptions<DocumentChunk> { Skip = skip, OrderBy = o => o.Ascending(c => c.Ordinal) }, cancellationToken).ConfigureAwait(false))
            {
                count++;
                if (chunk.ContentHash != keep)
                {
                    others.Add(chunk.Id);
                }
            }
        }

        foreach (Guid[] keys in others.Chunk(PageSize))
        {
            await _collection.DeleteAsync(keys, cancellationToken).ConfigureAwait(false);
        }
    }

    private string Hash(byte[] content, SourceDocument document)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

        // Raised where other text is read from the same bytes.
        int reading = document.Format is DocumentFormat.Html or DocumentFormat.Pdf ? 4 : 3;
        hash.AppendData(Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{reading}|{_settings}|{document.Format}|")));
        hash.AppendData(content);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}
