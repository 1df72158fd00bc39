namespace Gemma.Extensions.AI.Rag;

/// <summary>Settings of a pipeline that <c>services.AddGemmaRag()</c> registers.</summary>
public sealed class GemmaRagOptions
{
    /// <summary>Configuration section that is read before any delegate.</summary>
    public const string SectionName = "Gemma:Rag";

    /// <summary>The file of passages, words and vectors. Not read where a <see cref="Microsoft.Extensions.VectorData.VectorStore"/> is registered.</summary>
    public string DatabasePath { get; set; } = "documents.db";

    /// <summary>Name of the collection; null names it after the model, since vectors belong to the model that made them.</summary>
    public string? CollectionName { get; set; }

    /// <summary>Judge the best passages again by the chat model's Yes and No; see <see cref="GemmaReranker"/> for what kind of model that needs.</summary>
    public bool Rerank { get; set; }

    /// <summary>Options for cutting documents into passages.</summary>
    public DocumentIngestorOptions Ingestion { get; } = new();

    /// <summary>Options for finding passages. A chat model is a weak embedder, so here a rank by vectors weighs a quarter of a rank by words.</summary>
    public DocumentRetrieverOptions Retrieval { get; } = new() { VectorWeight = 0.25 };

    /// <summary>Options for answering questions. For the same reason, passages that share less than half as much with the question as the best one are not read here.</summary>
    public DocumentAnswererOptions Answering { get; } = new() { MinRelativeEvidence = 0.5 };

    /// <summary>Settings of the SQLite store. Not read where another store is registered.</summary>
    public SqliteVectorStoreOptions Store { get; } = new();
}
