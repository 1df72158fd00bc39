using Gemma.Extensions.AI.Conformance;
using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class SqliteVectorStoreConformanceTests : VectorStoreConformance
{
    private readonly TempDirectory _directory = new();
    private int _files;

    protected override VectorStore CreateStore(IEmbeddingGenerator? embeddingGenerator = null) =>
        new SqliteVectorStore(_directory.File($"{_files++}.db"), new SqliteVectorStoreOptions { EmbeddingGenerator = embeddingGenerator });

    public override void Dispose()
    {
        base.Dispose();
        _directory.Dispose();
    }
}

/// <summary>The same suite where no in-memory index fits: every search reads the file.</summary>
public sealed class SqliteVectorStoreWithoutIndexConformanceTests : VectorStoreConformance
{
    private readonly TempDirectory _directory = new();
    private int _files;

    protected override VectorStore CreateStore(IEmbeddingGenerator? embeddingGenerator = null) =>
        new SqliteVectorStore(_directory.File($"{_files++}.db"), new SqliteVectorStoreOptions { EmbeddingGenerator = embeddingGenerator, IndexMemoryLimit = 0 });

    public override void Dispose()
    {
        base.Dispose();
        _directory.Dispose();
    }
}
