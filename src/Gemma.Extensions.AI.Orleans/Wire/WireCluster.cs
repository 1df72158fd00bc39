using Orleans;
using Orleans.Concurrency;

namespace Gemma.Extensions.AI.Orleans.Wire;

/// <summary>The cluster as one of its nodes sees it, for clients.</summary>
[GenerateSerializer, Immutable, Alias("gemma.cluster")]
internal sealed class WireCluster
{
    /// <summary>Nodes that were heard of lately, draining ones included.</summary>
    [Id(0)]
    public int Nodes { get; set; }

    [Id(1)]
    public WireServedModel[] Models { get; set; } = [];

    public WireServedModel? Find(string model) => Array.Find(Models, other => string.Equals(other.Name, model, StringComparison.OrdinalIgnoreCase));
}

/// <summary>A model of the nodes that take new calls for it.</summary>
[GenerateSerializer, Immutable, Alias("gemma.served")]
internal sealed class WireServedModel
{
    [Id(0)]
    public string Name { get; set; } = "";

    [Id(1)]
    public int Nodes { get; set; }

    [Id(2)]
    public int Running { get; set; }

    [Id(3)]
    public int Waiting { get; set; }

    [Id(4)]
    public int MaxRunning { get; set; }

    [Id(5)]
    public int MaxWaiting { get; set; }

    /// <summary>Names of adapters that at least one of the nodes has, in alphabetical order.</summary>
    [Id(6)]
    public string[] Adapters { get; set; } = [];

    public bool IsFull => Running + Waiting >= MaxRunning + MaxWaiting;
}
