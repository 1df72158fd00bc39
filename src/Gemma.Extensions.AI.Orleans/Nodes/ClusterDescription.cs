using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Orleans.Wire;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>Sums up for clients what nodes tell each other.</summary>
internal static class ClusterDescription
{
    /// <summary>The models of those nodes that take new calls.</summary>
    public static WireCluster Of(NodeSummary[] nodes)
    {
        IEnumerable<ModelSummary> models = nodes.Where(node => !node.IsDraining).SelectMany(node => node.Models);
        return new WireCluster
        {
            Nodes = nodes.Length,
            Models = [.. models.GroupBy(model => model.Name, StringComparer.OrdinalIgnoreCase).OrderBy(each => each.Key, StringComparer.OrdinalIgnoreCase).Select(Describe)],
        };
    }

    private static WireServedModel Describe(IGrouping<string, ModelSummary> model) => new()
    {
        Name = model.Key,
        Nodes = model.Count(),
        Running = model.Sum(each => each.Running),
        Waiting = model.Sum(each => each.Waiting),
        MaxRunning = model.Sum(each => each.MaxRunning),
        MaxWaiting = model.Sum(each => each.MaxWaiting),
        Adapters = [.. model.SelectMany(each => each.Adapters).Select(adapter => adapter.Name).Distinct(StringComparer.OrdinalIgnoreCase).Order(StringComparer.OrdinalIgnoreCase)],
    };
}
