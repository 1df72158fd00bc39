using System.Net;
using Gemma.Extensions.AI.ClusterBenchmarks.Simulation;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Clients;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Microsoft.Extensions.Options;
using Orleans.Runtime;
using Orleans.Runtime.Placement;
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
        NodeSummary[] nodes = [.. "abc".Select(name => Node(name.ToString())).OrderByDescending(node => Router.Rank(node, home))];
        Assert.Equal(nodes[0].Silo, First(nodes, home));
        Assert.Equal([1, 2, 0], Enumerable.Range(1, 3).Select(unanswered => Array.FindIndex(nodes, node => node.Silo == Router.First(nodes, new RouteHints { Model = "m", Home = home, Unanswered = unanswered }))));
        nodes[0].Models[0].Running = 4;
        Assert.Equal(nodes[1].Silo, First(nodes, home));
        Assert.Equal(nodes[0].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true })); // which has it warm
        nodes[1].Models[0].Waiting = 1;
        Assert.Equal(nodes[2].Silo, First(nodes, home));
        Assert.Equal(nodes[1].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, Target = nodes[1].Silo }));
        (nodes[0].Models[0].Waiting, nodes[1].Models[0].Running, nodes[1].Models[0].Waiting, nodes[2].Models[0].Running, nodes[2].Models[0].Waiting) = (4, 4, 3, 4, 2);
        Assert.Equal(nodes[2].Silo, First(nodes, home));
        (nodes[1].Models[0].Waiting, nodes[2].Models[0].Waiting) = (4, 4);
        Assert.Equal(nodes[0].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true }));
        Assert.Equal(nodes[0].Silo, First(nodes, home)); // all are full: it will say so
    }

    [Fact]
    public void AConversationThatGoesOnAsksWhoAnsweredItLast()
    {
        ulong home = Router.Hash("x");
        NodeSummary[] nodes = [.. "abc".Select(name => Node(name.ToString())).OrderByDescending(node => Router.Rank(node, home))];
        string last = nodes[2].Silo;
        Assert.Equal(last, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true, Last = last }));
        Assert.Equal(nodes[0].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, Last = last })); // another that begins like it
        Assert.Equal(nodes[0].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true, Last = "gone" }));
        Assert.Equal(nodes[0].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true, Last = last, Excluded = [last] }));
        Assert.Equal(nodes[1].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true, Last = last, Unanswered = 1 })); // nobody knows who did not answer
        Assert.Equal(nodes[1].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true, Last = last, Target = nodes[1].Silo }));
        (nodes[2].Models[0].Running, nodes[2].Models[0].Waiting) = (4, 3); // busy, but what it has warm is not elsewhere
        Assert.Equal(last, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true, Last = last }));
        nodes[2].Models[0].Waiting = 4; // full
        Assert.Equal(nodes[0].Silo, Router.First(nodes, new RouteHints { Model = "m", Home = home, GoesOn = true, Last = last }));
    }

    [Fact]
    public void ClientsRememberTheConversationsOfLate()
    {
        LastNodes nodes = new(10);
        Assert.Null(nodes.Find(1));
        for (ulong home = 0; home < 100; home++)
        {
            nodes.Remember(home, $"{home}");
            nodes.Remember(3, "elsewhere");
        }

        Assert.All(Enumerable.Range(91, 9), home => Assert.Equal($"{home}", nodes.Find((ulong)home)));
        Assert.Equal("elsewhere", nodes.Find(3));
        Assert.InRange(Enumerable.Range(0, 100).Count(home => nodes.Find((ulong)home) is not null), 10, 20);
    }

    /// <summary>Many calls lose the same way at once: it is left once, and the others find the next.</summary>
    [Fact]
    public void AWayToANodeThatDoesNotAnswerIsLeftByAllCalls()
    {
        NodeWays ways = new();
        Assert.Equal(0, ways.Of("a"));
        for (int way = 0; way < NodePlacement.Ways; way++)
        {
            ways.Leave("a", way);
            ways.Leave("a", way);
            Assert.Equal((way + 1) % NodePlacement.Ways, ways.Of("a"));
        }

        Assert.Equal(0, ways.Of("b"));
        ways.Leave("b", 3); // of long ago
        Assert.Equal(0, ways.Of("b"));
        for (int other = 0; other < 5000; other++)
        {
            ways.Leave($"{other}", 0);
            Assert.Equal(1, ways.Of($"{other}"));
        }

        Assert.InRange(Enumerable.Range(0, 5000).Count(other => ways.Of($"{other}") == 1), 1, 1024);
    }

    [Fact]
    public void AConversationThatGoesOnLeavesAQueueForAFreeNodeOnly()
    {
        int[] prompt = [.. Enumerable.Range(0, 330).Select(i => i * 31 % 997)];
        uint[] warm = [.. PrefixTree.HashBlocks(prompt, BlockTokens, 0).Select(hash => (uint)hash).Order()];
        NodeSummary[] nodes = [Node("a", model => (model.Warm, model.Running, model.Waiting) = (warm, 4, 0)), Node("b", model => model.Running = 3), Node("c")];
        Assert.Null(Better()); // to wait for one of four costs less than to read 320 tokens
        nodes[0].Models[0].Waiting = 2;
        Assert.NotNull(Better());
        (nodes[1].Models[0].Running, nodes[2].Models[0].Waiting) = (4, 1);
        Assert.Null(Better()); // shorter queues, but queues
        nodes[1].Models[0].Running = 3;
        Assert.Equal("b", Better());
        Assert.Equal("c", Router.Better([nodes[0], nodes[2]], new RouteHints { Model = "m" }, new RoutedPrompt(prompt), "a")); // a first turn compares queues

        string? Better() => Router.Better(nodes, new RouteHints { Model = "m", GoesOn = true }, new RoutedPrompt(prompt), "a");
    }

    [Fact]
    public void TheLongestWarmPrefixWinsUnlessItsQueueCostsMore()
    {
        int[] prompt = [.. Enumerable.Range(0, 1_000).Select(i => i * 31 % 997)];
        uint[] warm = [.. PrefixTree.HashBlocks(prompt, BlockTokens, 0).Select(hash => (uint)hash)];
        NodeSummary[] nodes = [Node("a"), Node("b", model => model.Warm = Sorted(warm[..10])), Node("c", model => model.Warm = Sorted(warm[..20]))];
        Assert.Equal([0, 320, 640], nodes.Select(node => Router.WarmTokens(node.Models[0], null, new RoutedPrompt(prompt))));
        Assert.Equal("c", Better("a"));
        Assert.Equal("c", Better("b"));
        Assert.Null(Better("c"));
        nodes[2].Models[0].Waiting = 1; // costs less than 320 tokens
        Assert.Equal("c", Better("a"));
        nodes[2].Models[0].Waiting = 2; // costs more
        Assert.Equal("b", Better("a"));
        Assert.Null(Better("b"));
        (nodes[1].Models[0].AvailableBlocks, nodes[2].Models[0].Load) = (3, 4); // others would lose their memory
        Assert.Null(Better("a"));
        (nodes[2].Models[0].Waiting, nodes[2].Models[0].Running) = (4, 4); // full
        Assert.Null(Better("a"));

        // A gap ends what is warm, and a block is not worth the way.
        nodes = [Node("a"), Node("b", model => model.Warm = Sorted(warm[1..30])), Node("c", model => model.Warm = Sorted(warm[..1]))];
        Assert.Null(Better("a"));

        string? Better(string self) => Router.Better(nodes, new RouteHints { Model = "m", GoesOn = true }, new RoutedPrompt(prompt), self);
    }

    [Fact]
    public void AdaptersHaveBlocksOfTheirOwn()
    {
        int[] prompt = [.. Enumerable.Range(0, 100)];
        ModelSummary model = Node("a").Models[0];
        model.Adapters = [new() { Name = "law", Hash = "1", Number = 7 }];
        model.Warm = [.. PrefixTree.HashBlocks(prompt, BlockTokens, 7).Select(hash => (uint)hash).Order()];
        RoutedPrompt routed = new(prompt);
        Assert.Equal((96, 0), (Router.WarmTokens(model, "law", routed), Router.WarmTokens(model, null, routed)));
    }

    [Fact]
    public void NewConversationsStayAtTheirHomesThoughTheirInstructionsAreWarmElsewhere()
    {
        int[] prompt = [.. Enumerable.Range(0, 300).Select(i => i * 31 % 997)];
        uint[] instructions = [.. PrefixTree.HashBlocks(prompt, BlockTokens, 0).Take(7).Select(hash => (uint)hash).Order()];
        NodeSummary[] nodes = [Node("a"), Node("b", model => model.Warm = instructions)];
        Assert.Null(Router.Better(nodes, new RouteHints { Model = "m" }, new RoutedPrompt(prompt), "a"));
        Assert.Equal("b", Router.Better(nodes, new RouteHints { Model = "m", GoesOn = true }, new RoutedPrompt(prompt), "a"));

        // Long ones are worth the way, even the first time.
        prompt = [.. Enumerable.Range(0, 3_000).Select(i => i * 31 % 997)];
        nodes[1].Models[0].Warm = [.. PrefixTree.HashBlocks(prompt, BlockTokens, 0).Take(90).Select(hash => (uint)hash).Order()];
        Assert.Equal("b", Router.Better(nodes, new RouteHints { Model = "m" }, new RoutedPrompt(prompt), "a"));
    }

    [Fact]
    public void ConversationsBeginWhereMemoryIsEmptyAndGoOnWhereTheyAre()
    {
        int[] prompt = [.. Enumerable.Range(0, 300).Select(i => i * 31 % 997)];
        NodeSummary[] nodes = [Node("a", model => model.Fill = 0.9f), Node("b", model => model.Fill = 0.7f)];
        Assert.Equal("b", Router.Better(nodes, new RouteHints { Model = "m" }, new RoutedPrompt(prompt), "a"));
        Assert.Null(Router.Better(nodes, new RouteHints { Model = "m", GoesOn = true }, new RoutedPrompt(prompt), "a"));
        nodes[0].Models[0].Fill = 0.75f; // about even
        Assert.Null(Router.Better(nodes, new RouteHints { Model = "m" }, new RoutedPrompt(prompt), "a"));
    }

    [Fact]
    public void OneIdleNodeOfManyDoesNotGetEveryCall()
    {
        NodeSummary[] nodes = [.. Enumerable.Range(0, 100).Select(i => Node($"10.0.0.{i}:11111@5", model => model.Load = i == 7 ? 0 : 4))];
        int[] prompt = [.. Enumerable.Range(0, 300).Select(i => i * 31 % 997)];
        int taken = Enumerable.Range(0, 1_000).Count(i =>
        {
            ulong home = Router.Hash($"conversation {i}");
            return (Router.Better(nodes, new RouteHints { Model = "m", Home = home }, new RoutedPrompt(prompt), First(nodes, home)) ?? First(nodes, home)) == nodes[7].Silo;
        });
        Assert.InRange(taken, 10, 40); // its own, and those whose second choice it is
    }

    [Fact]
    public void WhatWasSentToANodeCountsAsWarmThereBeforeItsSummarySaysSo()
    {
        EventQueue time = new();
        ClusterView view = new(Options.Create(new GemmaNodeOptions()), time);
        NodeSummary[] nodes = [Node("a"), Node("b", model => model.Name = "other"), Node("c")];
        Array.ForEach(nodes, view.Hear);
        int[] first = [.. Enumerable.Range(0, 400).Select(i => i * 31 % 997)], second = [.. first, .. Enumerable.Range(0, 100)];
        RouteHints hints = new() { Model = "m", GoesOn = true };

        // c had the beginning, so it was sent the first turn; the second comes at once and finds nothing in any summary.
        nodes[2].Models[0].Warm = [.. PrefixTree.HashBlocks(first, BlockTokens, 0).Select(hash => (uint)hash).Order()];
        Assert.Equal("c", view.Settle(hints, new RoutedPrompt(first), "a", mayRedirect: true));
        nodes[2].Models[0].Warm = [];
        Assert.Equal("c", view.Settle(hints, new RoutedPrompt(second), "a", mayRedirect: true));

        // A node that keeps a call has it warm itself; and nothing is expected for long.
        Assert.Null(view.Settle(hints, new RoutedPrompt([.. second.Reverse()]), "a", mayRedirect: true));
        nodes[2].Models[0].Warm = [.. PrefixTree.HashBlocks([.. second.Reverse()], BlockTokens, 0).Select(hash => (uint)hash).Order()];
        Assert.Null(view.Settle(hints, new RoutedPrompt([.. second.Reverse()]), "a", mayRedirect: true));
        time.RunUntil(3);
        Array.ForEach(nodes, view.Hear);
        Assert.Null(view.Settle(hints, new RoutedPrompt(second), "a", mayRedirect: true));
        Assert.Equal("c", view.Settle(hints, new RoutedPrompt([.. second.Reverse()]), "a", mayRedirect: true));
    }

    [Theory]
    [InlineData(1, 4096)]
    [InlineData(100, 4096)]
    [InlineData(1_000, 409)]
    [InlineData(10_000, 256)]
    public void ManyNodesTellOfFewerBlocksEach(int nodes, int blocks) => Assert.Equal(blocks, HostedModel.MostWarmBlocks(nodes));

    [Fact]
    public void LoadOfAMomentCountsLittle()
    {
        EventQueue time = new();
        LoadAverage load = new(time);
        load.Observe(8);
        time.RunUntil(0.05);
        Assert.InRange(load.Observe(0), 0.1, 1);
        time.RunUntil(0.55);
        Assert.InRange(load.Observe(8), 0.05, 0.5);
        time.RunUntil(5.55);
        Assert.InRange(load.Observe(8), 7.9, 8);

        // Requests that came during a step are not a queue while there is a place for them.
        EngineStatus status = new(false, false, Running: 2, Waiting: 3, MaxRunning: 4, MaxWaiting: 8, 100, 50, 0, 0) { Arriving = 3 };
        ModelSummary summary = HostedModel.Summarize("m", "same", [], status, BlockTokens, [], 2);
        Assert.Equal((4, 1), (summary.Running, summary.Waiting));
        summary = HostedModel.Summarize("m", "same", [], status with { Arriving = 0 }, BlockTokens, [], 2);
        Assert.Equal((2, 3), (summary.Running, summary.Waiting)); // they wait for memory
    }

    private static string First(NodeSummary[] nodes, ulong home) => Router.First(nodes, new RouteHints { Model = "m", Home = home })!;

    private static uint[] Sorted(uint[] blocks) => [.. blocks.Order()];

    private static NodeSummary Node(string silo, Action<ModelSummary>? change = null)
    {
        ModelSummary model = new() { Name = "m", Identity = "same", MaxRunning = 4, MaxWaiting = 4, AvailableBlocks = 1_000, BlockTokens = BlockTokens };
        change?.Invoke(model);
        return new NodeSummary { Silo = silo, Models = [model] };
    }

    /// <summary>A network is split: nodes "c" and "d" are on the other side, and both of this side failed a call, since it came by a gateway there. Were the silo at the other side asked, the caller would hear nothing.</summary>
    [Fact]
    public async Task WhereNoNodeIsEligibleNoSiloIsAskedThatHasNotBeenHeardOf()
    {
        SiloAddress[] silos = [.. Enumerable.Range(0, 4).Select(i => SiloAddress.New(IPAddress.Loopback, 11_000 + i, 1))];
        ManualClock clock = new();
        ClusterView view = new(Options.Create(new GemmaNodeOptions()), clock);
        Array.ForEach(silos, Hear);
        clock.Advance(TimeSpan.FromSeconds(3));
        Array.ForEach(silos[..2], Hear);
        Assert.Contains(await PlaceAsync([]), silos[..2]);
        Assert.Equal(silos[1], await PlaceAsync([silos[0]]));
        Assert.Equal(silos[0], await PlaceAsync([silos[0], silos[1]]));
        clock.Advance(TimeSpan.FromSeconds(3));
        Assert.Equal(silos[0], await PlaceAsync([])); // nobody has been heard of: the silo that the caller reached

        void Hear(SiloAddress silo) => view.Hear(new NodeSummary { Silo = silo.ToParsableString(), Models = [new ModelSummary { Name = "m", Identity = "i", MaxRunning = 1 }] });

        Task<SiloAddress> PlaceAsync(SiloAddress[] excluded)
        {
            RouteHints hints = new() { Model = "m", Excluded = [.. excluded.Select(silo => silo.ToParsableString())] };
            PlacementTarget target = new(GrainId.Create("entry", "a"), new Dictionary<string, object> { [RouteHints.Key] = hints }, default, 0);
            return new NodePlacementDirector(view).OnAddActivation(new NodePlacement(), target, new Context(silos));
        }
    }

    private sealed class Context(SiloAddress[] silos) : IPlacementContext
    {
        public SiloAddress LocalSilo => silos[0];

        public SiloStatus LocalSiloStatus => SiloStatus.Active;

        public SiloAddress[] GetCompatibleSilos(PlacementTarget target) => silos;

        public IReadOnlyDictionary<ushort, SiloAddress[]> GetCompatibleSilosWithVersions(PlacementTarget target) => throw new NotSupportedException();
    }
}
