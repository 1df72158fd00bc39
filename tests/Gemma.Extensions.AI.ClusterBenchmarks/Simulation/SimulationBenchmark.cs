using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>Runs of simulated clusters.</summary>
internal static class SimulationBenchmark
{
    /// <summary>Chats with one of ten instructions, as long as those of an assistant with a few tools, whose users think before they ask again.</summary>
    private static readonly ChatShape s_chats = new(Groups: 10, Instructions: 300, Turns: 5, Question: 60, Answer: 100, Think: 20);

    /// <summary>More and more nodes at rising load: chats at a time for each node. Costs of the talk are those measured on one machine, and a network of a millisecond.</summary>
    public static int Scale(string stepTimes, string costsPath, int[] counts, int[] loads, int seed)
    {
        StepTimes times = StepTimes.Load(stepTimes);
        TalkCosts costs = TalkCosts.Load(costsPath) with { Way = 0.001, ClientCall = 0, ClientBatch = 0 };
        NodeSize size = new(1600, 8192, new EngineOptions { SpeculativeTokens = 0 });
        Console.WriteLine($"{times.Model}. Seed {seed}; {s_chats}; {size.Blocks:N0} blocks of 32 tokens a node, one core each.");
        Console.WriteLine("nodes, chats a node: tokens/s of all, of linear; warm, at random; first token, of 95 of 100, s; whole call, s; sent on, refused");
        int worst = 0;
        foreach (int chats in loads)
        {
            double one = Enumerable.Range(1, 10).Average(other => new ClosedLoop(s_chats, chats, 100, 200).Run(1, times, size, costs, Placement.Router, other).TokensPerSecond); // a node alone has few calls
            foreach (int nodes in counts)
            {
                ClosedLoop loop = new(s_chats, chats * nodes, 100, 200);
                LoopResult routed = loop.Run(nodes, times, size, costs, Placement.Router, seed);
                string random = nodes > 100 ? "-" : $"{loop.Run(nodes, times, size, costs, Placement.Random, seed).Warm:P1}";
                double linear = routed.TokensPerSecond / (nodes * one);
                worst += nodes <= 100 && linear < 0.9 ? 1 : 0;
                Console.WriteLine($"{nodes,5}, {chats,3}: {routed.TokensPerSecond,9:0.0}, {linear:0.000}; {routed.Warm:P1}, {random}; {routed.First:0.00}, {routed.FirstOfMost:0.00}; {routed.Whole:0.0}; {routed.Redirects / (double)routed.Calls:P1}, {routed.Refused}");
            }
        }

        return worst;
    }

    /// <summary>The chats of <see cref="CacheBenchmark"/>: round by round, six at a time.</summary>
    public static int Cache(string stepTimes, int chats, int turns, int blocks, int instructions, int groups)
    {
        StepTimes times = StepTimes.Load(stepTimes);
        ChatShape shape = new(groups, instructions, turns, 50, 24, 0, Varies: false);
        TalkCosts costs = new(0.0005, 0.001, 0.0003, 0.001, 0.0003);
        foreach (int seed in (int[])[1, 2, 3, 4, 5])
        {
            double one = Share(1, 3 * blocks, Placement.Router, seed, out _), three = Share(3, blocks, Placement.Router, seed, out string moves), random = Share(3, blocks, Placement.Random, seed, out _);
            Console.WriteLine($"seed {seed}: one {one:P1}, three {three:P1}, at random {random:P1}: {three / one:0.000}; {moves}");
        }

        return 0;

        double Share(int count, int blocksEach, Placement placement, int seed, out string moves)
        {
            EventQueue events = new();
            NodeSize size = new(blocksEach, 4096, new EngineOptions { SpeculativeTokens = 0 });
            Cores shared = new(events, 2);
            Pool callers = new(shared, shared.Threads);
            SimulatedCluster cluster = new(events, costs, Enumerable.Range(0, count).Select(number => new SimulatedNode(SimulatedCluster.Silo(number), events, shared, times, size)), placement, seed);
            Chat[] all = [.. Enumerable.Range(0, chats).Select(number => new Chat(shape, number, seed))];
            long prompt = 0, cached = 0;
            Round(0);
            events.RunUntil(1000);
            moves = $"{cluster.Redirects} sent on, free blocks {string.Join(' ', cluster.Nodes.Select(node => node.Status.FreeBlocks))}";
            return (double)cached / prompt;

            void Round(int round)
            {
                int next = 0, left = chats;
                for (int i = 0; i < 6; i++)
                {
                    Ask();
                }

                void Ask()
                {
                    if (next == chats)
                    {
                        return;
                    }

                    Chat chat = all[next++];
                    (int[] tokens, int[] answer) = chat.Next();
                    cluster.Begin(new SimulatedCall(events, cluster, costs, callers, tokens, answer, chat, call =>
                    {
                        prompt += call.Prompt.Length;
                        cached += call.Cached;
                        if (--left == 0 && round + 1 < turns)
                        {
                            Round(round + 1);
                        }
                        else
                        {
                            Ask();
                        }
                    }));
                }
            }
        }
    }
}
