using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Benchmarks.Engine;

/// <summary>The time from an agent's first question to the first token of its answer, with its instructions and tools computed before (<see cref="GemmaOptions.Warm"/>) and without.</summary>
internal static class WarmBenchmark
{
    public static Command Create()
    {
        Option<string> model = new("--model") { Required = true };
        Option<int> threads = new("--threads") { DefaultValueFactory = _ => 2 };
        Option<int> tools = new("--tools") { DefaultValueFactory = _ => 12 };
        Option<int> rounds = new("--rounds") { DefaultValueFactory = _ => 3 };
        Command command = new("warm", "Time to the first token of an agent's first answer, with and without GemmaOptions.Warm.") { model, threads, tools, rounds };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            ChatOptions agent = new()
            {
                Instructions = "You are the assistant of a travel agency. Answer in one sentence, name the source of every number, and ask back where a date or a place is missing.",
                Tools = [.. Enumerable.Range(0, parse.GetValue(tools)).Select(i => AIFunctionFactory.Create((string place, string date) => "", $"find_offer_{i}", $"Finds offers of kind {i} at a place on a date, with price, distance and the rules of cancellation."))],
            };
            Console.WriteLine("| round | prompt tokens | cold: cached, first token | warm: cached, first token | times |\n|---|---|---|---|---|");
            List<double> ratios = [];
            for (int round = 0; round < parse.GetValue(rounds); round++)
            {
                bool coldFirst = round % 2 == 0;
                (double Seconds, long Cached, long Prompt) one = await FirstTokenAsync(!coldFirst), two = await FirstTokenAsync(coldFirst);
                ((double Seconds, long Cached, long Prompt) cold, (double Seconds, long Cached, long Prompt) warm) = coldFirst ? (one, two) : (two, one);
                ratios.Add(cold.Seconds / warm.Seconds);
                Console.WriteLine($"| {round + 1} | {cold.Prompt} | {cold.Cached}, {1000 * cold.Seconds:0} ms | {warm.Cached}, {1000 * warm.Seconds:0} ms | {ratios[^1]:0.0} |");
            }

            Console.WriteLine($"\nMedian of the ratios: {Server.LoadSample.Median(ratios):0.0}");

            async Task<(double Seconds, long Cached, long Prompt)> FirstTokenAsync(bool isWarm)
            {
                GemmaOptions options = new() { Threads = parse.GetValue(threads) };
                if (isWarm)
                {
                    options.Warm(agent);
                }

                using GemmaModel loaded = GemmaModel.Load(parse.GetValue(model)!, options);
                await loaded.CompleteAsync("The", new ChatOptions { MaxOutputTokens = 1, Temperature = 0 }); // code is compiled, weights are read
                await loaded.Engine.IdlePrefixes.Running;
                ChatOptions asked = agent.Clone();
                (asked.Temperature, asked.MaxOutputTokens) = (0, 2);
                Stopwatch watch = Stopwatch.StartNew();
                double first = 0;
                UsageDetails? usage = null;
                await foreach (ChatResponseUpdate update in loaded.AsIChatClient().GetStreamingResponseAsync("Where can I go by train on Sunday?", asked))
                {
                    first = first == 0 ? watch.Elapsed.TotalSeconds : first;
                    usage = update.Contents.OfType<UsageContent>().FirstOrDefault()?.Details ?? usage;
                }

                return (first, usage?.CachedInputTokenCount ?? 0, usage?.InputTokenCount ?? 0);
            }
        });
        return command;
    }
}
