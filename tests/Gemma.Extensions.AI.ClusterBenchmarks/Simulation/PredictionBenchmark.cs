using System.Diagnostics;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.ClusterBenchmarks.Simulation;

/// <summary>
/// One, two and three real nodes, processes on this machine with a thread each, beside what the simulation says of them. Nodes and callers share the machine's cores, in the simulation too. What calls cost besides steps is
/// measured before, with one chat at a time at one node, and so is the length of prompts; answers have a fixed length.
/// </summary>
internal static class PredictionBenchmark
{
    private const int Turns = 4, Answer = 48;
    private const long NodeBytes = 48_000_000;
    private static readonly TimeSpan s_warmUp = TimeSpan.FromSeconds(4), s_measured = TimeSpan.FromSeconds(12);

    public static async Task<int> RunAsync(string stepTimes, string costsPath, int chats)
    {
        Environment.SetEnvironmentVariable(NodeProgram.Plain, "1");
        StepTimes times = StepTimes.Load(stepTimes);
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        EngineOptions engine = new() { SpeculativeTokens = 0 };
        NodeSize size = new((int)(NodeBytes / GemmaForward.KvLayout(model.Config, engine.BlockTokens, engine.KvType).BlockBytes), model.Engine.ContextLength, engine);
        Dictionary<int, float> endless = HopBenchmark.Endless(model);
        List<Measured> real = [];
        TalkCosts costs = null!;
        for (int nodes = 1; nodes <= 3; nodes++)
        {
            await using ClusterProcesses cluster = new(typeof(PredictionBenchmark).Assembly.Location, "nano", NodeBytes);
            await cluster.StartAsync(nodes);
            using GemmaClusterChatClient client = new(cluster.Client, "model");
            if (nodes == 1)
            {
                await MeasureAsync(cluster, client, 4, Answer, endless); // code that is compiled while it runs is compiled better by then
                Measured brief = await MeasureAsync(cluster, client, 1, 8, endless), longer = await MeasureAsync(cluster, client, 1, 64, endless);
                costs = Fit(times, brief, longer);
                costs.Save(costsPath);
                Console.WriteLine($"one chat at a time, answers of 8 and 64 tokens: {brief}; {longer}. {costs}");
            }

            real.Add(await MeasureAsync(cluster, client, chats, Answer, endless));
        }

        double worst = 0;
        for (int nodes = 1; nodes <= 3; nodes++)
        {
            Measured seen = real[nodes - 1];
            ClosedLoop loop = new(new ChatShape(1, 0, Turns, seen.Question, Answer, 0, Varies: false), chats, s_warmUp.TotalSeconds, s_measured.TotalSeconds);
            LoopResult told = loop.Run(nodes, times, size, costs, Placement.Router, 1, Environment.ProcessorCount);
            double tokens = (told.TokensPerSecond / seen.TokensPerSecond) - 1, whole = (told.Whole / seen.Whole) - 1;
            worst = Math.Max(worst, Math.Max(Math.Abs(tokens), Math.Abs(whole)));
            Console.WriteLine($"{nodes} nodes, {chats} chats: {seen.TokensPerSecond:0} tokens/s, simulated {told.TokensPerSecond:0} ({tokens:+0.0%;-0.0%}); a call {seen.Whole * 1e3:0} ms, simulated {told.Whole * 1e3:0} ({whole:+0.0%;-0.0%}); first token {seen.First * 1e3:0} ms, simulated {told.First * 1e3:0}; warm {seen.Warm:P1}, simulated {told.Warm:P1}");
        }

        Console.WriteLine($"largest deviation {worst:0.0%}; 15 % are allowed");
        return worst <= 0.15 ? 0 : 1;
    }

    /// <summary>Splits the processor time of calls into that of steps, and of calls and batches.</summary>
    private static TalkCosts Fit(StepTimes times, Measured brief, Measured longer)
    {
        (double call, double batch) = Solve(brief.NodeSeconds - Steps(times, brief, 8), brief.Batches, longer.NodeSeconds - Steps(times, longer, 64), longer.Batches);
        (double clientCall, double clientBatch) = Solve(brief.ClientSeconds, brief.Batches, longer.ClientSeconds, longer.Batches);
        return new TalkCosts(0.0001, call, batch, clientCall, clientBatch);
    }

