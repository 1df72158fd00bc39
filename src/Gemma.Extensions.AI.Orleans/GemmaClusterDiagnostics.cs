namespace Gemma.Extensions.AI.Orleans;

/// <summary>Names of the cluster's telemetry. The models of a node have their own, <see cref="GemmaDiagnostics"/>.</summary>
public static class GemmaClusterDiagnostics
{
    /// <summary>The meter of calls that clients send to a cluster: answers, moves from node to node, warm tokens.</summary>
    public const string Name = "Gemma.Extensions.AI.Orleans";
}
