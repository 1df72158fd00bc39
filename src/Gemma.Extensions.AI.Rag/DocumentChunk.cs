using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag;

/// <summary>A passage of a document, as it is stored. Any vector store can hold it.</summary>
public sealed class DocumentChunk
{
    /// <summary>Key, made from the document's name, its hash and the ordinal; that of passage 0 from the name alone. A UUID, since some stores take no text for a key, and others not all of its characters.</summary>
    public Guid Id { get; set; }

    /// <summary>Name of the document that the passage is from.</summary>
    public string DocumentId { get; set; } = "";

    /// <summary>
    /// Number of the passage within its document, from 0. Passage 0 is written last: it says that the document is complete. Passages with another hash than it are of a version
    /// that is being written or was left behind, and are not found by <see cref="DocumentRetriever"/>.
    /// </summary>
    public int Ordinal { get; set; }

    /// <summary>Hash of the document's bytes and of what else the passages depend on.</summary>
    public string ContentHash { get; set; } = "";

    /// <summary>Title of the document.</summary>
    public string Title { get; set; } = "";

    /// <summary>Headings above the passage, joined by " > "; null where there are none.</summary>
    public string? Section { get; set; }

    /// <summary>Page that the passage begins on, from 1; null where the format has none.</summary>
    public int? Page { get; set; }

    /// <summary>Line that the passage begins at, from 1; null where the format has none.</summary>
    public int? Line { get; set; }

    /// <summary>Tokens of the text.</summary>
    public int TokenCount { get; set; }

    /// <summary>The passage. Its first line is the title and the headings.</summary>
    public string Text { get; set; } = "";

    /// <summary>Embedding of the text; null where the collection has none.</summary>
    public ReadOnlyMemory<float>? Vector { get; set; }

    /// <summary>Definition for <see cref="VectorStore.GetCollection{TKey, TRecord}"/>.</summary>
    /// <param name="dimensions">Dimensions of the embeddings; null for a collection that is searched by words alone.</param>
    /// <param name="distanceFunction">How vectors are compared.</param>
    public static VectorStoreCollectionDefinition CreateDefinition(int? dimensions, string distanceFunction = DistanceFunction.CosineSimilarity)
    {
        VectorStoreCollectionDefinition definition = new()
        {
            Properties =
            [
                new VectorStoreKeyProperty(nameof(Id), typeof(Guid)),
                new VectorStoreDataProperty(nameof(DocumentId), typeof(string)) { IsIndexed = true },
                new VectorStoreDataProperty(nameof(Ordinal), typeof(int)) { IsIndexed = true },
                new VectorStoreDataProperty(nameof(ContentHash), typeof(string)),
                new VectorStoreDataProperty(nameof(Title), typeof(string)),
                new VectorStoreDataProperty(nameof(Section), typeof(string)),
                new VectorStoreDataProperty(nameof(Page), typeof(int?)),
                new VectorStoreDataProperty(nameof(Line), typeof(int?)),
                new VectorStoreDataProperty(nameof(TokenCount), typeof(int)),
                new VectorStoreDataProperty(nameof(Text), typeof(string)) { IsFullTextIndexed = true },
            ],
        };
        if (dimensions is { } size)
        {
            definition.Properties.Add(new VectorStoreVectorProperty(nameof(Vector), typeof(ReadOnlyMemory<float>?), size) { DistanceFunction = distanceFunction });
        }

        return definition;
    }

    /// <summary>The key of passage 0, and of all passages that earlier versions have written.</summary>
    internal static Guid Key(string documentId, int ordinal) => Uuid(string.Create(CultureInfo.InvariantCulture, $"{documentId}#{ordinal}"));

    /// <summary>The key of a passage of one version of a document.</summary>
    internal static Guid Key(string documentId, string contentHash, int ordinal) =>
        ordinal == 0 ? Key(documentId, 0) : Uuid(string.Create(CultureInfo.InvariantCulture, $"{documentId}#{contentHash}#{ordinal}"));

    /// <summary>A UUID of version 8 from the hash of what names it.</summary>
    private static Guid Uuid(string name)
    {
        byte[] hash = SHA256.HashData(Encoding.UTF8.GetBytes(name));
        hash[6] = (byte)((hash[6] & 0x0F) | 0x80);
        hash[8] = (byte)((hash[8] & 0x3F) | 0x80);
        return new Guid(hash.AsSpan(0, 16), bigEndian: true);
    }
}
