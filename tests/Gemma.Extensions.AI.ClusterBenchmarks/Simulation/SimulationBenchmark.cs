using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>Runs of simulated clusters.</summary>
internal static class SimulationBenchmark
{
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
                    cluster.Begin(new SimulatedCall(events, costs, shared, tokens, answer, chat.Home, chat.TurnsDone == 1, call =>
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
