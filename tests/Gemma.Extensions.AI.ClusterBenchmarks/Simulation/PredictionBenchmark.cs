using System.Diagnostics;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>
/// One, two and three real nodes, processes on this machine with a thread each, beside what the simulation says of them. Nodes and callers share the machine's cores, in the simulation too. The simulation is given
/// what <see cref="StepBenchmark"/> and <see cref="CostBenchmark"/> measured, and the length of a question; nothing is taken from the runs that it is to predict. Three nodes are measured first, then one of them leaves, then another: a node takes long until all its code is compiled. What was measured while other programs took a tenth of a core
/// or more is measured again.
/// </summary>
internal static class PredictionBenchmark
{
    private const int Turns = 4;
    private const long NodeBytes = 48_000_000;
    private const double Disturbed = 0.1;
    private const int Tries = 5;

    /// <param name="path">The model.</param>
    /// <param name="stepTimes">File of the times of its steps.</param>
    /// <param name="costsPath">File of what calls cost besides.</param>
    /// <param name="chats">Chats at a time.</param>
    /// <param name="answer">Tokens of an answer.</param>
    /// <param name="warmUp">Seconds before anything counts, from when no code is compiled any more.</param>
    /// <param name="measured">Seconds that count.</param>
    public static async Task<int> RunAsync(string path, string stepTimes, string costsPath, int chats, int answer, double warmUp, double measured)
    {
        Environment.SetEnvironmentVariable(NodeProgram.Plain, "1");
        StepTimes times = StepTimes.Load(stepTimes);
        TalkCosts costs = TalkCosts.Load(costsPath);
        Dictionary<int, float> endless;
        EngineOptions engine = new() { SpeculativeTokens = 0 };
        NodeSize size;
        long bytes;
        using (GemmaModel model = GemmaModel.Load(path, new GemmaOptions { Threads = 1 }))
        {
            endless = HopBenchmark.Endless(model);
            int blockBytes = (int)GemmaForward.KvLayout(model.Config, engine.BlockTokens, engine.KvType).BlockBytes;
            bytes = Math.Max(NodeBytes, 128L * blockBytes);
            size = new NodeSize((int)(bytes / blockBytes), model.Engine.ContextLength, engine);
        }

        double worst = 0;
        await using ClusterProcesses cluster = new(typeof(PredictionBenchmark).Assembly.Location, path, bytes);
        await cluster.StartAsync(3);
        using GemmaClusterChatClient client = new(cluster.Client, "model");
        for (int nodes = 3; nodes >= 1; nodes--)
        {
            Measured seen = await MeasureAsync(cluster, client, chats, answer, endless, warmUp, measured);
            for (int tries = 1; seen.Machine > Disturbed && tries < Tries; tries++)
            {
                Console.WriteLine($"{nodes} nodes: other programs took {seen.Machine:0.00} of the machine's cores; measured again");
                seen = await MeasureAsync(cluster, client, chats, answer, endless, warmUp, measured);
            }

            ClosedLoop loop = new(new ChatShape(1, 0, Turns, seen.Question, answer, 0, Varies: false), chats, warmUp, Math.Max(60, measured));
            LoopResult told = loop.Run(nodes, times, size, costs, Placement.Router, 1, Environment.ProcessorCount);
            double tokens = (told.TokensPerSecond / seen.TokensPerSecond) - 1, whole = (told.Whole / seen.Whole) - 1;
            worst = Math.Max(worst, Math.Max(Math.Abs(tokens), Math.Abs(whole)));
            Console.WriteLine($"{nodes} nodes, {chats} chats, answers of {answer}: {seen.TokensPerSecond:0.0} tokens/s, simulated {told.TokensPerSecond:0.0} ({tokens:+0.0%;-0.0%}); a call {seen.Whole * 1e3:0} ms, simulated {told.Whole * 1e3:0} ({whole:+0.0%;-0.0%}); first token {seen.First * 1e3:0} ms, simulated {told.First * 1e3:0}; warm {seen.Warm:P1}, simulated {told.Warm:P1}");
            Console.WriteLine($"  a call took {seen.Nodes.Engine * 1e3:0.0} ms of the engines' threads, {seen.Nodes.Others * 1e3:0.0} ms of other threads of nodes, {seen.Caller.Others * 1e3:0.0} ms of the callers' process, {seen.Messages:0.0} messages, {(seen.Nodes.Compiler + seen.Caller.Compiler) * 1e3:0.00} ms of compilers, and other programs {seen.Machine:0.00} of the machine's cores meanwhile; simulated {told.Engine * 1e3:0.0}, {told.Others * 1e3:0.0}, {told.Caller * 1e3:0.0} ms and {told.Messages:0.0} messages");
            await cluster.StopAsync(cluster.Nodes[^1]);
        }

        Console.WriteLine($"largest deviation {worst:0.0%}; 15 % are allowed");
        return worst <= 0.15 ? 0 : 1;
    }

