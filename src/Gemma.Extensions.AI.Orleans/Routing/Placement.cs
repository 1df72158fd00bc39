using System.Globalization;
using Orleans;
using Orleans.GrainDirectory;
using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Runtime.Placement;

namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>Has Orleans place a grain on the node that the router chooses, or on the silo that the grain's key names.</summary>
[GenerateSerializer, Immutable, SuppressReferenceTracking, Alias("gemma.placement")]
internal sealed class NodePlacement : PlacementStrategy
{
    /// <summary>Begins the keys of grains that belong to a silo.</summary>
    private const string SiloPrefix = "silo/";

    /// <summary>
    /// Grains of a silo, all of which are its node. A client sends what is for one grain through one gateway, however long that does not answer, so each of them is another way.
    /// </summary>
    public const int Ways = 16;

    /// <summary>The key of a silo's own grain.</summary>
    /// <param name="silo">The silo.</param>
    /// <param name="way">Which of its grains, 0 to <see cref="Ways"/> - 1.</param>
    public static string KeyOf(string silo, int way = 0) => string.Create(CultureInfo.InvariantCulture, $"{SiloPrefix}{way}/{silo}");

    /// <summary>The silo that a key names; null: none.</summary>
    public static SiloAddress? SiloOf(string key) =>
        key.StartsWith(SiloPrefix, StringComparison.Ordinal) ? SiloAddress.FromParsableString(key[(key.IndexOf('/', SiloPrefix.Length) + 1)..]) : null;
}

[AttributeUsage(AttributeTargets.Class)]
internal sealed class NodePlacementAttribute() : PlacementAttribute(new NodePlacement());

/// <summary>Places calls by their <see cref="RouteHints"/> among the silos that Orleans knows to be compatible and alive.</summary>
internal sealed class NodePlacementDirector(ClusterView view) : IPlacementDirector
{
    public Task<SiloAddress> OnAddActivation(PlacementStrategy strategy, PlacementTarget target, IPlacementContext context)
    {
        SiloAddress[] silos = context.GetCompatibleSilos(target);
        if (NodePlacement.SiloOf(target.GrainIdentity.Key.ToString()!) is { } wanted)
        {
            return Array.IndexOf(silos, wanted) >= 0 ? Task.FromResult(wanted) : throw new SiloUnavailableException($"The silo {wanted} has left the cluster.");
        }

        RouteHints hints = target.RequestContextData?.GetValueOrDefault(RouteHints.Key) as RouteHints ?? new RouteHints();
        NodeSummary[] nodes = [.. view.Nodes.Where(node => Array.IndexOf(silos, node.Address) >= 0)];
        if (Router.First(nodes, hints) is { } chosen)
        {
            return Task.FromResult(SiloAddress.FromParsableString(chosen));
        }

        // Where none is eligible any silo can say so, with what it knows; one that drains or failed this call says nothing of it. One that has not been heard of lately is not asked: in a network that is split
        // it may be on the other side, where each question is lost, and the caller would never hear that the nodes that it excluded are all there are.
        SiloAddress? speaker = nodes.Where(node => !hints.Excluded.Contains(node.Silo)).OrderBy(node => node.IsDraining).ThenByDescending(node => node.Address.Equals(context.LocalSilo)).FirstOrDefault()?.Address;
        return Task.FromResult(speaker ?? (Array.IndexOf(silos, context.LocalSilo) >= 0 ? context.LocalSilo : silos[0]));
    }
}

/// <summary>
/// The directory of grains that need none: where they are follows from their keys, or they are called once. Orleans' own directory has a part on every silo, and calls whose
/// entry is with a dead one would wait until its death is agreed on.
/// </summary>
internal sealed class NoDirectory : IGrainDirectory
{
    public const string Name = "gemma-none";

    public Task<GrainAddress?> Register(GrainAddress address) => Task.FromResult<GrainAddress?>(address);

    public Task<GrainAddress?> Register(GrainAddress address, GrainAddress? previousAddress) => Task.FromResult<GrainAddress?>(address);

    public Task Unregister(GrainAddress address) => Task.CompletedTask;

    public Task<GrainAddress?> Lookup(GrainId grainId) => Task.FromResult<GrainAddress?>(null);

    public Task UnregisterSilos(List<SiloAddress> siloAddresses) => Task.CompletedTask;
}
