using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Gemma.Extensions.AI.Orleans.Clients;

/// <summary>Tells which of a client's models are served by how many nodes of its cluster.</summary>
internal sealed class ClusterHealthCheck(ClusterWatch watch, string[] models) : IHealthCheck
{
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) => Task.FromResult(Check(context.Registration.FailureStatus));

    private HealthCheckResult Check(HealthStatus failure)
    {
        if (watch.Age is not { } age || watch.Last is not { } cluster)
        {
            return new HealthCheckResult(failure, "No node of the cluster has answered yet.");
        }

        if (age > ClusterWatch.Lifetime)
        {
            return new HealthCheckResult(failure, $"No node of the cluster has answered for {age.TotalSeconds:N0} s.");
        }

        Dictionary<string, object> data = new() { ["nodes"] = cluster.Nodes };
        List<string> sentences = [];
        int served = 0, full = 0;
        foreach (string name in models)
        {
            WireServedModel model = cluster.Find(name) ?? new WireServedModel { Name = name };
            (data[$"{name}.nodes"], data[$"{name}.running"], data[$"{name}.waiting"]) = (model.Nodes, model.Running, model.Waiting);
            served += model.Nodes > 0 ? 1 : 0;
            full += model is { Nodes: > 0, IsFull: true } ? 1 : 0;
            sentences.Add(model.Nodes == 0 ? $"No node serves {name}."
                : $"{model.Nodes:N0} {(model.Nodes == 1 ? "node serves" : "nodes serve")} {name}{(model.IsFull ? $", full: {model.Running:N0} requests run and {model.Waiting:N0} wait" : "")}.");
        }

        HealthStatus status = served == 0 ? failure : served < models.Length || full > 0 ? HealthStatus.Degraded : HealthStatus.Healthy;
        return new HealthCheckResult(status, string.Join(" ", sentences), data: data);
    }
}
