using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Clients;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using Orleans;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers clients of a cluster of Gemma nodes. The services need an Orleans client (<c>UseOrleansClient</c>) or a silo with <c>AddGemmaNode</c>.</summary>
public static class GemmaClusterServiceCollectionExtensions
{
    /// <summary>Registers an <see cref="IChatClient"/> over a model that the cluster serves.</summary>
    /// <param name="services">The collection to add to.</param>
    /// <param name="model">Name of the model in the cluster.</param>
    /// <param name="configure">Sets times.</param>
    /// <returns>A builder for middleware: <c>.UseFunctionInvocation().UseOpenTelemetry()</c>.</returns>
    public static ChatClientBuilder AddGemmaClusterChatClient(this IServiceCollection services, string model, Action<GemmaClusterOptions>? configure = null)
    {
        Add(services, model, configure);
        return services.AddChatClient(provider => Chat(provider, model));
    }

    /// <summary>The same under a key.</summary>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="model">Name of the model in the cluster.</param>
    /// <param name="configure">Sets times, for all clients of the cluster.</param>
    public static ChatClientBuilder AddKeyedGemmaClusterChatClient(this IServiceCollection services, object serviceKey, string model, Action<GemmaClusterOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(serviceKey);
        Add(services, model, configure);
        return services.AddKeyedChatClient(serviceKey, provider => Chat(provider, model));
    }

    /// <summary>Registers an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/> over a model that the cluster serves.</summary>
    /// <param name="services">The collection to add to.</param>
    /// <param name="model">Name of the model in the cluster.</param>
    /// <param name="options">How texts are embedded; null takes the defaults.</param>
    /// <param name="configure">Sets times.</param>
    /// <returns>A builder for middleware: <c>.UseDistributedCache().UseOpenTelemetry()</c>.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGemmaClusterEmbeddingGenerator(
        this IServiceCollection services, string model, GemmaEmbeddingOptions? options = null, Action<GemmaClusterOptions>? configure = null)
    {
        Add(services, model, configure);
        return services.AddEmbeddingGenerator(provider => new GemmaClusterEmbeddingGenerator(
            provider.GetRequiredService<IGrainFactory>(), model, options, provider.GetRequiredService<IOptions<GemmaClusterOptions>>().Value, provider.GetService<ILoggerFactory>()));
    }

    private static GemmaClusterChatClient Chat(IServiceProvider provider, string model) => new(
        provider.GetRequiredService<IGrainFactory>(), model, provider.GetRequiredService<IOptions<GemmaClusterOptions>>().Value, provider.GetService<ILoggerFactory>()) { Watch = provider.GetService<ClusterWatch>() };

    private static void Add(IServiceCollection services, string model, Action<GemmaClusterOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentException.ThrowIfNullOrWhiteSpace(model);
        OptionsBuilder<GemmaClusterOptions> options = services.AddOptions<GemmaClusterOptions>();
        if (configure is not null)
        {
            options.Configure(configure);
        }
    }
}
