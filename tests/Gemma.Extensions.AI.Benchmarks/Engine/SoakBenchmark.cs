using System.CommandLine;
using System.Globalization;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>Thousands of concurrent requests, and what is left of them.</summary>
internal static class SoakBenchmark
{
    public static Command Create()
    {
        Option<string> model = new("--model") { Description = "Model to run; the tiny reference model is meant.", Required = true };
        Option<int> requests = new("--requests") { DefaultValueFactory = _ => 10_000, Description = "Requests in total." };
        Option<int> concurrent = new("--concurrent") { DefaultValueFactory = _ => 32, Description = "Requests at a time." };
        Option<int> megabytes = new("--kv-megabytes") { DefaultValueFactory = _ => 1, Description = "Key/value memory; small enough that sequences have to give way." };
        Command command = new("soak", "Thousands of concurrent requests: no mixed output, no leak, no block left behind.") { model, requests, concurrent, megabytes };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            using Soak soak = new(parse.GetRequiredValue(model), kinds: 240, parse.GetValue(concurrent), (long)parse.GetValue(megabytes) << 20);
            SoakReport report = await soak.RunAsync(parse.GetValue(requests));
            Print(report, parse.GetValue(requests), soak.Concurrent);
            return report.Clean ? 0 : 1;
        });
        return command;
    }

    private static void Print(SoakReport report, int requests, int concurrent)
    {
        Console.WriteLine($"{requests:N0} requests, {concurrent} at a time, in {report.Took.TotalSeconds:0.0} s: {report.Tokens:N0} tokens generated, {report.Cached:N0} prompt tokens from the cache");
        Console.WriteLine($"{report.Cancelled:N0} cancelled, {report.Broken:N0} broken off, {report.ToolCalls:N0} functions called, {report.Preemptions:N0} preemptions");
        Console.WriteLine($"wrong texts {report.Wrong:N0}, failed {report.Failed:N0}, blocks held at the end {report.UsedBlocks:N0} of {report.Blocks:N0}, requests held {report.Alive:N0}, managed memory grown since half-way {report.Memory.Growth / 1e6:0.0} MB");
        foreach ((int number, long managed, long resident) in report.Memory.Samples)
        {
            Console.WriteLine($"after {number,6:N0} requests: managed {managed / 1e6:0.0} MB, resident {resident / 1e6:0.0} MB");
        }
    }
}
