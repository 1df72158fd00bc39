using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>Computes embeddings at a node.</summary>
internal static class Embeddings
{
    public static async Task<WireVectors> ComputeAsync(GemmaModel model, WireTexts texts, CancellationToken cancellationToken)
    {
        using GemmaEmbeddingGenerator generator = new(model, FromWire(texts));
        EmbeddingGenerationOptions options = new() { Dimensions = texts.Dimensions };
        if (texts.InputType is { } type)
        {
            options.AdditionalProperties = new() { ["input_type"] = type };
        }

        GeneratedEmbeddings<Embedding<float>> computed = await generator.GenerateAsync(texts.Values, options, cancellationToken).ConfigureAwait(false);
        return new WireVectors { Values = [.. computed.Select(embedding => embedding.Vector.ToArray())], InputTokens = computed.Usage?.InputTokenCount ?? 0 };
    }

    public static WireTexts ToWire(string[] values, GemmaEmbeddingOptions settings, EmbeddingGenerationOptions? options) => new()
    {
        Values = values,
        Dimensions = options?.Dimensions,
        InputType = options?.AdditionalProperties?.TryGetValue("input_type", out object? type) == true ? type?.ToString() : null,
        Pooling = (int)settings.Pooling,
        Normalize = settings.Normalize,
        QueryPrefix = settings.QueryPrefix,
        DocumentPrefix = settings.DocumentPrefix,
        AppendEndToken = settings.AppendEndToken,
        MaxTokens = settings.MaxTokens,
        Adapter = settings.Adapter,
        Truncate = settings.Truncate,
    };

    public static GemmaEmbeddingOptions FromWire(WireTexts texts) => new()
    {
        Pooling = (GemmaEmbeddingPooling)texts.Pooling,
        Normalize = texts.Normalize,
        QueryPrefix = texts.QueryPrefix,
        DocumentPrefix = texts.DocumentPrefix,
        AppendEndToken = texts.AppendEndToken,
        MaxTokens = texts.MaxTokens,
        Adapter = texts.Adapter,
        Truncate = texts.Truncate,
    };
}
