using System.Diagnostics;
using Gemma.Extensions.AI.Orleans.Routing;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Serialization;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>What choosing a node costs, and what the nodes tell each other, by their number: the real router over nodes that are only described.</summary>
internal static class RouterBenchmark
{
    private const int BlockTokens = 32, PromptTokens = 2048, SummariesPerSecond = 2;

    public static int Run(int most)
    {
        Console.WriteLine($"A prompt of {PromptTokens:N0} tokens in blocks of {BlockTokens}. Node by its beginning, node by its tokens: median time of one call, ms. Told: bytes a second that each node sends.");
        using ServiceProvider services = new ServiceCollection().AddSerializer().BuildServiceProvider();
        Serializer serializer = services.GetRequiredService<Serializer>();
        foreach (int warm in (int[])[256, 4096])
        {
            for (int nodes = 1; nodes <= most; nodes *= 10)
            {
                Measure(serializer, nodes, warm);
            }
        }

        return 0;
    }

    private static void Measure(Serializer serializer, int count, int warm)
    {
        Random random = new(7);
        int[] prompt = [.. Enumerable.Range(0, PromptTokens).Select(_ => random.Next(256_000))];
        NodeSummary[] nodes = [.. Enumerable.Range(0, count).Select(number => Describe(number, warm, random, number == 0 ? new RoutedPrompt(prompt).Blocks(BlockTokens, 0) : []))];
        RouteHints hints = new() { Model = "model", Home = 42, GoesOn = true };
        string self = nodes[^1].Silo;
        double first = Median(() => Router.First(nodes, hints) is null), better = Median(() => Router.Better(nodes, hints, new RoutedPrompt(prompt), self) is null);
        if (Router.Better(nodes, hints, new RoutedPrompt(prompt), self) != (count > 1 ? nodes[0].Silo : null))
        {
            throw new InvalidOperationException("The router did not find the node that is warm.");
        }

        int bytes = serializer.SerializeToArray(nodes[0]).Length;
        Console.WriteLine($"{count,5} nodes, {warm,5} warm blocks each: {first,8:0.000} {better,8:0.000}; a summary has {bytes:N0} bytes, told {(long)bytes * SummariesPerSecond * (count - 1):N0}");
    }

    private static NodeSummary Describe(int number, int warm, Random random, ulong[] known)
    {
        uint[] blocks = [.. known.Select(hash => (uint)hash), .. Enumerable.Range(0, warm - known.Length).Select(_ => (uint)random.NextInt64(1L << 32))];
        Array.Sort(blocks);
        return new NodeSummary
        {
            Silo = $"10.0.{number / 250}.{number % 250}:11111@{1_000_000 + number}",
            Models = [new ModelSummary { Name = "model", Identity = new string('a', 100), MaxRunning = 16, MaxWaiting = 1024, Running = 2, Load = 2, AvailableBlocks = 5000, BlockTokens = BlockTokens, Warm = blocks }],
        };
    }

    /// <summary>Median time of a call, after some that are not counted.</summary>
    private static double Median(Func<bool> call)
    {
        List<double> times = [];
        long began = Stopwatch.GetTimestamp();
        for (int i = 0; i < 15 || (i < 2000 && Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(2)); i++)
        {
            long start = Stopwatch.GetTimestamp();
            call();
            times.Add(Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }

        return times.Skip(times.Count / 3).Order().ElementAt(times.Count / 3);
    }
}
