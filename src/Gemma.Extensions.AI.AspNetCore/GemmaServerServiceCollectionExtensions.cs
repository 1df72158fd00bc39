using Gemma.Extensions.AI.AspNetCore;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.AspNetCore.Requests;
using Gemma.Extensions.AI.AspNetCore.OpenAI;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers what the HTTP endpoints need.</summary>
public static class GemmaServerServiceCollectionExtensions
{
    /// <summary>
    /// Has the endpoints serve every <c>IChatClient</c> and <c>IEmbeddingGenerator&lt;string, Embedding&lt;float&gt;&gt;</c> of the services, keyed ones under their key as the name
    /// of the model, one without a key under the name that its metadata gives.
    /// </summary>
    /// <param name="services">The collection to add to. Registrations that follow are served too.</param>
    /// <param name="configure">Sets options, after the configuration section <c>GemmaServer</c> was read.</param>
    public static IServiceCollection AddGemmaServer(this IServiceCollection services, Action<GemmaServerOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        if (!services.Any(service => service.ServiceType == typeof(ServerCore)))
        {
            services.AddOptions<GemmaServerOptions>()
                .Configure<IServiceProvider>((options, provider) => provider.GetService<IConfiguration>()?.GetSection(GemmaServerOptions.SectionName).Bind(options))
                .ValidateOnStart();
            services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<GemmaServerOptions>, ValidateServerOptions>());
            services.TryAddSingleton(provider => new ModelCatalog(provider, services));
            services.AddSingleton<ServerCore>();
            services.AddSingleton(CreateResponseStore);
        }

        return configure is null ? services : services.Configure(configure);
    }

    /// <summary>
    /// Has <c>POST /v1/rerank</c> ask a judge instead of comparing embeddings: <c>services.AddGemmaReranker(provider => new GemmaReranker(provider.GetRequiredService&lt;GemmaModel&gt;()).ScoreAsync)</c>
    /// with the package Gemma.Extensions.AI.Rag, for example.
    /// </summary>
    /// <param name="services">The collection to add to.</param>
    /// <param name="create">Makes the judge, with the first request that needs it.</param>
    public static IServiceCollection AddGemmaReranker(this IServiceCollection services, Func<IServiceProvider, GemmaRerank> create)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(create);
        return services.AddSingleton(create);
    }

    /// <summary>Stored in the application's distributed cache if there is one, else in memory within a limit.</summary>
    private static ResponseStore CreateResponseStore(IServiceProvider provider)
    {
        GemmaServerOptions options = provider.GetRequiredService<IOptions<GemmaServerOptions>>().Value;
        IDistributedCache cache = provider.GetService<IDistributedCache>() ?? new ResponseMemory(
            options.StoredResponsesBytes, provider.GetService<TimeProvider>() ?? TimeProvider.System, provider.GetRequiredService<ServerCore>().Logger);
        return new ResponseStore(cache, options.StoredResponseLifetime);
    }

    private sealed class ValidateServerOptions : IValidateOptions<GemmaServerOptions>
    {
        public ValidateOptionsResult Validate(string? name, GemmaServerOptions options) =>
            options.Validate().ToArray() is { Length: > 0 } problems ? ValidateOptionsResult.Fail(problems) : ValidateOptionsResult.Success;
    }
}
