using System.CommandLine;
using System.Globalization;
using System.Runtime.InteropServices;
using Gemma.Extensions.AI.AspNetCore.Hosting;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>What HTTP and server-sent events cost: the same questions in process and over the loopback interface, in pairs, on one model. Server and client share the machine with the engine.</summary>
internal static class ServerOverheadBenchmark
{
    private const int Words = 20;

    public static Command Create()
    {
        Option<string> model = new("--model") { DefaultValueFactory = _ => "nano", Description = "Model that the server runs." };
        Option<int?> threads = new("--threads") { Description = "Threads that compute; all physical cores where not given." };
        Option<int[]> users = new("--users") { DefaultValueFactory = _ => [1, 4, 16], Description = "Numbers of users.", AllowMultipleArgumentsPerToken = true };
        Option<int> tokens = new("--generate-tokens") { DefaultValueFactory = _ => 32, Description = "Tokens of an answer." };
        Option<int> pairs = new("--pairs") { DefaultValueFactory = _ => 10, Description = "Pairs of runs, in turn the one and the other first." };
        Command command = new("server-overhead", "Tokens a second over HTTP beside those in process, in pairs.") { model, threads, users, tokens, pairs };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            string path = parse.GetValue(model)!;
            await using WebApplication app = ServerHost.Build(new ServerHostSettings { Port = 0 }, builder => builder.Services.AddKeyedGemmaChatClient("model", options =>
            {
                (options.ModelPath, options.Threads, options.ContextLength) = (path, parse.GetValue(threads), 1024);
                (options.PrefixCache, options.SpeculativeTokens) = (false, 0); // so that a pair computes the same
            }));
            await app.StartAsync();
            IChatClient client = app.Services.GetRequiredKeyedService<IChatClient>("model");
            using HttpClient http = new(new SocketsHttpHandler { MaxConnectionsPerServer = 100 }) { BaseAddress = new Uri(app.Urls.Single()), Timeout = TimeSpan.FromMinutes(10) };
            Console.WriteLine($"{Path.GetFileName(path)}, {RuntimeInformation.FrameworkDescription}: answers of {parse.GetValue(tokens)} tokens, {parse.GetValue(pairs)} pairs");
            Console.WriteLine();
            Console.WriteLine("| users | in process, tokens/s | over HTTP | slower by | 95 % interval | first token in process | over HTTP |");
            Console.WriteLine("|---|---|---|---|---|---|---|");
            foreach (int count in parse.GetValue(users)!)
            {
                await MeasureAsync(client, http, count, parse.GetValue(tokens), parse.GetValue(pairs));
            }
        });
        return command;
    }

    private static async Task MeasureAsync(IChatClient client, HttpClient http, int users, int tokens, int pairs)
    {
        List<LoadSample> inProcess = [], overHttp = [];
        for (int pair = -2; pair < pairs; pair++)
        {
            string[] questions = ServedLoad.Questions(pair, users, Words);
            LoadSample? http1 = pair % 2 == 0 ? await ServedLoad.HttpAsync(http, questions, tokens) : null;
            LoadSample own = await ServedLoad.InProcessAsync(client, questions, tokens);
            LoadSample served = http1 ?? await ServedLoad.HttpAsync(http, questions, tokens);
            if (own.Tokens != served.Tokens)
            {
                throw new InvalidOperationException($"{own.Tokens} tokens in process, {served.Tokens} over HTTP.");
            }

            if (pair >= 0) // the first two warm up
            {
                inProcess.Add(own);
                overHttp.Add(served);
            }
        }

        double[] ratios = [.. inProcess.Zip(overHttp, static (own, served) => Math.Log(own.Rate / served.Rate))];
        double mean = ratios.Average(), half = Student(ratios.Length - 1) * Math.Sqrt(ratios.Sum(x => (x - mean) * (x - mean)) / (ratios.Length - 1) / ratios.Length);
        Console.WriteLine($"| {users} | {LoadSample.Median(inProcess.Select(static s => s.Rate)):0.0} | {LoadSample.Median(overHttp.Select(static s => s.Rate)):0.0} | {Percent(mean)} | {Percent(mean - half)} to {Percent(mean + half)} | "
            + $"{1000 * LoadSample.Median(inProcess.Select(static s => s.FirstToken)):0.0} ms | {1000 * LoadSample.Median(overHttp.Select(static s => s.FirstToken)):0.0} ms |");
    }

    private static string Percent(double logarithm) => $"{100 * (Math.Exp(logarithm) - 1):0.0} %";

    /// <summary>The 97.5 % quantile of Student's t, by Cornish and Fisher's expansion about the normal one; right to 1 % from five degrees of freedom on.</summary>
    private static double Student(int degrees)
    {
        const double Z = 1.959964;
        return Z + (Z * Z * Z + Z) / (4.0 * degrees) + (5 * Math.Pow(Z, 5) + 16 * Math.Pow(Z, 3) + 3 * Z) / (96.0 * degrees * degrees);
    }
}
