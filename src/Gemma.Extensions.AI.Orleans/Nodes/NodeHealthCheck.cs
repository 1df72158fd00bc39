using Gemma.Extensions.AI.Orleans.Routing;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>Tells how this silo's node is, and what it knows of the cluster.</summary>
internal sealed class NodeHealthCheck(NodeModels models, NodeJobs jobs, ClusterView view) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        Dictionary<string, object> data = new() { ["nodes"] = view.Nodes.Length, ["calls"] = jobs.Count };
        string[] failed = [.. models.All.Where(model => model.Model.Engine.Status.Failed).Select(model => model.Name)];
        List<string> full = [];
        foreach (string name in view.Nodes.SelectMany(node => node.Models).Select(model => model.Name).Distinct(StringComparer.OrdinalIgnoreCase))
        {
            (int nodes, int running, int waiting, int maxRunning, int maxWaiting) = view.LoadOf(name);
            (data[$"{name}.nodes"], data[$"{name}.running"], data[$"{name}.waiting"]) = (nodes, running, waiting);
            if (running + waiting >= maxRunning + maxWaiting)
            {
                full.Add(name);
            }
        }

        HealthCheckResult result = failed.Length > 0 ? new HealthCheckResult(context.Registration.FailureStatus, $"{string.Join(", ", failed)} failed; the log says why.", data: data)
            : jobs.IsDraining ? HealthCheckResult.Degraded("The node drains.", data: data)
            : full.Count > 0 ? HealthCheckResult.Degraded($"Every node is full: {string.Join(", ", full)}.", data: data)
            : HealthCheckResult.Healthy($"{view.Nodes.Length:N0} nodes are ready.", data);
        return Task.FromResult(result);
    }
}
