using System.Diagnostics;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Orleans;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>A process that reads an answer is killed as by <c>kill -9</c>: the time until the node answers nobody any more.</summary>
internal static class VanishBenchmark
{
    public static async Task<int> RunAsync(int times)
    {
        await using ClusterProcesses cluster = new(typeof(VanishBenchmark).Assembly.Location, "nano");
        await cluster.StartAsync(1);
        NodeProcess node = cluster.Nodes[0];
        List<double> seconds = [];
        for (int i = 0; i < times; i++)
        {
            using Process caller = Process.Start(new ProcessStartInfo("dotnet", [typeof(VanishBenchmark).Assembly.Location, "caller", cluster.Id, cluster.StoreAddress]) { RedirectStandardOutput = true })!;
            await caller.StandardOutput.ReadLineAsync();
            if (await node.RunningCallsAsync() != 1)
            {
                throw new InvalidOperationException("The answer ended before its reader.");
            }

            caller.Kill();
            long began = Stopwatch.GetTimestamp();
            while (await node.RunningCallsAsync() > 0)
            {
                await Task.Delay(5);
            }

            seconds.Add(Stopwatch.GetElapsedTime(began).TotalSeconds);
        }

        seconds.Sort();
        Console.WriteLine($"{times} callers killed in the middle of an answer: the node had stopped after {seconds[times / 2]:0.00} s (median), {seconds[^1]:0.00} s at most.");
        return seconds[^1] < 1 ? 0 : 1;
    }

    /// <summary>The process that is killed: says "reads" once the answer has begun.</summary>
    public static async Task CallAsync(string id, string store)
    {
        using IHost host = await ClusterProcesses.ConnectAsync(id, store);
        using GemmaClusterChatClient client = new(host.Services.GetRequiredService<IClusterClient>(), "model");
        ChatOptions endless = new() { Temperature = 1, MaxOutputTokens = 4000, RawRepresentationFactory = _ => new GemmaGenerationOptions { Regex = "[a-z ]{20000}" } };
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync("Tell me all that you know.", endless))
        {
            Console.WriteLine("reads");
        }
    }
}