    private static (double Call, double Batch) Solve(double a, double batchesOfA, double b, double batchesOfB)
    {
        double batch = Math.Max(0, (b - a) / (batchesOfB - batchesOfA));
        return (Math.Max(0, a - (batch * batchesOfA)), batch);
    }

    /// <summary>Seconds of the steps of a call: the tokens that are not warm at once, then one by one.</summary>
    private static double Steps(StepTimes times, Measured seen, int answer)
    {
        int cold = (int)(seen.Prompt * (1 - seen.Warm));
        double seconds = times.Of(Math.Max(1, cold), 1, times.AttendedTogether * times.AttendedBy((int)seen.Prompt - cold, cold));
        for (int i = 1; i < answer; i++)
        {
            seconds += times.Of(1, 1, times.Attended * times.AttendedBy((int)seen.Prompt + i, 1));
        }

        return seconds;
    }

    private static async Task<Measured> MeasureAsync(ClusterProcesses cluster, IChatClient client, int chats, int answer, Dictionary<int, float> endless)
    {
        using CancellationTokenSource stop = new();
        List<(double Began, double First, double Ended, int Turn, long Prompt, long Warm, int Batches)> calls = [];
        long began = Stopwatch.GetTimestamp();
        Task running = Task.WhenAll(Enumerable.Range(0, chats).Select(async number =>
        {
            for (int chat = number; !stop.IsCancellationRequested; chat += chats)
            {
                List<ChatMessage> history = [];
                for (int turn = 0; turn < Turns && !stop.IsCancellationRequested; turn++)
                {
                    history.Add(new ChatMessage(ChatRole.User, $"Chat {chat % 1000:000}, question {turn}: which of the {chat % 7} rivers and {chat % 5} houses do you know in winter?"));
                    double at = Stopwatch.GetElapsedTime(began).TotalSeconds, first = 0, last = 0;
                    int batches = 0;
                    List<ChatResponseUpdate> updates = [];
                    await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync(history, HopBenchmark.Options(answer, endless)))
                    {
                        double now = Stopwatch.GetElapsedTime(began).TotalSeconds;
                        batches += now - last > 0.005 ? 1 : 0; // what comes at once came in one batch
                        (first, last) = (first == 0 ? now : first, now);
                        updates.Add(update);
                    }

                    ChatResponse response = updates.ToChatResponse();
                    history.AddRange(response.Messages);
                    lock (calls)
                    {
                        calls.Add((at, first, last, turn, response.Usage!.InputTokenCount ?? 0, response.Usage.CachedInputTokenCount ?? 0, batches));
                    }
                }
            }
        }));
        await Task.Delay(s_warmUp);
        (double node, double caller) = Processor(cluster);
        double from = Stopwatch.GetElapsedTime(began).TotalSeconds;
        await Task.Delay(s_measured);
        (double nodeThen, double callerThen) = Processor(cluster);
        double to = Stopwatch.GetElapsedTime(began).TotalSeconds;
        await stop.CancelAsync();
        await running;
        (double Began, double First, double Ended, int Turn, long Prompt, long Warm, int Batches)[] counted = [.. calls.Where(call => call.Ended >= from && call.Ended <= to)];
        double firstTurn = calls.Where(call => call.Turn == 0).Average(call => call.Prompt);
        return new Measured(
            counted.Length * answer / (to - from), counted.Average(call => call.First - call.Began), counted.Average(call => call.Ended - call.Began), counted.Sum(call => (double)call.Warm) / counted.Sum(call => call.Prompt),
            counted.Average(call => call.Prompt), (int)Math.Round(firstTurn), counted.Average(call => call.Batches), (nodeThen - node) / counted.Length, (callerThen - caller) / counted.Length);
    }

    private static (double Nodes, double Caller) Processor(ClusterProcesses cluster)
    {
        using Process own = Process.GetCurrentProcess();
        return (cluster.Nodes.Sum(node => node.ProcessorSeconds), own.TotalProcessorTime.TotalSeconds);
    }

    /// <summary>Averages of calls.</summary>
    private sealed record Measured(double TokensPerSecond, double First, double Whole, double Warm, double Prompt, int Question, double Batches, double NodeSeconds, double ClientSeconds);
}
