using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag;

/// <summary>Hybrid search with a say on how much the vectors count.</summary>
/// <typeparam name="TRecord">The record.</typeparam>
public sealed class SqliteHybridSearchOptions<TRecord> : HybridSearchOptions<TRecord>
{
    /// <summary>Weight of a rank by vector, where a rank by words weighs 1. Less than 1 suits a weak embedder.</summary>
    public double VectorWeight { get; set; } = 1;
}
