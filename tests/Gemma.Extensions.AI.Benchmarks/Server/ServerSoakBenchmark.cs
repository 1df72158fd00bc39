using System.CommandLine;
using System.Globalization;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>The soak of the server as a command.</summary>
internal static class ServerSoakBenchmark
{
    public static Command Create()
    {
        Option<string> model = new("--model") { DefaultValueFactory = _ => "nano", Description = "Model that the server runs." };
        Option<int> requests = new("--requests") { DefaultValueFactory = _ => 10_000, Description = "Requests." };
        Option<int> concurrent = new("--concurrent") { DefaultValueFactory = _ => 16, Description = "Requests at a time." };
        Command command = new("server-soak", "Requests by all of OpenAI's, Ollama's and Anthropic's APIs that answer or embed, with disconnects: none may be lost, memory has to stay flat.") { model, requests, concurrent };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            await using ServerSoak soak = await ServerSoak.StartAsync(parse.GetValue(model)!);
            ServerSoakReport report = await soak.RunAsync(parse.GetValue(requests), parse.GetValue(concurrent));
            Console.WriteLine($"{report.Right:N0} right, {report.Left:N0} left in the middle, {report.Wrong} wrong, {report.Lost} lost, {report.Leftovers} left over in the engine, {report.Took.TotalSeconds:N0} s: {(report.Clean ? "clean" : "NOT CLEAN")}");
            Console.WriteLine();
            Console.WriteLine("| requests | managed | resident |");
            Console.WriteLine("|---|---|---|");
            foreach ((int count, long managed, long resident) in report.Memory.Samples)
            {
                Console.WriteLine($"| {count:N0} | {managed / 1e6:N1} MB | {resident / 1e6:N0} MB |");
            }

            return report.Clean ? 0 : 1;
        });
        return command;
    }
}
