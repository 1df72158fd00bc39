using Gemma.Extensions.AI.Orleans.Clients;
using Gemma.Extensions.AI.Orleans.Nodes;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers the health checks of nodes and clients of a cluster.</summary>
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

    /// <summary>
    /// Adds a check of a client's cluster: healthy with the number of nodes that serve each model, degraded where one of several models has no node or all of its nodes are full, failed where none
    /// has a node or the cluster has not answered for 5 s. A service in the background asks once a second, so that the check itself takes no time; the gauge <c>gemma.cluster.nodes</c> tells the same.
    /// </summary>
    /// <param name="builder">The builder to add to. The services need an Orleans client or a silo.</param>
    /// <param name="models">Names of models in the cluster, at least one.</param>
    /// <param name="name">Name of the check.</param>
    /// <param name="failureStatus">What is reported where no model is served; null: unhealthy.</param>
    /// <param name="tags">Tags by which checks are filtered.</param>
    /// <exception cref="ArgumentException">There is no name, or one is blank.</exception>
    public static IHealthChecksBuilder AddGemmaCluster(
        this IHealthChecksBuilder builder, IEnumerable<string> models, string name = "gemma-cluster", HealthStatus? failureStatus = null, IEnumerable<string>? tags = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentNullException.ThrowIfNull(models);
        string[] all = [.. models.Distinct(StringComparer.OrdinalIgnoreCase)];
        if (all.Length == 0 || Array.Exists(all, string.IsNullOrWhiteSpace))
        {
            throw new ArgumentException("Name the models that the cluster should serve, at least one, and none blank.", nameof(models));
        }

        if (!builder.Services.Any(service => service.ServiceType == typeof(ClusterWatch)))
        {
            builder.Services.AddSingleton<ClusterWatch>();
            builder.Services.AddHostedService(provider => provider.GetRequiredService<ClusterWatch>());
        }

        return builder.Add(new HealthCheckRegistration(name, provider => new ClusterHealthCheck(provider.GetRequiredService<ClusterWatch>(), all), failureStatus, tags));
    }
}
