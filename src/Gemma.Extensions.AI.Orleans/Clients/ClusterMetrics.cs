using System.Diagnostics.Metrics;

namespace Gemma.Extensions.AI.Orleans.Clients;

/// <summary>Counters of clients; the meter is <see cref="GemmaClusterDiagnostics.Name"/>.</summary>
internal static class ClusterMetrics
{
    private static readonly Meter s_meter = new(GemmaClusterDiagnostics.Name);
    private static readonly Counter<long> s_calls = s_meter.CreateCounter<long>("gemma.cluster.calls", "{call}", "Calls that were answered.");
    private static readonly Counter<long> s_moves = s_meter.CreateCounter<long>("gemma.cluster.moves", "{move}", "Times that a call went on at another node, by gemma.move: redirect, full, handover, lost.");
    private static readonly Counter<long> s_prompt = s_meter.CreateCounter<long>("gemma.cluster.prompt_tokens", "{token}", "Tokens of prompts, by gemma.cached: whether their keys and values were warm.");

    public static void Count(string move, string model) => s_moves.Add(1, new("gemma.move", move), new("gen_ai.request.model", model));

    public static void Answered(string model, long promptTokens, long cachedTokens)
    {
        s_calls.Add(1, new KeyValuePair<string, object?>("gen_ai.request.model", model));
        s_prompt.Add(cachedTokens, new("gen_ai.request.model", model), new("gemma.cached", true));
        s_prompt.Add(promptTokens - cachedTokens, new("gen_ai.request.model", model), new("gemma.cached", false));
    }
}
