using Gemma.Extensions.AI.AspNetCore.Hosting;
using Microsoft.AspNetCore.Builder;

namespace Gemma.Extensions.AI.Cli.Serve;

/// <summary>The models that a server offers, and its limits.</summary>
internal sealed record ServeSettings
{
    /// <summary>The cluster that has the models; null where this process loads them.</summary>
    public required ServedCluster? Cluster { get; init; }

    /// <summary>Paths of the models by name; with a cluster, their names there.</summary>
    public required IReadOnlyDictionary<string, string> Models { get; init; }

    /// <summary>Paths of adapters by their name, by the name of their model.</summary>
    public required IReadOnlyDictionary<string, Dictionary<string, string>> Adapters { get; init; }

    public required ServerHostSettings Host { get; init; }

    public required bool HasPage { get; init; }

    public required bool IsPreloaded { get; init; }

    public required bool AllowsPull { get; init; }

    /// <summary>Sets how every model is computed.</summary>
    public required Action<GemmaOptions> Compute { get; init; }

    /// <summary>Answers of a model at the same time.</summary>
    public required int Parallel { get; init; }

    /// <summary>Time without use after which a model is unloaded; null: never.</summary>
    public required TimeSpan? KeepAlive { get; init; }

    /// <summary>Bytes that all models may take together; null: no limit.</summary>
    public required long? Memory { get; init; }

    /// <summary>Sets how a model is loaded.</summary>
    public void Apply(GemmaOptions options, string path)
    {
        options.ModelPath = path;
        Compute(options);
        options.MaxConcurrentRequests = Parallel;
        options.IdleUnload = KeepAlive;
        options.MemoryBudget = Memory;
    }
}

/// <summary>A cluster of other processes whose models are served.</summary>
/// <param name="Description">Where it is, for people, without secrets.</param>
/// <param name="Configure">Registers clients for models of the cluster by the names that they are served under.</param>
internal sealed record ServedCluster(string Description, Action<WebApplicationBuilder, IReadOnlyDictionary<string, string>> Configure);
