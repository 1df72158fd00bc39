using Gemma.Extensions.AI;
using Gemma.Extensions.AI.Aspire;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.Extensions.Hosting;

/// <summary>Registers Gemma models by the name of a connection, as an Aspire app host hands it to the services that refer to it.</summary>
public static class GemmaHostApplicationBuilderExtensions
{
    private const string Section = "Aspire:Gemma";

    /// <summary>
    /// Registers an <see cref="IChatClient"/> over the model that the connection <paramref name="connectionName"/> names, with a health check, traces and metrics. Options are read from the
    /// configuration sections <c>Gemma</c>, <c>Aspire:Gemma</c> and <c>Aspire:Gemma:{connectionName}</c>, then from the connection string.
    /// </summary>
    /// <param name="builder">The builder of the application.</param>
    /// <param name="connectionName">Name of the connection: <c>ConnectionStrings:{connectionName}</c> holds a path, or <c>Model=PATH;ContextLength=4096</c>.</param>
    /// <param name="configureSettings">Sets what the integration adds, after the configuration was read.</param>
    /// <param name="configureOptions">Sets options of the model, after everything else.</param>
    /// <returns>A builder for middleware: <c>.UseFunctionInvocation()</c>.</returns>
    /// <exception cref="ArgumentException">The connection string is malformed, or names what is no option.</exception>
    public static ChatClientBuilder AddGemmaChatClient(
        this IHostApplicationBuilder builder, string connectionName, Action<GemmaAspireSettings>? configureSettings = null, Action<GemmaOptions>? configureOptions = null)
    {
        (GemmaAspireSettings settings, Action<GemmaOptions> configure) = Prepare(builder, connectionName, configureSettings, configureOptions);
        return Traced(builder.Services.AddGemmaChatClient(configure), settings);
    }

    /// <summary>Registers an <see cref="IChatClient"/> under the name of its connection as a key, as <see cref="AddGemmaChatClient"/> does without one.</summary>
    /// <inheritdoc cref="AddGemmaChatClient"/>
    public static ChatClientBuilder AddKeyedGemmaChatClient(
        this IHostApplicationBuilder builder, string connectionName, Action<GemmaAspireSettings>? configureSettings = null, Action<GemmaOptions>? configureOptions = null)
    {
        (GemmaAspireSettings settings, Action<GemmaOptions> configure) = Prepare(builder, connectionName, configureSettings, configureOptions);
        return Traced(builder.Services.AddKeyedGemmaChatClient(connectionName, configure), settings);
    }

    /// <summary>Registers an embedding generator over the model that a connection names; a chat client of the same path shares the loaded model.</summary>
    /// <inheritdoc cref="AddGemmaChatClient"/>
    /// <returns>A builder for middleware: <c>.UseDistributedCache()</c>.</returns>
    public static EmbeddingGeneratorBuilder<string, Embedding<float>> AddGemmaEmbeddingGenerator(
        this IHostApplicationBuilder builder, string connectionName, Action<GemmaAspireSettings>? configureSettings = null, Action<GemmaOptions>? configureOptions = null)
    {
        (GemmaAspireSettings settings, Action<GemmaOptions> configure) = Prepare(builder, connectionName, configureSettings, configureOptions);
        EmbeddingGeneratorBuilder<string, Embedding<float>> generator = builder.Services.AddGemmaEmbeddingGenerator(configure);
        return settings.DisableTracing ? generator : generator.UseOpenTelemetry(sourceName: GemmaDiagnostics.Name);
    }

    private static ChatClientBuilder Traced(ChatClientBuilder client, GemmaAspireSettings settings) => settings.DisableTracing ? client : client.UseOpenTelemetry(sourceName: GemmaDiagnostics.Name);

    private static (GemmaAspireSettings Settings, Action<GemmaOptions> Configure) Prepare(
        IHostApplicationBuilder builder, string connectionName, Action<GemmaAspireSettings>? configureSettings, Action<GemmaOptions>? configureOptions)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrWhiteSpace(connectionName);
        IConfigurationSection all = builder.Configuration.GetSection(Section), own = all.GetSection(connectionName);
        GemmaAspireSettings settings = new();
        all.Bind(settings);
        own.Bind(settings);
        settings.ConnectionString = builder.Configuration.GetConnectionString(connectionName) ?? settings.ConnectionString;
        configureSettings?.Invoke(settings);
        IConfiguration? connection = string.IsNullOrWhiteSpace(settings.ConnectionString) ? null : GemmaConnection.Read(connectionName, settings.ConnectionString);
        AddHealthAndTelemetry(builder.Services, connectionName, settings);
        return (settings, options =>
        {
            all.Bind(options);
            own.Bind(options);
            if (connection is not null)
            {
                connection.Bind(options); // ?.Bind would not be replaced by generated code
            }

            configureOptions?.Invoke(options);
        });
    }

    /// <summary>The health check tells of all models together, so that it is added once, whatever the number of connections.</summary>
    private static void AddHealthAndTelemetry(IServiceCollection services, string connectionName, GemmaAspireSettings settings)
    {
        if (!settings.DisableHealthChecks && !services.Any(service => service.ServiceType == typeof(HealthCheckMarker)))
        {
            services.AddSingleton<HealthCheckMarker>();
            services.AddHealthChecks().AddGemma($"Gemma_{connectionName}");
        }

        if (!settings.DisableTracing)
        {
            services.AddOpenTelemetry().WithTracing(static tracing => tracing.AddSource(GemmaDiagnostics.Name));
        }

        if (!settings.DisableMetrics)
        {
            services.AddOpenTelemetry().WithMetrics(static metrics => metrics.AddMeter(GemmaDiagnostics.Name));
        }
    }

    private sealed class HealthCheckMarker;
}
