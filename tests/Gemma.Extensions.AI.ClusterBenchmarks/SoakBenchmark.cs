using System.Diagnostics;
using Gemma.Extensions.AI.Orleans;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>Many requests while nodes come and go: of those that stay, memory must be flat, and at the end nobody may work on anything.</summary>
internal static class SoakBenchmark
{
    public static async Task<int> RunAsync(int requests, int conversations)
    {
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        ClusterLoad load = await ClusterLoad.CreateAsync(model, 24);
        await using ClusterProcesses cluster = new(typeof(SoakBenchmark).Assembly.Location, "nano", 64_000_000);
        await cluster.StartAsync(3);
        NodeProcess[] staying = [.. cluster.Nodes.Take(2)];
        using MoveCounter moves = new();
        using GemmaClusterChatClient client = new(cluster.Client, "model");
        Task running = load.RunAsync(client, conversations, requests);
        List<(int Done, long Client, long Nodes)> memory = [];
        Random random = new(3);
        long began = Stopwatch.GetTimestamp();
        while (!running.IsCompleted)
        {
            NodeProcess leaving = cluster.Nodes.First(node => !staying.Contains(node));
            await cluster.AddNodeAsync();
            if (random.Next(2) == 0)
            {
                cluster.Kill(leaving);
            }
            else
            {
                await cluster.StopAsync(leaving);
            }

            memory.Add((load.Done, GC.GetTotalMemory(forceFullCollection: true), staying.Sum(node => node.ResidentBytes)));
            Console.Error.WriteLine($"{load.Done} done, {load.Wrong + load.Failed} wrong or failed, client {memory[^1].Client / 1e6:0.0} MB managed, two nodes {memory[^1].Nodes / 1e6:0} MB resident");
            await Task.WhenAny(running, Task.Delay(TimeSpan.FromSeconds(4)));
        }

        await Task.Delay(TimeSpan.FromSeconds(2));
        int orphans = 0;
        foreach (NodeProcess node in cluster.Nodes)
        {
            orphans += await node.RunningCallsAsync();
        }

        (int Done, long Client, long Nodes) half = memory[memory.Count / 2], end = memory[^1];
        Console.WriteLine($"{load.Done} requests, {conversations} at a time, {memory.Count} nodes came and went, {Stopwatch.GetElapsedTime(began).TotalMinutes:0.0} min: {load.Right} right, {load.Wrong} of another text, {load.Failed} failed; {orphans} calls left on nodes; client {half.Client / 1e6:0.0} MB managed half-way (after {half.Done}), {end.Client / 1e6:0.0} at the end (after {end.Done}); two nodes that stayed {half.Nodes / 1e6:0} and {end.Nodes / 1e6:0} MB resident; {moves}.");
        load.Errors.Take(3).ToList().ForEach(Console.WriteLine);
        return load.Wrong + load.Failed + orphans == 0 ? 0 : 1;
    }
}
