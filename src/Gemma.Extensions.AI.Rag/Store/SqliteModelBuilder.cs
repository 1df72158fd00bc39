using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData.ProviderServices;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>Says which property types the store takes; the rest of reading a record's definition is the abstractions' own.</summary>
internal sealed class SqliteModelBuilder() : CollectionModelBuilder(new CollectionModelBuildingOptions
{
    SupportsMultipleVectors = true,
    RequiresAtLeastOneVector = false,
})
{
    protected override IReadOnlyList<EmbeddingGenerationDispatcher> EmbeddingGenerationDispatchers { get; } =
        [EmbeddingGenerationDispatcher.Create<Embedding<float>>(), EmbeddingGenerationDispatcher.Create<Embedding<Half>>()];

    protected override void ValidateKeyProperty(KeyPropertyModel keyProperty)
    {
        base.ValidateKeyProperty(keyProperty);
        if (!SqliteValues.IsKey(keyProperty.Type))
        {
            throw new NotSupportedException($"The key '{keyProperty.ModelName}' is a {keyProperty.Type}. Supported are {SqliteValues.SupportedKeys}.");
        }
    }

    protected override bool IsDataPropertyTypeValid(Type type, [NotNullWhen(false)] out string? supportedTypes)
    {
        supportedTypes = SqliteValues.SupportedData;
        return SqliteValues.IsData(type);
    }

    protected override bool IsVectorPropertyTypeValid(Type type, [NotNullWhen(false)] out string? supportedTypes)
    {
        supportedTypes = SqliteValues.SupportedVectors;
        return SqliteValues.IsVector(type);
    }
}
