using Gemma.Extensions.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.SemanticKernel;

/// <summary>Registers Gemma models as embedding generators of a <see cref="Kernel"/>.</summary>
public static class GemmaKernelEmbeddingExtensions
{
    /// <summary>Registers an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>; a chat client of the same path shares the loaded model.</summary>
    /// <param name="builder">The kernel builder.</param>
    /// <param name="modelPath">See <see cref="GemmaKernelBuilderExtensions.AddGemmaChatClient(IKernelBuilder, string?, string?, Action{GemmaOptions}?)"/>.</param>
    /// <param name="serviceId">The key to register under; null registers without one.</param>
    /// <param name="options">How texts are embedded; null takes the defaults.</param>
    /// <returns>The builder.</returns>
    public static IKernelBuilder AddGemmaEmbeddingGenerator(
        this IKernelBuilder builder, string? modelPath = null, string? serviceId = null, GemmaEmbeddingOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        if (serviceId is null)
        {
            builder.Services.AddGemmaEmbeddingGenerator(modelPath, options);
        }
        else
        {
            builder.Services.AddKeyedGemmaEmbeddingGenerator(serviceId, modelPath, options);
        }

        return builder;
    }
}
