using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Microsoft.Extensions.Options;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>How nodes are chosen.</summary>
internal enum Placement
{
    /// <summary>By the router.</summary>
    Router,

    /// <summary>At random.</summary>
    Random,
}

/// <summary>
/// Nodes, and calls on their way to them. The nodes' summaries are what nodes tell, as often as they do, and reach the one view that all silos share here after a message's time; the router, its view and its
/// numbers are the package's.
/// </summary>
internal sealed class SimulatedCluster
{
    /// <summary>Name of the model that all nodes serve.</summary>
    public const string Model = "model";

    private readonly EventQueue _events;
    private readonly TalkCosts _costs;
    private readonly Placement _placement;
    private readonly Random _dice;
    private readonly Dictionary<string, SimulatedNode> _bySilo;
    private readonly ClusterView _view;
    private readonly GemmaNodeOptions _options = new();

    public SimulatedCluster(EventQueue events, TalkCosts costs, IEnumerable<SimulatedNode> nodes, Placement placement, int seed)
    {
        (_events, _costs, _placement, _dice) = (events, costs, placement, new Random(seed));
        Nodes = [.. nodes];
        _bySilo = Nodes.ToDictionary(node => node.Silo);
        _view = new ClusterView(Options.Create(_options), events);
        foreach (SimulatedNode node in Nodes)
        {
            _view.Hear(Summarize(node));
            node.Idle(costs.NodeIdle);
            _events.After(_dice.NextDouble() * _options.SummaryInterval.TotalSeconds, () => Tell(node));
        }
    }

    public SimulatedNode[] Nodes { get; }

    /// <summary>Calls that a node sent on.</summary>
    public int Redirects { get; private set; }

    /// <summary>The silo of a number.</summary>
    public static string Silo(int number) => $"10.0.{number / 250}.{number % 250}:11111@{1_000_000 + number}";

    /// <summary>Brings a call to a node.</summary>
    public void Begin(SimulatedCall call)
    {
        string silo = _placement == Placement.Random ? Nodes[_dice.Next(Nodes.Length)].Silo : Router.First(_view.Nodes, call.Hints)!;
        Ask(_bySilo[silo], () => Take(call, _bySilo[silo], mayRedirect: _placement == Placement.Router));
    }

    /// <summary>Brings a question to a node, over the silo that the caller is connected with.</summary>
    public void Ask(SimulatedNode node, Action then)
    {
        SimulatedNode over = Nodes[_dice.Next(Nodes.Length)];
        if (over == node)
        {
            _events.After(_costs.Way, then);
        }
        else
        {
            _events.After(_costs.Way, () => over.Talk.Run(_costs.NodeForward, () => _events.After(_costs.Way, then)));
        }
    }

    private void Take(SimulatedCall call, SimulatedNode node, bool mayRedirect) => node.Talk.Run(_costs.NodeCall, () =>
    {
        if (_view.Settle(call.Hints, new RoutedPrompt(call.Prompt), node.Silo, mayRedirect) is { } better)
        {
            Redirects++;
            _events.After(_costs.Way, () => Ask(_bySilo[better], () => Take(call, _bySilo[better], mayRedirect: false)));
            return;
        }

        call.BeginAt(node);
        if (!node.TrySubmit(call))
        {
            call.Refuse();
        }
    });

    private void Tell(SimulatedNode node)
    {
        NodeSummary summary = Summarize(node);
        _events.After(_costs.Way, () => _view.Hear(summary));
        _events.After(_options.SummaryInterval.TotalSeconds, () => Tell(node));
    }

    private NodeSummary Summarize(SimulatedNode node) => new()
    {
        Silo = node.Silo,
        Models = [HostedModel.Summarize(Model, "identity", [], node.Status, 32, node.WarmBlocks(HostedModel.MostWarmBlocks(Nodes.Length)), node.Load)],
    };
}
