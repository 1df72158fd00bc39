using Gemma.Extensions.AI.Hosting;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers the health check of Gemma models.</summary>
public static class GemmaHealthCheckBuilderExtensions
{
    /// <summary>Adds a check that reports ready, overloaded (degraded) or failed for the models that <c>AddGemmaChatClient</c> and its relatives registered.</summary>
    /// <param name="builder">The builder to add to.</param>
    /// <param name="name">Name of the check.</param>
    /// <param name="failureStatus">What is reported for a failed model; null: unhealthy.</param>
    /// <param name="tags">Tags for filtering checks.</param>
    public static IHealthChecksBuilder AddGemma(this IHealthChecksBuilder builder, string name = "gemma", HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.Add(new HealthCheckRegistration(name, provider => new GemmaHealthCheck(provider.GetService<ModelRegistry>()), failureStatus, tags));
    }
}
