using Gemma.Extensions.AI;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers Gemma models with a service collection.</summary>
public static class GemmaServiceCollectionExtensions
{
    /// <summary>
    /// Registers an <see cref="IChatClient"/> over the model that the configuration section <c>Gemma</c> describes (<see cref="GemmaOptions"/>); where
    /// it names no model, over the one of the environment variable <c>GEMMA_MODEL</c>. Options are validated when the host starts. The model is
    /// loaded with the first request, shared with every other registration of the same path, and disposed with the service provider.
    /// </summary>
    /// <returns>A builder for middleware: <c>.UseFunctionInvocation().UseOpenTelemetry()</c>.</returns>
    public static ChatClientBuilder AddGemmaChatClient(this IServiceCollection services) => services.AddGemmaChatClient((Action<GemmaOptions>?)null);

    /// <inheritdoc cref="AddGemmaChatClient(IServiceCollection)"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    public static ChatClientBuilder AddGemmaChatClient(this IServiceCollection services, string modelPath)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(modelPath);
        return services.AddGemmaChatClient(options => options.ModelPath = modelPath);
    }

    /// <inheritdoc cref="AddGemmaChatClient(IServiceCollection)"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="configure">Sets options, after the configuration was read.</param>
    public static ChatClientBuilder AddGemmaChatClient(this IServiceCollection services, Action<GemmaOptions>? configure)
    {
        string name = services.AddGemmaModel(null, configure);
        return services.AddChatClient(provider => new GemmaChatClient(provider.GetRequiredService<ModelRegistry>().Get(name)));
    }

    /// <summary>
    /// Registers an <see cref="IChatClient"/> under a key, as <see cref="AddGemmaChatClient(IServiceCollection)"/> does without one. The configuration
    /// section <c>Gemma:{key}</c> is read after, and over, <c>Gemma</c>.
    /// </summary>
    public static ChatClientBuilder AddKeyedGemmaChatClient(this IServiceCollection services, object serviceKey) =>
        services.AddKeyedGemmaChatClient(serviceKey, (Action<GemmaOptions>?)null);

    /// <inheritdoc cref="AddKeyedGemmaChatClient(IServiceCollection, object)"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    public static ChatClientBuilder AddKeyedGemmaChatClient(this IServiceCollection services, object serviceKey, string modelPath)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(modelPath);
        return services.AddKeyedGemmaChatClient(serviceKey, options => options.ModelPath = modelPath);
    }

    /// <inheritdoc cref="AddKeyedGemmaChatClient(IServiceCollection, object)"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="configure">Sets options, after the configuration was read.</param>
    public static ChatClientBuilder AddKeyedGemmaChatClient(this IServiceCollection services, object serviceKey, Action<GemmaOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(serviceKey);
        string name = services.AddGemmaModel(serviceKey, configure);
        return services.AddKeyedChatClient(serviceKey, provider => new GemmaChatClient(provider.GetRequiredService<ModelRegistry>().Get(name)));
    }

    /// <summary>Registers options and the model behind them, once a key. Returns the name of the options, for <see cref="ModelRegistry.Get"/>.</summary>
    internal static string AddGemmaModel(this IServiceCollection services, object? serviceKey, Action<GemmaOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        string name = serviceKey is null ? Options.Options.DefaultName : serviceKey.ToString() ?? serviceKey.GetType().Name;
        if (!services.Any(service => service.ImplementationInstance is GemmaRegistration registration && registration.OptionsName == name))
        {
            services.AddSingleton(new GemmaRegistration(name));
            services.AddOptions<GemmaOptions>(name)
                .Configure<IServiceProvider>((options, provider) => Bind(options, name, provider.GetService<IConfiguration>()))
                .ValidateOnStart();
        }

        if (configure is not null)
        {
            services.Configure(name, configure);
        }

        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<GemmaOptions>, ValidateGemmaOptions>());
        services.TryAddSingleton<ModelRegistry>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, PreloadService>());
        return name;
    }

    /// <summary>Before any delegate of the caller, which so sees what is configured and has the last word.</summary>
    private static void Bind(GemmaOptions options, string name, IConfiguration? configuration)
    {
        IConfigurationSection? section = configuration?.GetSection(GemmaOptions.SectionName);
        section?.Bind(options);
        if (name.Length > 0)
        {
            section?.GetSection(name).Bind(options);
        }

        options.ModelPath = NullIfBlank(options.ModelPath) ?? NullIfBlank(Environment.GetEnvironmentVariable(GemmaOptions.ModelPathVariable));
    }

    private static string? NullIfBlank(string? text) => string.IsNullOrWhiteSpace(text) ? null : text;
}
