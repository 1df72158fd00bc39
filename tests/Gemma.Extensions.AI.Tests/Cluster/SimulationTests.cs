using Gemma.Extensions.AI.ClusterBenchmarks.Simulation;
using Gemma.Extensions.AI.Engine;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>The router over simulated nodes: the engine's scheduler and prefix tree, with steps that take a time instead of computing.</summary>
public class SimulationTests
{
    /// <summary>A small model on one core; numbers of the order of those that were measured.</summary>
    private static readonly StepTimes s_times = new("test", 128, [1, 2, 16, 64, 256], [0.0003, 0.00035, 0.001, 0.003, 0.011], 3e-6, 2e-7, 1e-7);
    private static readonly TalkCosts s_costs = new(0.0005, 0.001, 0.0003, 0, 0);
    private static readonly NodeSize s_size = new(500, 2048, new EngineOptions { SpeculativeTokens = 0 });

    [Theory]
    [InlineData(170)]
    [InlineData(1000)]
    public void ChatsOfThreeNodesFindAlmostAllThatOneNodeWithTheirMemoryWouldHaveWarm(int instructions)
    {
        ClosedLoop loop = new(new ChatShape(2, instructions, 6, 50, 24, 0.3), 24, 2, 10);
        double one = loop.Run(1, s_times, s_size with { Blocks = 3 * s_size.Blocks }, s_costs, Placement.Router, 3).Warm;
        double three = loop.Run(3, s_times, s_size, s_costs, Placement.Router, 3).Warm, random = loop.Run(3, s_times, s_size, s_costs, Placement.Random, 3).Warm;
        Assert.True(three >= 0.95 * one, $"{three:P1} of {one:P1}");
        Assert.True(random < 0.95 * one, $"{random:P1} of {one:P1}"); // so that the load tells routers apart
    }

    [Fact]
    public void ThroughputGrowsWithTheNodes()
    {
        ChatShape shape = new(10, 200, 5, 50, 40, 0.2);
        LoopResult one = new ClosedLoop(shape, 12, 1, 5).Run(1, s_times, s_size, s_costs, Placement.Router, 3);
        ClosedLoop loop = new(shape, 240, 1, 5);
        LoopResult many = loop.Run(20, s_times, s_size, s_costs, Placement.Router, 3), random = loop.Run(20, s_times, s_size, s_costs, Placement.Random, 3);
        Assert.True(many.TokensPerSecond >= 0.75 * 20 * one.TokensPerSecond, $"{many.TokensPerSecond:0} of 20 x {one.TokensPerSecond:0} tokens/s"); // so busy that homes of unequal load show
        Assert.True(many.TokensPerSecond > random.TokensPerSecond, $"{many.TokensPerSecond:0}, at random {random.TokensPerSecond:0} tokens/s");
        Assert.Equal(0, many.Refused);
    }

    [Fact]
    public void WhereMoreAskThanRunAtOnceConversationsStayWithWhatTheyHaveWarm()
    {
        // Half as many again as run at once: queues everywhere, of unequal length. A model of two billion parameters, as measured, so that answers take longer than news of other nodes.
        StepTimes times = new(
            "two billion parameters", 4096, [1, 2, 4, 8, 16, 32, 64, 128, 256], [0.07621, 0.07186, 0.10401, 0.15715, 0.26906, 0.55107, 1.18824, 2.11637, 4.23935], 0.0048374, 8.8307e-6, 2.7171e-6);
        TalkCosts costs = new(0.001, 0.0015, 0.0003, 0, 0);
        NodeSize size = new(1600, 8192, new EngineOptions { SpeculativeTokens = 0 });
        ClosedLoop loop = new(new ChatShape(10, 300, 5, 60, 100, 20), 24, 100, 200);
        double one = Enumerable.Range(1, 10).Average(seed => loop.Run(1, times, size, costs, Placement.Router, seed).TokensPerSecond);
        LoopResult ten = (loop with { Chats = 240 }).Run(10, times, size, costs, Placement.Router, 1);
        Assert.True(ten.TokensPerSecond >= 0.9 * 10 * one, $"{ten.TokensPerSecond:0} of 10 x {one:0.0} tokens/s");
        Assert.InRange(ten.Redirects, 0, ten.Calls / 8);
    }

    [Fact]
    public void ThreadsOfAPoolTakeJobsInTurn()
    {
        EventQueue events = new();
        Cores cores = new(events, 4);
        Pool pool = new(cores, 2);
        List<double> ended = [];
        for (int i = 0; i < 3; i++)
        {
            pool.Run(1 + i, () => ended.Add(events.Now));
        }

        events.RunUntil(10);
        Assert.Equal([1, 2, 4], ended.Select(time => Math.Round(time, 6))); // the third when the first has ended
        Assert.Equal(6, pool.Worked);
    }

    [Fact]
    public void AThreadIsWokenOnceForJobsThatComeTogether()
    {
        EventQueue events = new();
        Pool pool = new(new Cores(events, 1), 1, wake: 0.5);
        List<double> ended = [];
        void Run() => pool.Run(1, () => ended.Add(events.Now));
        Run();
        Run();
        events.After(10, Run); // all sleep again by then
        events.RunUntil(20);
        Assert.Equal([1.5, 2.5, 11.5], ended.Select(time => Math.Round(time, 6)));
        Assert.Equal(4, pool.Worked);
    }

    [Fact]
    public void CoresThatShareMoreThanTimeAreSlowerTogether()
    {
        EventQueue events = new();
        Cores cores = new(events, 2, beside: 1.5);
        List<double> ended = [];
        cores.Run(1, () => ended.Add(events.Now));
        cores.Run(2, () => ended.Add(events.Now));
        events.RunUntil(10);
        Assert.Equal([1.5, 2.5], ended.Select(time => Math.Round(time, 6))); // the second alone from then on
    }

    [Fact]
    public void SameSeedSameResult()
    {
        ClosedLoop loop = new(new ChatShape(3, 100, 4, 50, 24, 0.2), 20, 1, 4);
        LoopResult first = loop.Run(3, s_times, s_size, s_costs, Placement.Router, 5);
        Assert.Equal(first, loop.Run(3, s_times, s_size, s_costs, Placement.Router, 5));
        Assert.NotEqual(first, loop.Run(3, s_times, s_size, s_costs, Placement.Router, 6));
    }

    [Fact]
    public void ThreadsShareCoresEvenly()
    {
        EventQueue events = new();
        Cores cores = new(events, 2);
        List<double> ended = [];
        for (int i = 0; i < 3; i++)
        {
            cores.Run(1 + i, () => ended.Add(events.Now));
        }

        events.RunUntil(10);
        Assert.Equal([1.5, 2.5, 3.5], ended.Select(time => Math.Round(time, 6))); // three on two cores until one is done, then each on its own
    }
}
