using System.Net;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Configuration;
using Orleans.Hosting;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>
/// One node of a cluster as a process of its own, to be killed. Arguments: cluster, the store of its membership (<see cref="MembershipStore.Address"/>), the silo's port, its gateway's, model path, threads, bytes of key/value memory or 0.
/// Says "ready" once it serves, "running N" and its memory (<see cref="NodeMemory"/>) for each line of its input, after a full collection where the line is "collect", and ends gracefully when that ends.
/// </summary>
internal static class NodeProgram
{
    /// <summary>Environment variable with which nodes do not guess tokens ahead, as simulated ones do not.</summary>
    public const string Plain = "GEMMA_CLUSTER_PLAIN";

    /// <summary>A silo is voted out after so many probes that nobody answers within the time.</summary>
    public static readonly (TimeSpan ProbeTimeout, int Missed) Detection = (TimeSpan.FromSeconds(1), 3);

    public static async Task RunAsync(string[] args)
    {
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders().AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace).SetMinimumLevel(LogLevel.Critical);
        builder.UseOrleans(silo =>
        {
            silo.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = (args[0], args[0]));
            MembershipStore.Join(silo, args[1]);
            silo.ConfigureEndpoints(IPAddress.Loopback, int.Parse(args[2]), int.Parse(args[3]));
            silo.Configure<ClusterMembershipOptions>(options => (options.ProbeTimeout, options.NumMissedProbesLimit, options.NumVotesForDeathDeclaration) = (Detection.ProbeTimeout, Detection.Missed, 1));
            silo.AddGemmaNode(options =>
            {
                GemmaOptions model = options.AddModel("model", args[4]);
                model.Threads = int.Parse(args[5]);
                model.SpeculativeTokens = Environment.GetEnvironmentVariable(Plain) == "1" ? 0 : model.SpeculativeTokens;
                model.KvCacheBytes = args[6] == "0" ? null : long.Parse(args[6]);
            });
        });
        using IHost host = builder.Build();
        await host.StartAsync();
        Console.WriteLine("ready");
        while (await Console.In.ReadLineAsync() is { } line)
        {
            NodeMemory memory = NodeMemory.OfThisProcess(collect: line == "collect");
            Console.WriteLine($"running {host.Services.GetRequiredService<GemmaNode>().RunningCalls} {memory}");
        }

        await host.StopAsync();
    }
}
