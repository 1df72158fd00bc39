using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>
/// One, two and more real nodes, processes on this machine with a thread each, beside what the simulation says of them. Nodes and callers share the machine's cores, in the simulation too. The simulation is given
/// what <see cref="CostBenchmark"/> measured, the length of a question, and the mean of what <see cref="StepMeter"/> measures right before and right after a run, while nobody asks; nothing is taken from the runs that it is to predict.
/// Whether a run counts does not depend on what it measured: it does where the simulations by the steps before and by those after differ by a tenth at most, so that the machine stayed as fast, and where other programs took less
/// than a tenth of a core. One that does not count is written down, and done again.
/// Most nodes are measured first, then one of them leaves after the other: a node takes long until all its code is compiled.
/// </summary>
internal static class PredictionBenchmark
{
    private const int Turns = 4;
    private const long NodeBytes = 48_000_000;
    private const double Disturbed = 0.1;
    private const double Drifted = 0.1;
    private const double Allowed = 0.15;
    private const int Tries = 4;
    private const string Header = "at,nodes,chats,answer,counts,tokens/s,simulated,deviation,call ms,simulated,deviation,simulated tokens/s by steps before,by steps after,first token ms,simulated,"
        + "engines ms a call,simulated,other threads of nodes ms,simulated,callers ms,simulated,messages,simulated,other programs (cores)";

    /// <param name="path">The model.</param>
    /// <param name="costsPath">File of what calls cost besides steps.</param>
    /// <param name="most">Nodes at first.</param>
    /// <param name="loads">Chats at a time, and tokens of an answer.</param>
    /// <param name="warmUp">Seconds before anything counts, from when no code is compiled any more.</param>
    /// <param name="measured">Seconds that count.</param>
    /// <param name="rounds">Times that each step is measured, before and after.</param>
    /// <param name="samplesPath">A line of each run is added to it.</param>
    public static async Task<int> RunAsync(string path, string costsPath, int most, (int Chats, int Answer)[] loads, double warmUp, double measured, int rounds, string samplesPath)
    {
        Environment.SetEnvironmentVariable(NodeProgram.Plain, "1");
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

        if (!File.Exists(samplesPath))
        {
            await File.WriteAllLinesAsync(samplesPath, [Header]);
        }

        List<Compared> all = [];
        using StepMeter meter = await StepMeter.CreateAsync(path);
        await using ClusterProcesses cluster = new(typeof(PredictionBenchmark).Assembly.Location, path, bytes);
        await cluster.StartAsync(most);
        using GemmaClusterChatClient client = new(cluster.Client, "model");
        await MeasureAsync(cluster, client, loads[0].Chats, loads[0].Answer, endless, 0, 1); // until code is compiled
        for (int nodes = most; nodes >= 1; nodes--)
        {
            StepTimes before = await meter.MeasureAsync(rounds);
            foreach ((int chats, int answer) in loads)
            {
                bool counts = false;
                for (int tries = 0; !counts && tries < Tries; tries++)
                {
                    Measured seen = await MeasureAsync(cluster, client, chats, answer, endless, warmUp, measured);
                    StepTimes after = await meter.MeasureAsync(rounds);
                    ClosedLoop loop = new(new ChatShape(1, 0, Turns, seen.Question, answer, 0, Varies: false), chats, warmUp, Math.Max(30, measured));
                    LoopResult Simulate(StepTimes times) => loop.Run(nodes, times, size, costs, Placement.Router, 1, Environment.ProcessorCount);
                    Compared run = new(nodes, chats, answer, seen, Simulate(StepTimes.Mean(before, after)), Simulate(before).TokensPerSecond, Simulate(after).TokensPerSecond);
                    before = after;
                    counts = run.Counts == "yes";
                    all.Add(run);
                    await File.AppendAllLinesAsync(samplesPath, [run.ToLine()]);
                    Console.WriteLine(run.ToLine());
                }
            }

            await cluster.StopAsync(cluster.Nodes[^1]);
        }

        Compared[] counted = [.. all.Where(run => run.Counts == "yes")];
        double worst = counted.Select(run => run.Worst).DefaultIfEmpty(1).Max();
        Console.WriteLine($"{counted.Length} runs count, {counted.Count(run => run.Worst <= Allowed)} of them within {Allowed:P0}, largest deviation {worst:P1}; {all.Count - counted.Length} do not count: {string.Join(", ", all.Where(run => run.Counts != "yes").CountBy(run => run.Counts).Select(reason => $"{reason.Value} {reason.Key}"))}");
        return worst <= Allowed ? 0 : 1;
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

    /// <summary>A run beside what was simulated.</summary>
    private sealed record Compared(int Nodes, int Chats, int Answer, Measured Seen, LoopResult Told, double Before, double After)
    {
        private readonly DateTime _at = DateTime.UtcNow;

        /// <summary>"yes", or why not.</summary>
        public string Counts => Seen.Machine > Disturbed ? "disturbed" : Math.Abs((Before / After) - 1) > Drifted ? "drifted" : "yes";

        public double Worst => Math.Max(Math.Abs(Tokens), Math.Abs(Whole));

        private double Tokens => (Told.TokensPerSecond / Seen.TokensPerSecond) - 1;

        private double Whole => (Told.Whole / Seen.Whole) - 1;

        public string ToLine() => string.Create(CultureInfo.InvariantCulture, $"{_at:HH:mm:ss},{Nodes},{Chats},{Answer},{Counts},{Seen.TokensPerSecond:0},{Told.TokensPerSecond:0},{Tokens:+0.000;-0.000},{Seen.Whole * 1e3:0.0},{Told.Whole * 1e3:0.0},{Whole:+0.000;-0.000},{Before:0},{After:0},{Seen.First * 1e3:0.0},{Told.First * 1e3:0.0},")
            + string.Create(CultureInfo.InvariantCulture, $"{Seen.Nodes.Engine * 1e3:0.00},{Told.Engine * 1e3:0.00},{Seen.Nodes.Others * 1e3:0.00},{Told.Others * 1e3:0.00},{Seen.Caller.Others * 1e3:0.00},{Told.Caller * 1e3:0.00},{Seen.Messages:0.0},{Told.Messages:0.0},{Seen.Machine:0.00}");
    }
}