    private static async Task<Measured> MeasureAsync(ClusterProcesses cluster, IChatClient client, int chats, int answer, Dictionary<int, float> endless, double warmUp, double measured)
    {
        using CancellationTokenSource stop = new();
        List<Call> calls = [];
        long began = Stopwatch.GetTimestamp();
        Task running = Task.WhenAll(Enumerable.Range(0, chats).Select(async number =>
        {
            for (int chat = number; !stop.IsCancellationRequested; chat += chats)
            {
                List<ChatMessage> history = [];
                for (int turn = 0; turn < Turns && !stop.IsCancellationRequested; turn++)
                {
                    history.Add(new ChatMessage(ChatRole.User, $"Chat {chat % 1000:000}, question {turn}: which of the {chat % 7} rivers and {chat % 5} houses do you know in winter?"));
                    double at = Stopwatch.GetElapsedTime(began).TotalSeconds, first = 0;
                    List<ChatResponseUpdate> updates = [];
                    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(history, HopBenchmark.Options(answer, endless)))
                    {
                        first = first == 0 ? Stopwatch.GetElapsedTime(began).TotalSeconds : first;
                        updates.Add(update);
                    }

                    ChatResponse response = updates.ToChatResponse();
                    history.AddRange(response.Messages);
                    lock (calls)
                    {
                        calls.Add(new Call(at, first, Stopwatch.GetElapsedTime(began).TotalSeconds, turn, response.Usage!.InputTokenCount ?? 0, response.Usage.CachedInputTokenCount ?? 0));
                    }
                }
            }
        }));
        await cluster.SettleAsync();
        await Task.Delay(TimeSpan.FromSeconds(warmUp));
        (ThreadTimes Nodes, ThreadTimes Caller, long Messages) before = Spent(cluster);
        double from = Stopwatch.GetElapsedTime(began).TotalSeconds, machine = ThreadTimes.OfTheMachine();
        await Task.Delay(TimeSpan.FromSeconds(measured));
        (ThreadTimes Nodes, ThreadTimes Caller, long Messages) after = Spent(cluster);
        double to = Stopwatch.GetElapsedTime(began).TotalSeconds, others = ThreadTimes.OfTheMachine() - machine - (after.Nodes - before.Nodes).All - (after.Caller - before.Caller).All;
        await stop.CancelAsync();
        await running;
        Call[] counted = [.. calls.Where(call => call.Ended >= from && call.Ended <= to)];
        double count = counted.Length;
        return new Measured(
            count * answer / (to - from), counted.Average(call => call.First - call.Began), counted.Average(call => call.Ended - call.Began), counted.Sum(call => (double)call.Warm) / counted.Sum(call => call.Prompt),
            (int)Math.Round(calls.Where(call => call.Turn == 0).Average(call => call.Prompt)), (after.Messages - before.Messages) / count, (after.Nodes - before.Nodes) / count, (after.Caller - before.Caller) / count, others / (to - from));
    }

    private static (ThreadTimes Nodes, ThreadTimes Caller, long Messages) Spent(ClusterProcesses cluster) =>
        (cluster.Nodes.Select(node => node.ThreadSeconds()).Aggregate((a, b) => a + b), ThreadTimes.OfThisProcess(), cluster.Messages);

    /// <summary>A call that ended; times in seconds.</summary>
    private sealed record Call(double Began, double First, double Ended, int Turn, long Prompt, long Warm);

    /// <summary>Averages of calls.</summary>
    private sealed record Measured(double TokensPerSecond, double First, double Whole, double Warm, int Question, double Messages, ThreadTimes Nodes, ThreadTimes Caller, double Machine);
}
