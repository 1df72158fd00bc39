using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Routing;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Orleans;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.TestingHost;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>A network in two halves, with nodes and callers in both.</summary>
public class PartitionTests
{
    private static readonly string[] s_questions = [.. Enumerable.Range(0, 6).Select(i => $"Part {i}: what do {i + 2} shores say?")];

    private static readonly ChatOptions s_long = new() { Temperature = 1.4f, TopK = 0, TopP = 0.98f, Seed = 4, MaxOutputTokens = 160 };

    [Fact]
    public async Task BothSidesOfASplitNetworkAnswerAndGrowTogetherAgain()
    {
        SplitNetwork network = new();
        Dictionary<int, int> sides = [];
        await using TinyCluster cluster = await TinyCluster.StartAsync(4, more: builder =>
        {
            builder.ConfigureClient(client => network.Place(client, side: 0));
            builder.ConfigureSilo((ports, silo) =>
            {
                silo.Configure<ClusterMembershipOptions>(options => options.LivenessEnabled = false); // for the other side to be voted out the network has to be away for longer: that is KilledNodeTests' part
                lock (sides)
                {
                    network.Place(silo, sides[ports.SiloPort] = sides.Count / 2, ports.SiloPort, ports.GatewayPort);
                }
            });
        });
        InProcessSiloHandle[][] halves = [.. Enumerable.Range(0, 2).Select(side => cluster.Silos.Where(silo => sides[silo.SiloAddress.Endpoint.Port] == side).ToArray())];
        Assert.All(halves, half => Assert.Equal(2, half.Length));
        LogLines log = new();
        IChatClient[] callers = [.. halves.Select((half, i) => Caller(cluster.Service<IGrainFactory>(half[0]), i == 0 ? log : new LogLines()))]; // applications within silos
        string[] undisturbed = await AnswersAsync(TinyModel.Client());
        Assert.True(network.Crossed > 0);

        // The other side is in the middle of answers for the first caller, and the second has just asked.
        Task<string[]> first = AnswersAsync(callers[0]);
        await Eventually.IsTrueAsync(() => halves[1].Any(silo => cluster.Service<GemmaNode>(silo).RunningCalls > 0));
        Task<string[]> second = AnswersAsync(callers[1]);
        network.Split();
        Assert.All(await Task.WhenAll(first, second), answers => Assert.Equal(undisturbed, answers));
        Assert.NotEmpty(log.At(LogLevel.Warning)); // some had to go on at this side
        await Eventually.IsTrueAsync(() => cluster.Silos.All(silo => cluster.Service<GemmaNode>(silo).RunningCalls == 0)); // nobody works for the other side any more

        // New questions are answered where they are asked.
        long crossed = network.Crossed;
        Assert.All(await Task.WhenAll(callers.Select(AnswersAsync)), answers => Assert.Equal(undisturbed, answers));
        Assert.Equal(crossed, network.Crossed);
        await cluster.WaitAsync(view => view.Nodes.Length == 2);
        network.Heal();
        await cluster.WaitAsync(view => view.Nodes.Length == 4);
        Assert.All(await Task.WhenAll(callers.Select(AnswersAsync)), answers => Assert.Equal(undisturbed, answers));
    }

    /// <summary>Half of its gateways are on the other side, where its questions lie on the way; whenever one of them was asked, the call goes on by another.</summary>
    [Fact]
    public async Task AClientOutsideFindsItsWayWhileTheNetworkIsSplit()
    {
        SplitNetwork network = new();
        int silos = 0;
        await using TinyCluster cluster = await TinyCluster.StartAsync(4, more: builder =>
        {
            builder.ConfigureClient(client => network.Place(client, side: 0));
            builder.ConfigureSilo((ports, silo) =>
            {
                silo.Configure<ClusterMembershipOptions>(options => options.LivenessEnabled = false);
                network.Place(silo, (Interlocked.Increment(ref silos) - 1) / 2, ports.SiloPort, ports.GatewayPort);
            });
        });
        string[] undisturbed = await AnswersAsync(TinyModel.Client());
        IChatClient caller = Caller(cluster.Cluster.Client, new LogLines());
        Assert.Equal(undisturbed, await AnswersAsync(caller));
        network.Split();
        long crossed = network.Crossed;
        Assert.Equal(undisturbed, await AnswersAsync(caller));
        Assert.Equal(crossed, network.Crossed);
        network.Heal();
        await cluster.WaitAsync(view => view.Nodes.Length == 4);
        Assert.Equal(undisturbed, await AnswersAsync(caller));
    }

    // Long enough for a machine that is busy with other tests: a node that is only slow would be taken for lost again and again.
    private static GemmaClusterChatClient Caller(IGrainFactory grains, LogLines log) =>
        new(grains, "tiny", new GemmaClusterOptions { HeartbeatTimeout = TimeSpan.FromSeconds(4), FailoverTimeout = TimeSpan.FromMinutes(5) }, LoggerFactory.Create(logging => logging.AddProvider(log)));

    private static async Task<string[]> AnswersAsync(IChatClient client) =>
        [.. (await Task.WhenAll(s_questions.Select(question => client.GetStreamingResponseAsync(question, s_long).ToChatResponseAsync()))).Select(answer => answer.Text)];
}
