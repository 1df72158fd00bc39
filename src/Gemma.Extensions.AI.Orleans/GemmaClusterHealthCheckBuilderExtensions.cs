using Gemma.Extensions.AI.Orleans.Nodes;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers the health check of a silo's node.</summary>
public static class GemmaClusterHealthCheckBuilderExtensions
{
    /// <summary>
    /// Adds a check that reports this silo's node as ready, degraded (it drains, or the whole cluster is full) or failed, with what it knows of the cluster: nodes,
    /// running and waiting calls of each model.
    /// </summary>
    /// <param name="builder">The builder to add to.</param>
    /// <param name="name">Name of the check.</param>
    /// <param name="failureStatus">What is reported for a failed model; null: unhealthy.</param>
    /// <param name="tags">Tags by which checks are filtered.</param>
    public static IHealthChecksBuilder AddGemmaNode(this IHealthChecksBuilder builder, string name = "gemma-node", HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        return builder.Add(new HealthCheckRegistration(name, provider => ActivatorUtilities.CreateInstance<NodeHealthCheck>(provider), failureStatus, tags));
    }
}
