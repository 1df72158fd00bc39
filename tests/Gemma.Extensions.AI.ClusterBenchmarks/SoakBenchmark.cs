using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI.Orleans;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>
/// Many requests while nodes come and go: of those that stay, memory must be flat, and at the end nobody may work on anything. Of the two nodes that stay one is only watched; the other
/// is made to collect before each sample, which shows what lives.
/// </summary>
internal static class SoakBenchmark
{
    private static readonly TimeSpan s_think = TimeSpan.FromSeconds(2);

    public static async Task<int> RunAsync(int requests, int conversations, TimeSpan time, string samplesPath)
    {
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        ClusterLoad load = await ClusterLoad.CreateAsync(model, 24);
        await using ClusterProcesses cluster = new(typeof(SoakBenchmark).Assembly.Location, "nano", 64_000_000);
        await cluster.StartAsync(3);
        NodeProcess[] staying = [.. cluster.Nodes.Take(2)];
        using MoveCounter moves = new();
        using GemmaClusterChatClient client = new(cluster.Client, "model");
        Task running = load.RunAsync(client, conversations, think: s_think);
        List<Sample> samples = [];
        Random random = new(3);
        long began = Stopwatch.GetTimestamp();
        int replaced = 0;
        while (load.Done < requests || Stopwatch.GetElapsedTime(began) < time)
        {
            await ReplaceAsync(cluster, cluster.Nodes.First(node => !staying.Contains(node)), random.Next(2) == 0);
            replaced++;
            samples.Add(new Sample(Stopwatch.GetElapsedTime(began).TotalMinutes, load.Done, GC.GetTotalMemory(forceFullCollection: true), await staying[0].MemoryAsync(collect: false), await staying[1].MemoryAsync(collect: true)));
            Console.Error.WriteLine($"{load.Wrong + load.Failed} wrong or failed; {samples[^1].ToLine()}");
            await Task.Delay(TimeSpan.FromSeconds(8));
        }

        load.Stop();
        await running;
        await Task.Delay(TimeSpan.FromSeconds(2));
        int orphans = 0;
        foreach (NodeProcess node in cluster.Nodes)
        {
            orphans += await node.RunningCallsAsync();
        }

        await File.WriteAllLinesAsync(samplesPath, samples.Select(sample => sample.ToLine()).Prepend(Sample.Header));
        Console.WriteLine($"{load.Done} requests, {conversations} at a time, {replaced} nodes came and went, {Stopwatch.GetElapsedTime(began).TotalMinutes:0.0} min: {load.Right} right, {load.Wrong} of another text, {load.Failed} failed; {orphans} calls left on nodes; {moves}.");
        Sample[] settled = [.. samples.Where(sample => sample.Minutes > time.TotalMinutes / 3)];
        Console.WriteLine($"Growth after the first third, {settled.Length} samples (MB a minute, two standard errors):");
        Growth("callers' managed memory in use", sample => sample.Callers);
        foreach ((string node, Func<Sample, NodeMemory> memory) in ((string, Func<Sample, NodeMemory>)[])[("a node", sample => sample.Watched), ("the node that is made to collect", sample => sample.Collecting)])
        {
            Growth($"{node}, resident", sample => memory(sample).Resident);
            Growth($"{node}, managed in use", sample => memory(sample).Managed);
            Growth($"{node}, held by the garbage collector", sample => memory(sample).Committed);
            Growth($"{node}, given out by malloc", sample => memory(sample).Native);
            Growth($"{node}, free but held by malloc", sample => memory(sample).NativeFree);
        }

        load.Errors.Take(3).ToList().ForEach(Console.WriteLine);
        return load.Wrong + load.Failed + orphans == 0 ? 0 : 1;

        void Growth(string what, Func<Sample, long> bytes)
        {
            (double slope, double error) = Fit([.. settled.Select(sample => (sample.Minutes, bytes(sample) / 1e6))]);
            Console.WriteLine($"  {what}: {slope:+0.000;-0.000} ± {2 * error:0.000} from {bytes(settled[0]) / 1e6:0.0} MB to {bytes(settled[^1]) / 1e6:0.0}");
        }
    }

    private static async Task ReplaceAsync(ClusterProcesses cluster, NodeProcess leaving, bool kill)
    {
        await cluster.AddNodeAsync();
        if (kill)
        {
            cluster.Kill(leaving);
        }
        else
        {
            await cluster.StopAsync(leaving);
        }
    }

    /// <summary>Least squares: slope and its standard error.</summary>
    private static (double Slope, double Error) Fit((double X, double Y)[] points)
    {
        double x = points.Average(point => point.X), y = points.Average(point => point.Y), square = points.Sum(point => (point.X - x) * (point.X - x));
        double slope = points.Sum(point => (point.X - x) * (point.Y - y)) / square;
        double rest = points.Sum(point => Math.Pow(point.Y - y - (slope * (point.X - x)), 2));
        return (slope, Math.Sqrt(rest / Math.Max(1, points.Length - 2) / square));
    }

    private sealed record Sample(double Minutes, int Done, long Callers, NodeMemory Watched, NodeMemory Collecting)
    {
        private const string Node = "resident,managed in use,held by the collector,given out by malloc,free but held by malloc";

        public const string Header = $"minutes,requests,callers managed in use,node: {Node},node that collects: {Node}";

        public string ToLine() => string.Create(CultureInfo.InvariantCulture, $"{Minutes:0.00},{Done},{Callers},") + $"{Watched} {Collecting}".Replace(' ', ',');
    }
}
