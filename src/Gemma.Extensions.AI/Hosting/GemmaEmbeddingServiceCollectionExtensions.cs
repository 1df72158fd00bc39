using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.AI;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers Gemma models as embedding generators.</summary>
public static class GemmaEmbeddingServiceCollectionExtensions
{
    /// <summary>
    /// Registers an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> over the model that the configuration section <c>Gemma</c> describes, as
    /// <see cref="GemmaServiceCollectionExtensions.AddGemmaChatClient(IServiceCollection)"/> does for chat; a chat client of the same path shares the
    /// loaded model.
    /// </summary>
    /// <param name="services">The collection to add to.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; null takes the configuration's.</param>
    /// <param name="options">How texts are embedded; null takes the defaults.</param>
    /// <returns>A builder for middleware: <c>.UseDistributedCache().UseOpenTelemetry()</c>.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGemmaEmbeddingGenerator(
        this IServiceCollection services, string? modelPath = null, GemmaEmbeddingOptions? options = null) =>
        services.AddGemmaEmbeddingGenerator(Configure(modelPath), options);

    /// <inheritdoc cref="AddGemmaEmbeddingGenerator(IServiceCollection, string?, GemmaEmbeddingOptions?)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="configure">Sets how the model is loaded, after the configuration was read.</param>
    /// <param name="options">How texts are embedded; null takes the defaults.</param>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGemmaEmbeddingGenerator(
        this IServiceCollection services, Action<GemmaOptions>? configure, GemmaEmbeddingOptions? options = null)
    {
        GemmaRegistration model = services.AddGemmaModel(null, configure);
        return services.AddEmbeddingGenerator(provider => new GemmaEmbeddingGenerator(provider.GetRequiredService<ModelRegistry>().Get(model), options));
    }

    /// <summary>Registers an embedding generator under a key. The configuration section <c>Gemma:{key}</c> is read after, and over, <c>Gemma</c>.</summary>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; null takes the configuration's.</param>
    /// <param name="options">How texts are embedded; null takes the defaults.</param>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedGemmaEmbeddingGenerator(
        this IServiceCollection services, object serviceKey, string? modelPath = null, GemmaEmbeddingOptions? options = null) =>
        services.AddKeyedGemmaEmbeddingGenerator(serviceKey, Configure(modelPath), options);

    /// <inheritdoc cref="AddKeyedGemmaEmbeddingGenerator(IServiceCollection, object, string?, GemmaEmbeddingOptions?)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="configure">Sets how the model is loaded, after the configuration was read.</param>
    /// <param name="options">How texts are embedded; null takes the defaults.</param>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddKeyedGemmaEmbeddingGenerator(
        this IServiceCollection services, object serviceKey, Action<GemmaOptions>? configure, GemmaEmbeddingOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(serviceKey);
        GemmaRegistration model = services.AddGemmaModel(serviceKey, configure);
        return services.AddKeyedEmbeddingGenerator(serviceKey, provider => new GemmaEmbeddingGenerator(provider.GetRequiredService<ModelRegistry>().Get(model), options));
    }

    private static Action<GemmaOptions>? Configure(string? modelPath) => modelPath is null ? null : options => options.ModelPath = modelPath;
}
