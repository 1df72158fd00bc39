using Gemma.Extensions.AI.Orleans;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>All three nodes are replaced, one after the other, while conversations go on.</summary>
internal static class RollingBenchmark
{
    public static async Task<int> RunAsync(int rounds, int conversations)
    {
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        ClusterLoad load = await ClusterLoad.CreateAsync(model, 96);
        await using ClusterProcesses cluster = new(typeof(RollingBenchmark).Assembly.Location, "nano");
        await cluster.StartAsync(3);
        using MoveCounter moves = new();
        using GemmaClusterChatClient client = new(cluster.Client, "model");
        Task running = load.RunAsync(client, conversations);
        for (int round = 0; round < rounds; round++)
        {
            foreach (NodeProcess old in cluster.Nodes)
            {
                await cluster.AddNodeAsync();
                await cluster.StopAsync(old);
            }
        }

        load.Stop();
        await running;
        Console.WriteLine($"{rounds} times all of three nodes were replaced under {conversations} conversations: {load.Right} answers right, {load.Wrong} of another text, {load.Failed} failed; longest pause {load.LongestPause.TotalSeconds:0.00} s; {moves}.");
        load.Errors.Take(3).ToList().ForEach(Console.WriteLine);
        return load.Wrong + load.Failed == 0 ? 0 : 1;
    }
}
