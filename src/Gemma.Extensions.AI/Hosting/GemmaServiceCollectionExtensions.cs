using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Hosting;
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

    /// <inheritdoc cref="AddGemmaChatClient(IServiceCollection)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    public static ChatClientBuilder AddGemmaChatClient(this IServiceCollection services, string modelPath) => services.AddGemmaChatClient(modelPath, null);

    /// <inheritdoc cref="AddGemmaChatClient(IServiceCollection)"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    /// <param name="configure">Sets other options, after the configuration was read.</param>
    public static ChatClientBuilder AddGemmaChatClient(this IServiceCollection services, string modelPath, Action<GemmaOptions>? configure)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(modelPath);
        return services.AddGemmaChatClient(AtPath(modelPath, configure));
    }

    /// <inheritdoc cref="AddGemmaChatClient(IServiceCollection)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="configure">Sets options, after the configuration was read.</param>
    public static ChatClientBuilder AddGemmaChatClient(this IServiceCollection services, Action<GemmaOptions>? configure)
    {
        GemmaRegistration model = services.AddGemmaModel(null, configure);
        return services.AddChatClient(provider => new GemmaChatClient(provider.GetRequiredService<ModelRegistry>().Get(model)));
    }

    /// <summary>
    /// Registers an <see cref="IChatClient"/> under a key, as <see cref="AddGemmaChatClient(IServiceCollection)"/> does without one. The configuration
    /// section <c>Gemma:{key}</c> is read after, and over, <c>Gemma</c>.
    /// </summary>
    public static ChatClientBuilder AddKeyedGemmaChatClient(this IServiceCollection services, object serviceKey) =>
        services.AddKeyedGemmaChatClient(serviceKey, (Action<GemmaOptions>?)null);

    /// <inheritdoc cref="AddKeyedGemmaChatClient(IServiceCollection, object)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    public static ChatClientBuilder AddKeyedGemmaChatClient(this IServiceCollection services, object serviceKey, string modelPath) => services.AddKeyedGemmaChatClient(serviceKey, modelPath, null);

    /// <inheritdoc cref="AddKeyedGemmaChatClient(IServiceCollection, object)"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    /// <param name="configure">Sets other options, after the configuration was read.</param>
    public static ChatClientBuilder AddKeyedGemmaChatClient(this IServiceCollection services, object serviceKey, string modelPath, Action<GemmaOptions>? configure)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(modelPath);
        return services.AddKeyedGemmaChatClient(serviceKey, AtPath(modelPath, configure));
    }

    /// <inheritdoc cref="AddKeyedGemmaChatClient(IServiceCollection, object)" path="//summary | //returns | //exception | //remarks"/>
    /// <param name="services">The collection to add to.</param>
    /// <param name="serviceKey">The key.</param>
    /// <param name="configure">Sets options, after the configuration was read.</param>
    public static ChatClientBuilder AddKeyedGemmaChatClient(this IServiceCollection services, object serviceKey, Action<GemmaOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(serviceKey);
        GemmaRegistration model = services.AddGemmaModel(serviceKey, configure);
        return services.AddKeyedChatClient(serviceKey, provider => new GemmaChatClient(provider.GetRequiredService<ModelRegistry>().Get(model)));
    }

    /// <summary>Registers options, once a key, and the model behind them. Returns what <see cref="ModelRegistry.Get(GemmaRegistration)"/> finds it by.</summary>
    internal static GemmaRegistration AddGemmaModel(this IServiceCollection services, object? serviceKey, Action<GemmaOptions>? configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        GemmaRegistration[] known = [.. services.Where(service => !service.IsKeyedService).Select(service => service.ImplementationInstance).OfType<GemmaRegistration>()];
        string section = serviceKey?.ToString() ?? "";
        string name = known.FirstOrDefault(other => Equals(other.ServiceKey, serviceKey))?.OptionsName ?? NameOf(serviceKey, section, known);
        if (!known.Any(other => other.OptionsName == name))
        {
            services.AddOptions<GemmaOptions>(name)
                .Configure<IServiceProvider>((options, provider) => Bind(options, section, provider.GetService<IConfiguration>()))
                .ValidateOnStart();
        }

        GemmaRegistration registration = new(serviceKey, name, configure);
        services.AddSingleton(registration);

        if (configure is not null)
        {
            services.Configure(name, configure);
        }

        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<GemmaOptions>, ValidateGemmaOptions>());
        services.TryAddSingleton<ModelRegistry>();
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IHostedService, PreloadService>());
        return registration;
    }

    /// <summary>The name of a key's options: the key as text, with its type where that is empty or another key's text too.</summary>
    private static string NameOf(object? serviceKey, string text, GemmaRegistration[] known) =>
        serviceKey is null ? Options.Options.DefaultName
            : text.Length > 0 && !known.Any(other => other.OptionsName == text) ? text
            : $"{text} ({serviceKey.GetType()} {known.Length})";

    /// <summary>Before any delegate of the caller, which so sees what is configured and has the last word.</summary>
    private static void Bind(GemmaOptions options, string key, IConfiguration? configuration)
    {
        if (configuration is not null)
        {
            IConfigurationSection section = configuration.GetSection(GemmaOptions.SectionName);
            section.Bind(options);
            if (key.Length > 0)
            {
                section.GetSection(key).Bind(options);
            }
        }

        options.ModelPath = NullIfBlank(options.ModelPath) ?? NullIfBlank(Environment.GetEnvironmentVariable(GemmaOptions.ModelPathVariable));
    }

    private static Action<GemmaOptions> AtPath(string modelPath, Action<GemmaOptions>? configure) => options =>
    {
        options.ModelPath = modelPath;
        configure?.Invoke(options);
    };

    private static string? NullIfBlank(string? text) => string.IsNullOrWhiteSpace(text) ? null : text;
}
