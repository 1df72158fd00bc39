using Gemma.Extensions.AI;
using Gemma.Extensions.AI.SemanticKernel;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.SemanticKernel.ChatCompletion;

namespace Microsoft.SemanticKernel;

/// <summary>Registers Gemma models, running in this process, with a <see cref="Kernel"/>.</summary>
public static class GemmaKernelBuilderExtensions
{
    /// <summary>
    /// Registers an <see cref="IChatClient"/> that invokes kernel functions as Semantic Kernel's own connectors do:
    /// <see cref="PromptExecutionSettings.FunctionChoiceBehavior"/> offers them, auto-invocation filters run around each call.
    /// </summary>
    /// <param name="builder">The kernel builder.</param>
    /// <param name="modelPath">
    /// A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>. Null takes the configuration section <c>Gemma</c>
    /// (of the <c>IConfiguration</c> among the services), then the environment variable <c>GEMMA_MODEL</c>.
    /// </param>
    /// <param name="serviceId">The key to register under; <see cref="PromptExecutionSettings.ServiceId"/> chooses by it. Null registers without one.</param>
    /// <param name="configure">Sets further options.</param>
    /// <returns>The builder.</returns>
    public static IKernelBuilder AddGemmaChatClient(
        this IKernelBuilder builder, string? modelPath = null, string? serviceId = null, Action<GemmaOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Services.AddGemmaKernelChatClient(modelPath, serviceId, configure);
        return builder;
    }

    /// <summary>
    /// Registers an <see cref="IChatCompletionService"/>, and the <see cref="IChatClient"/> behind it, for code that is written against the older
    /// interface; see <see cref="AddGemmaChatClient(IKernelBuilder, string?, string?, Action{GemmaOptions}?)"/>.
    /// </summary>
    /// <inheritdoc cref="AddGemmaChatClient(IKernelBuilder, string?, string?, Action{GemmaOptions}?)"/>
    public static IKernelBuilder AddGemmaChatCompletion(
        this IKernelBuilder builder, string? modelPath = null, string? serviceId = null, Action<GemmaOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        builder.Services.AddGemmaChatCompletion(modelPath, serviceId, configure);
        return builder;
    }

    /// <summary>
    /// Registers an <see cref="IChatCompletionService"/>, and the <see cref="IChatClient"/> behind it, with services from which kernels are built
    /// (<c>services.AddKernel()</c>).
    /// </summary>
    /// <param name="services">The services.</param>
    /// <param name="modelPath">See <see cref="AddGemmaChatClient(IKernelBuilder, string?, string?, Action{GemmaOptions}?)"/>.</param>
    /// <param name="serviceId">The key to register under; null registers without one.</param>
    /// <param name="configure">Sets further options.</param>
    /// <returns>The services.</returns>
    public static IServiceCollection AddGemmaChatCompletion(
        this IServiceCollection services, string? modelPath = null, string? serviceId = null, Action<GemmaOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.AddGemmaKernelChatClient(modelPath, serviceId, configure);

        // The service that wraps a client knows its settings, history and kernel functions: only names are added here.
        return services.AddKeyedSingleton<IChatCompletionService>(
            serviceId, (provider, _) => new KernelFunctionNames(Client(provider, serviceId).AsChatCompletionService(provider)));
    }

    private static void AddGemmaKernelChatClient(this IServiceCollection services, string? modelPath, string? serviceId, Action<GemmaOptions>? configure)
    {
        Action<GemmaOptions> options = gemma =>
        {
            gemma.ModelPath = modelPath ?? gemma.ModelPath;
            configure?.Invoke(gemma);
        };
        ChatClientBuilder client = serviceId is null ? services.AddGemmaChatClient(options) : services.AddKeyedGemmaChatClient(serviceId, options);
        client.UseKernelFunctions();
    }

    /// <summary>Makes a client suitable for kernels: invokes kernel functions, and reads settings and arguments as kernels do.</summary>
    internal static ChatClientBuilder UseKernelFunctions(this ChatClientBuilder client) =>
        client
            .Use((inner, provider) => inner.AsBuilder().UseKernelFunctionInvocation(provider.GetService<ILoggerFactory>()).Build(provider))
            .ConfigureOptions(SettingNames.Apply)
            .Use(inner => new KernelArgumentValues(inner));

    private static IChatClient Client(IServiceProvider provider, string? serviceId) =>
        serviceId is null ? provider.GetRequiredService<IChatClient>() : provider.GetRequiredKeyedService<IChatClient>(serviceId);
}
