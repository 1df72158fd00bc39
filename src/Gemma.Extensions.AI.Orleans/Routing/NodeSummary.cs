using Orleans;
using Orleans.Concurrency;
using Orleans.Runtime;

namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>A node's word to the others about itself, again and again: what is not repeated is not believed for long.</summary>
[GenerateSerializer, Immutable, Alias("gemma.node")]
internal sealed class NodeSummary
{
    [NonSerialized]
    private ulong _place; // 0 until it is asked for; read and written whole, since summaries are read by many

    [NonSerialized]
    private SiloAddress? _address;

    /// <summary>The silo, as <c>SiloAddress.ToParsableString</c> writes it.</summary>
    [Id(0)]
    public string Silo { get; set; } = "";

    /// <summary>The node takes no new work.</summary>
    [Id(1)]
    public bool IsDraining { get; set; }

    [Id(2)]
    public ModelSummary[] Models { get; set; } = [];

    /// <summary><see cref="Silo"/>, read once: placement asks for it at every call.</summary>
    public SiloAddress Address => _address ??= SiloAddress.FromParsableString(Silo);

    /// <inheritdoc cref="Router.PlaceOf"/>
    public ulong Place => _place != 0 ? _place : _place = Router.PlaceOf(Silo);

    public ModelSummary? Find(string model) => Array.Find(Models, other => string.Equals(other.Name, model, StringComparison.OrdinalIgnoreCase));
}

/// <summary>One model of a node.</summary>
[GenerateSerializer, Immutable, Alias("gemma.model")]
internal sealed class ModelSummary
{
    [Id(0)]
    public string Name { get; set; } = "";

    /// <inheritdoc cref="Nodes.ModelIdentity"/>
    [Id(1)]
    public string Identity { get; set; } = "";

    [Id(2)]
    public AdapterSummary[] Adapters { get; set; } = [];

    [Id(3)]
    public int Running { get; set; }

    [Id(4)]
    public int Waiting { get; set; }

    [Id(5)]
    public int MaxRunning { get; set; }

    [Id(6)]
    public int MaxWaiting { get; set; }

    /// <summary>Blocks of key/value memory that no sequence holds.</summary>
    [Id(7)]
    public int AvailableBlocks { get; set; }

    [Id(8)]
    public int BlockTokens { get; set; }

    /// <summary>The lower halves of the hashes of warm blocks, those used last; ascending. A wrong hit costs a detour, nothing else.</summary>
    [Id(9)]
    public uint[] Warm { get; set; } = [];

    /// <summary><see cref="Running"/> on average of the last second.</summary>
    [Id(10)]
    public float Load { get; set; }

    /// <summary>Part of the key/value memory that holds something, from 0 to 1.</summary>
    [Id(11)]
    public float Fill { get; set; }

    public bool HasRoom => Running + Waiting < MaxRunning + MaxWaiting;

    /// <summary>True if the summary tells of a block.</summary>
    public bool IsWarm(uint block) => Array.BinarySearch(Warm, block) >= 0;

    public AdapterSummary? FindAdapter(string name) => Array.Find(Adapters, other => string.Equals(other.Name, name, StringComparison.OrdinalIgnoreCase));

    /// <summary>True if an answer that began with an identity, with an adapter or without, can go on here.</summary>
    public bool Computes(string identity) => identity == Identity || Array.Exists(Adapters, adapter => identity == IdentityWith(adapter.Name));

    /// <summary>The identity of answers with an adapter; null where the adapter is not loaded here.</summary>
    public string? IdentityWith(string? adapter) =>
        string.IsNullOrEmpty(adapter) ? Identity : FindAdapter(adapter) is { } found ? $"{Identity} adapter {found.Hash}" : null;
}

[GenerateSerializer, Immutable, Alias("gemma.adapter")]
internal sealed class AdapterSummary
{
    [Id(0)]
    public string Name { get; set; } = "";

    [Id(1)]
    public string Hash { get; set; } = "";

    /// <summary>The number that this node's block hashes begin with.</summary>
    [Id(2)]
    public int Number { get; set; }
}
