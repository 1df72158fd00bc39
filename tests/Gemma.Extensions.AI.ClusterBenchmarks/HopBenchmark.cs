using System.Diagnostics;
using Gemma.Extensions.AI.Orleans;
using Gemma.Extensions.AI.Orleans.Nodes;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans.Hosting;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>A cluster of one against the same model in this process, by turns, each question asked once, and as good as nothing of it warm for the next: time to the first token, and tokens a second. Silo and client are in this process; calls go through sockets and serializers all the same.</summary>
internal static class HopBenchmark
{
    /// <summary>Pairs that do not count: a call's code is compiled once more after 30 calls, which are many where a model is slow.</summary>
    private const int WarmUp = 60;

    public static async Task<int> RunAsync(string path, int rounds, int most)
    {
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleans(silo => silo.UseLocalhostClustering(11931, 30931).AddGemmaNode(options => options.AddModel("model", path)));
        using IHost silo = builder.Build();
        await silo.StartAsync();
        HostApplicationBuilder outside = Host.CreateApplicationBuilder();
        outside.Logging.ClearProviders();
        outside.UseOrleansClient(client => client.UseLocalhostClustering(30931));
        outside.Services.AddGemmaClusterChatClient("model");
        using IHost caller = outside.Build();
        await caller.StartAsync();
        IChatClient far = caller.Services.GetRequiredService<IChatClient>();
        GemmaModel model = silo.Services.GetRequiredService<NodeModels>().All[0].Model;
        using IChatClient near = model.AsIChatClient();
        Dictionary<int, float> endless = Endless(model);
        List<double> firsts = [], rates = [];
        for (int round = -WarmUp; round < rounds; round++)
        {
            bool farFirst = round % 2 == 0;
            int tokens = round < 0 ? 2 : most;
            (double First, double Rate) a = await MeasureAsync(farFirst ? far : near, 2 * round, tokens, endless), b = await MeasureAsync(farFirst ? near : far, (2 * round) + 1, tokens, endless);
            ((double First, double Rate) there, (double First, double Rate) here) = farFirst ? (a, b) : (b, a);
            if (round >= 0)
            {
                firsts.Add(there.First - here.First);
                rates.Add(there.Rate / here.Rate);
                Console.Error.WriteLine($"first {here.First:0.0} ms here, {there.First:0.0} there; {here.Rate:0.0} tokens/s here, {there.Rate:0.0} there");
            }
        }

        Console.WriteLine($"{Path.GetFileName(path)}, {rounds} pairs of {most} tokens: first token {Median(firsts):+0.0;-0.0} ms, tokens a second {Median(rates):0.000} of in process (quartiles {Quartile(rates, 1):0.000} to {Quartile(rates, 3):0.000}).");
        await caller.StopAsync();
        await silo.StopAsync();
        return Median(firsts) <= 5 && Median(rates) >= 0.97 ? 0 : 1;
    }

    /// <summary>A bias against a model's end tokens, with which all answers have the same length.</summary>
    public static Dictionary<int, float> Endless(GemmaModel model) => new() { [model.Tokenizer.EosId] = float.NegativeInfinity, [model.Tokenizer.EndOfTurnId] = float.NegativeInfinity };

    public static ChatOptions Options(int tokens, Dictionary<int, float> bias) =>
        new() { Temperature = 0, MaxOutputTokens = tokens, RawRepresentationFactory = _ => new GemmaGenerationOptions { LogitBias = bias } };

    private static async Task<(double First, double Rate)> MeasureAsync(IChatClient client, int number, int tokens, Dictionary<int, float> bias)
    {
        ChatOptions options = Options(tokens, bias);
        long began = Stopwatch.GetTimestamp();
        double first = 0;
        int count = 0;
        await foreach (ChatResponseUpdate update in client.GetStreamingResponseAsync($"{new string([.. $"{number + 1000}".Reverse()])}: what is a river, and where does it go?", options))
        {
            first = first == 0 ? Stopwatch.GetElapsedTime(began).TotalMilliseconds : first;
            count = (int?)update.Contents.OfType<UsageContent>().FirstOrDefault()?.Details.OutputTokenCount ?? count;
        }

        double all = Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        return (first, (count - 1) / (all - first) * 1000);
    }

    private static double Median(List<double> values) => Quartile(values, 2);

    private static double Quartile(List<double> values, int number) => values.Order().ElementAt(Math.Min(values.Count - 1, values.Count * number / 4));
}
