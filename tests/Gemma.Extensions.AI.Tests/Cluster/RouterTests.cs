using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Orleans.Routing;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>Which node is asked.</summary>
public class RouterTests
{
    private const int BlockTokens = 32;

    [Fact]
    public void NodesWithoutModelAdapterOrIdentityAndThoseThatDrainAreNotAsked()
    {
        NodeSummary[] nodes = [Node("a"), Node("b", model => model.Identity = "other"), Node("c", model => model.Name = "huge"), Node("d"), Node("e", model => model.Adapters = [new() { Name = "law", Hash = "1" }])];
        nodes[3].IsDraining = true;
        Assert.Equal(["a", "b", "e"], Eligible(new RouteHints()));
        Assert.Equal(["b", "e"], Eligible(new RouteHints { Excluded = ["a"] }));
        Assert.Equal(["b"], Eligible(new RouteHints { Identity = "other" }));
        Assert.Equal(["e"], Eligible(new RouteHints { Adapter = "LAW" }));
        Assert.Equal(["e"], Eligible(new RouteHints { Adapter = "law", Identity = "same adapter 1" }));
        Assert.Empty(Eligible(new RouteHints { Adapter = "law", Identity = "same adapter 2" }));
        Assert.Null(Router.First(nodes, new RouteHints { Model = "unknown" }));

        string[] Eligible(RouteHints hints)
        {
            hints.Model = "M";
            return [.. Router.Eligible(nodes, hints).Select(node => node.Silo)];
        }
    }

    [Fact]
    public void AnAnswerGoesOnWhereItsModelAndAdapterAre()
    {
        ModelSummary plain = Node("a").Models[0], adapted = Node("b", model => model.Adapters = [new() { Name = "law", Hash = "1" }]).Models[0];
        Assert.Equal((true, false, false), (plain.Computes("same"), plain.Computes("same adapter 1"), plain.Computes("same but not quite")));
        Assert.Equal((true, true, false), (adapted.Computes("same"), adapted.Computes("same adapter 1"), adapted.Computes("same adapter 2")));
    }

    [Fact]
    public void AConversationHasOneHomeAndNodesThatComeMoveOnlyTheirOwn()
    {
        NodeSummary[] nodes = [.. Enumerable.Range(0, 10).Select(i => Node($"10.0.0.{i}:11111@5"))];
        ulong[] conversations = [.. Enumerable.Range(0, 2_000).Select(i => Router.Hash($"conversation {i}"))];
        string[] before = [.. conversations.Select(home => First(nodes, home))];
        string[] after = [.. conversations.Select(home => First([.. nodes, Node("10.0.0.10:11111@5")], home))];
        int moved = before.Zip(after).Count(pair => pair.First != pair.Second);
        Assert.All(before.Zip(after), pair => Assert.True(pair.First == pair.Second || pair.Second == "10.0.0.10:11111@5"));
        Assert.InRange(moved, 2_000 / 11 / 2, 2_000 / 11 * 2);
        Assert.All(before.GroupBy(home => home), group => Assert.InRange(group.Count(), 120, 300));

        // A silo that was started again at its address keeps its conversations.
        Assert.Equal(before, conversations.Select(home => First([.. nodes.Select(node => Node(node.Silo.Replace("@5", "@6", StringComparison.Ordinal)))], home).Replace("@6", "@5", StringComparison.Ordinal)));
    }

    [Fact]
    public void BusyHomesSendNewCallsOnAndFullNodesAreTheLast()
    {
        ulong home = Router.Hash("x");
        NodeSummary[] nodes = [.. "abc".Select(name => Node(name.ToString())).OrderByDescending(node => Router.Rank(node.Silo, home))];
        Assert.Equal(nodes[0].Silo, First(nodes, home));
        Assert.Equal([1, 2, 0], Enumerable.Range(1, 3).Select(unanswered => Array.FindIndex(nodes, node => node.Silo == Router.First(nodes, new RouteHints { Model = "m", Home = home, Unanswered = unanswered }))));
        nodes[0].Models[0].Running = 4;
        Assert.Equal(nodes[1].Silo, First(nodes, home));
        nodes[1].Models[0].Waiting = 1;
        Assert.Equal(nodes[2].Silo, First(nodes, home));
        Assert.Equal(nodes[1].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, Target = nodes[1].Silo }));
        (nodes[0].Models[0].Waiting, nodes[1].Models[0].Running, nodes[1].Models[0].Waiting, nodes[2].Models[0].Running, nodes[2].Models[0].Waiting) = (4, 4, 3, 4, 2);
        Assert.Equal(nodes[2].Silo, First(nodes, home));
        (nodes[1].Models[0].Waiting, nodes[2].Models[0].Waiting) = (4, 4);
        Assert.Equal(nodes[0].Silo, First(nodes, home)); // all are full: it will say so
    }

    [Fact]
    public void TheLongestWarmPrefixWinsUnlessItsQueueCostsMore()
    {
        int[] prompt = [.. Enumerable.Range(0, 1_000).Select(i => i * 31 % 997)];
        uint[] warm = [.. PrefixTree.HashBlocks(prompt, BlockTokens, 0).Select(hash => (uint)hash)];
        NodeSummary[] nodes = [Node("a"), Node("b", model => model.Warm = warm[..10]), Node("c", model => model.Warm = warm[..20])];
        Assert.Equal([0, 320, 640], nodes.Select(node => Router.WarmTokens(node.Models[0], null, prompt, [])));
        Assert.Equal("c", Better("a"));
        Assert.Equal("c", Better("b"));
        Assert.Null(Better("c"));
        nodes[2].Models[0].Waiting = 1; // costs more than 320 tokens
        Assert.Equal("b", Better("a"));
        Assert.Null(Better("b"));
        (nodes[1].Models[0].AvailableBlocks, nodes[2].Models[0].Running) = (3, 1); // others would lose their memory
        Assert.Null(Better("a"));
        (nodes[2].Models[0].Waiting, nodes[2].Models[0].Running) = (4, 4); // full
        Assert.Null(Better("a"));

        // A gap ends what is warm, and a few blocks are not worth the way.
        nodes = [Node("a"), Node("b", model => model.Warm = warm[1..30]), Node("c", model => model.Warm = warm[..3])];
        Assert.Null(Better("a"));

        string? Better(string self) => Router.Better(nodes, new RouteHints { Model = "m" }, prompt, self);
    }

    [Fact]
    public void AdaptersHaveBlocksOfTheirOwn()
    {
        int[] prompt = [.. Enumerable.Range(0, 100)];
        ModelSummary model = Node("a").Models[0];
        model.Adapters = [new() { Name = "law", Hash = "1", Number = 7 }];
        model.Warm = [.. PrefixTree.HashBlocks(prompt, BlockTokens, 7).Select(hash => (uint)hash)];
        Dictionary<int, ulong[]> hashes = [];
        Assert.Equal((96, 0), (Router.WarmTokens(model, "law", prompt, hashes), Router.WarmTokens(model, null, prompt, hashes)));
    }

    private static string First(NodeSummary[] nodes, ulong home) => Router.First(nodes, new RouteHints { Model = "m", Home = home })!;

    private static NodeSummary Node(string silo, Action<ModelSummary>? change = null)
    {
        ModelSummary model = new() { Name = "m", Identity = "same", MaxRunning = 4, MaxWaiting = 4, AvailableBlocks = 1_000, BlockTokens = BlockTokens };
        change?.Invoke(model);
        return new NodeSummary { Silo = silo, Models = [model] };
    }
}
