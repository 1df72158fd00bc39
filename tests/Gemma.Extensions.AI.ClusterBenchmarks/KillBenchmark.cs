using System.Diagnostics;
using Gemma.Extensions.AI.Orleans;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>A random node of three is killed as by <c>kill -9</c>, again and again, while conversations go on; a new one takes its place. Runs of different seeds add up.</summary>
internal static class KillBenchmark
{
    public static async Task<int> RunAsync(int kills, int conversations, int seed)
    {
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        ClusterLoad load = await ClusterLoad.CreateAsync(model, 96);
        await using ClusterProcesses cluster = new(typeof(KillBenchmark).Assembly.Location, "nano");
        await cluster.StartAsync(3);
        using MoveCounter moves = new();
        using GemmaClusterChatClient client = new(cluster.Client, "model");
        Task running = load.RunAsync(client, conversations, seed: seed);
        Random random = new(seed);
        string loadBefore = MachineLoad();
        long began = Stopwatch.GetTimestamp();
        for (int kill = 1; kill <= kills; kill++)
        {
            await Task.Delay(random.Next(200, 1200));
            cluster.Kill(cluster.Nodes[random.Next(cluster.Nodes.Count)]);
            await cluster.AddNodeAsync();
            if (kill % 10 == 0)
            {
                Console.Error.WriteLine($"{kill} kills, {load.Right} right, {load.Wrong} wrong, {load.Failed} failed, longest pause {load.LongestPause.TotalSeconds:0.0} s");
            }
        }

        load.Stop();
        await running;
        Console.WriteLine($"Seed {seed}: {kills} kills of one of three nodes under {conversations} conversations, {Stopwatch.GetElapsedTime(began).TotalMinutes:0.0} min: {load.Right} answers right, {load.Wrong} of another text, {load.Failed} failed; longest pause {load.LongestPause.TotalSeconds:0.00} s (heartbeat {new GemmaClusterOptions().HeartbeatTimeout.TotalSeconds:0} s; Orleans: {NodeProgram.Detection.Missed} probes of {NodeProgram.Detection.ProbeTimeout.TotalSeconds:0} s); {moves}; load of the machine {loadBefore} to {MachineLoad()}.");
        load.Errors.Take(3).ToList().ForEach(Console.WriteLine);
        return load.Wrong + load.Failed == 0 ? 0 : 1;
    }

    private static string MachineLoad() => File.ReadAllText("/proc/loadavg").Split(' ')[0];
}
