using System.Diagnostics;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Routing;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>
/// Measures what calls cost besides the model's steps, in processor time of all threads but the engine's and the compiler's, each on its own: a message that asks a node for nothing, a call whose answer is one token and whose prompt
/// is warm, a long answer, a message that another silo passes on, and a node that has nothing to do. So many callers ask at a time: threads that wait for work stay awake for a moment, which passes for work where
/// only one asks.
/// </summary>
internal static class CostBenchmark
{
    private const int LongAnswer = 128;
    private static readonly TimeSpan s_measured = TimeSpan.FromSeconds(4);

    public static async Task<int> RunAsync(string output, int callers)
    {
        Environment.SetEnvironmentVariable(NodeProgram.Plain, "1");
        Dictionary<int, float> endless;
        using (GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 }))
        {
            endless = HopBenchmark.Endless(model);
        }

        await using ClusterProcesses cluster = new(typeof(CostBenchmark).Assembly.Location, "nano");
        await cluster.StartAsync(1);
        using GemmaClusterChatClient client = new(cluster.Client, "model");
        string node = await SiloOfAsync(cluster, client, endless, []);
        await MeasureAsync("warm up", cluster, callers, caller => AskAsync(client, caller, LongAnswer, endless));

        Spent alone = await MeasureAsync("message, one caller", cluster, 1, _ => PingAsync(cluster, node)), message = await MeasureAsync("message", cluster, callers, _ => PingAsync(cluster, node));
        Spent brief = await MeasureAsync("answer of one token", cluster, callers, caller => AskAsync(client, caller, 1, endless));
        Spent longer = await MeasureAsync($"answer of {LongAnswer} tokens", cluster, callers, caller => AskAsync(client, caller, LongAnswer, endless));
        Spent briefAlone = await MeasureAsync("answer of one token, one caller", cluster, 1, caller => AskAsync(client, caller, 1, endless));
        Spent longAlone = await MeasureAsync($"answer of {LongAnswer} tokens, one caller", cluster, 1, caller => AskAsync(client, caller, LongAnswer, endless));
        Spent idle = (await MeasureAsync("nothing to do", cluster, 1, _ => Task.Delay(250))).ASecond();
        (alone, message, brief, longer) = (alone.Without(idle), message.Without(idle), brief.Without(idle), longer.Without(idle));
        (briefAlone, longAlone) = (briefAlone.Without(idle), longAlone.Without(idle));

        double batch = Math.Max(0, message.Talk[0]), clientBatch = Math.Max(0, message.Caller);

        // The tokens of a step come as one, and wake a thread once: with one caller each token, with many a part of it.
        double tokenTogether = (longer.Talk[0] - brief.Talk[0] - ((longer.Messages - brief.Messages) * batch)) / (LongAnswer - 1);
        double tokenAlone = (longAlone.Talk[0] - briefAlone.Talk[0] - ((longAlone.Messages - briefAlone.Messages) * Math.Max(0, alone.Talk[0]))) / (LongAnswer - 1);
        double nodeWake = callers > 1 ? Math.Max(0, tokenAlone - tokenTogether) * callers / (callers - 1) : 0, clientWake = Math.Max(0, alone.Caller - message.Caller);
        double token = Math.Max(0, tokenTogether - (nodeWake / callers));
        double clientToken = Math.Max(0, (longer.Caller - brief.Caller - ((longer.Messages - brief.Messages) * clientBatch)) / (LongAnswer - 1));
        TalkCosts costs = new(
            Math.Max(0, (alone.Seconds - alone.Talk[0] - alone.Caller) / 2), Math.Max(0, brief.Talk[0] - (brief.Messages * batch) - token), batch,
            Math.Max(0, brief.Caller - (brief.Messages * clientBatch) - clientToken), clientBatch)
        {
            NodeToken = token,
            ClientToken = clientToken,
            NodeWake = nodeWake,
            ClientWake = clientWake,
            NodeForward = await ForwardAsync(cluster, client, endless, node, callers),
            NodeIdle = idle.Talk[0],
        };
        costs.Save(output);
        Console.WriteLine(costs);
        return 0;
    }

    /// <summary>Seconds of a core that a message takes at a silo that passes it on to another. Which silo a client asks about another follows from their addresses, so several are asked about.</summary>
    private static async Task<double> ForwardAsync(ClusterProcesses cluster, IChatClient client, Dictionary<int, float> endless, string first, int callers)
    {
        List<string> silos = [first];
        for (int i = 0; i < 2; i++)
        {
            await cluster.AddNodeAsync();
        }

        for (int i = 0; i < 2; i++)
        {
            silos.Add(await SiloOfAsync(cluster, client, endless, silos));
        }

        List<Spent> all = [];
        foreach (string silo in silos)
        {
            all.Add(await MeasureAsync($"message to node {all.Count}", cluster, callers, _ => PingAsync(cluster, silo)));
        }

        Spent idle = (await MeasureAsync("three nodes with nothing to do", cluster, 1, _ => Task.Delay(250))).ASecond();
        List<double> passed = [];
        for (int i = 0; i < silos.Count; i++)
        {
            double[] talk = all[i].Without(idle).Talk;
            int asked = cluster.Nodes.ToList().FindIndex(node => silos[i].Contains($":{node.SiloPort}@", StringComparison.Ordinal));
            double most = talk.Where((_, number) => number != asked).Max();
            if (most > talk[asked] / 4)
            {
                passed.Add(most);
            }
        }

        return passed.Count > 0 ? passed.Average() : throw new InvalidOperationException("No message came over another silo. Measure again: ports, and with them addresses, are drawn.");
    }

    /// <summary>The silo of a node that none of the given ones is.</summary>
    private static async Task<string> SiloOfAsync(ClusterProcesses cluster, IChatClient client, Dictionary<int, float> endless, List<string> known)
    {
        for (int i = 0; i < 1000; i++)
        {
            await AskAsync(client, i, 1, endless);
            if (cluster.LastNode is { } node && !known.Contains(node))
            {
                return node;
            }

            await Task.Delay(20);
        }

        throw new InvalidOperationException("A node of the cluster is not asked.");
    }

    private static Task PingAsync(ClusterProcesses cluster, string silo) => cluster.Client.GetGrain<INodeGrain>(NodePlacement.KeyOf(silo)).ReadAsync(Guid.Empty, 2);

    private static async Task AskAsync(IChatClient client, int caller, int tokens, Dictionary<int, float> endless)
    {
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync($"Caller {caller} asks again: what do you know of rivers, and of houses in winter?", HopBenchmark.Options(tokens, endless)))
        {
            GC.KeepAlive(update);
        }
    }

    private static async Task<Spent> MeasureAsync(string what, ClusterProcesses cluster, int callers, Func<int, Task> call)
    {
        using CancellationTokenSource stop = new();
        long calls = 0;
        Task running = Task.WhenAll(Enumerable.Range(0, callers).Select(async caller =>
        {
            while (!stop.IsCancellationRequested)
            {
                await call(caller);
                Interlocked.Increment(ref calls);
            }
        }));
        await cluster.SettleAsync();
        NodeProcess[] nodes = [.. cluster.Nodes];
        ThreadTimes[] before = [.. nodes.Select(node => node.ThreadSeconds())];
        (ThreadTimes caller, long callsBefore, long messages) = (ThreadTimes.OfThisProcess(), Interlocked.Read(ref calls), cluster.Messages);
        long began = Stopwatch.GetTimestamp();
        await Task.Delay(s_measured);
        ThreadTimes[] after = [.. nodes.Select(node => node.ThreadSeconds())];
        double seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        double count = Math.Max(1, Interlocked.Read(ref calls) - callsBefore);
        Spent spent = new(
            count, (cluster.Messages - messages) / count, seconds / count,
            [.. after.Select((node, i) => (node.Others - before[i].Others) / count)], after.Select((node, i) => node.Engine - before[i].Engine).Sum() / count, (ThreadTimes.OfThisProcess() - caller).Others / count);
        await stop.CancelAsync();
        await running;
        Console.WriteLine($"{what}: {callers} at a time, {count:0} in {seconds:0.0} s, {spent.Messages:0.00} messages each; µs of a core each: nodes {string.Join(" + ", spent.Talk.Select(talk => $"{talk * 1e6:0}"))}, engine {spent.Engine * 1e6:0}, caller {spent.Caller * 1e6:0}");
        return spent;
    }

    /// <summary>What calls took on average.</summary>
    /// <param name="Calls">Calls.</param>
    /// <param name="Messages">Messages of one.</param>
    /// <param name="Seconds">Time divided by calls.</param>
    /// <param name="Talk">Seconds of a core of one at each node, without the engine's thread.</param>
    /// <param name="Engine">Seconds of the engines' threads.</param>
    /// <param name="Caller">Seconds of a core at the caller.</param>
    private sealed record Spent(double Calls, double Messages, double Seconds, double[] Talk, double Engine, double Caller)
    {
        /// <summary>Without what a second takes anyway.</summary>
        public Spent Without(Spent second) => this with { Talk = [.. Talk.Select((talk, i) => talk - (second.Talk[i] * Seconds))], Caller = Caller - (second.Caller * Seconds) };

        /// <summary>The same of a second.</summary>
        public Spent ASecond() => new(Calls / Seconds, Messages / Seconds, 1, [.. Talk.Select(talk => talk / Seconds)], Engine / Seconds, Caller / Seconds);
    }
}
