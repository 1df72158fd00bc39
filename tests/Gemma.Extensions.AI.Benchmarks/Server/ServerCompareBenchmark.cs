using System.CommandLine;
using System.Globalization;
using Gemma.Extensions.AI.Benchmarks.Speed;

namespace Gemma.Extensions.AI.Benchmarks.Server;

/// <summary>gemma serve and llama.cpp's own server side by side on one file: the same questions by the same API, in turn, with the bandwidth of the moment.</summary>
internal static class ServerCompareBenchmark
{
    private const int MostUsers = 8;

    public static Command Create()
    {
        Option<string> model = new("--model") { Required = true, Description = "GGUF file." };
        Option<string> gemma = new("--gemma") { Required = true, Description = "Gemma.Extensions.AI.Cli.dll, built in Release." };
        Option<string> llama = new("--llama-server") { Required = true, Description = "llama.cpp's server." };
        Option<int> threads = new("--threads") { DefaultValueFactory = _ => 2 };
        Option<int> rounds = new("--rounds") { DefaultValueFactory = _ => 5 };
        Option<int> words = new("--prompt-words") { DefaultValueFactory = _ => 60 };
        Option<int> tokens = new("--generate-tokens") { DefaultValueFactory = _ => 48 };
        Option<string> results = new("--results") { Required = true, Description = "File of samples, which further rounds are added to; the table is made of all." };
        Command command = new("server-compare", "Tokens a second and time to first token at 1, 4 and 8 users, beside llama.cpp's server.") { model, gemma, llama, threads, rounds, words, tokens, results };
        command.SetAction(async parse =>
        {
            CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
            string path = parse.GetRequiredValue(model), count = $"{parse.GetValue(threads)}";
            await using ServerProcess ours = await ServerProcess.StartGemmaAsync(
                parse.GetRequiredValue(gemma), "--model", path, "--threads", count, "--context", "1024", "--parallel", $"{MostUsers}", "--ignore-memory");
            await using ServerProcess theirs = await ServerProcess.StartAsync(parse.GetRequiredValue(llama), port =>
                ["--model", path, "--threads", count, "--threads-batch", count, "--ctx-size", $"{1024 * MostUsers}", "--parallel", $"{MostUsers}", "--host", "127.0.0.1", "--port", $"{port}"]);
            foreach (ServerProcess server in (ServerProcess[])[ours, theirs])
            {
                await ServedLoad.HttpAsync(server.Http, ServedLoad.Questions(-1, 2, 10), 4); // loaded and warm
            }

            string file = parse.GetRequiredValue(results);
            int done = File.Exists(file) ? File.ReadLines(file).Count() : 0;
            for (int round = 0; round < parse.GetValue(rounds); round++)
            {
                foreach (int users in (int[])[1, 4, 8])
                {
                    string[] questions = ServedLoad.Questions(1000 * (done + round) + users, users, parse.GetValue(words));
                    ServerProcess[] order = round % 2 == 0 ? [ours, theirs] : [theirs, ours];
                    foreach (ServerProcess server in order)
                    {
                        double bandwidth = MachinePeaks.ReadBandwidth(parse.GetValue(threads)), idle = (server == ours ? theirs : ours).ProcessorSeconds;
                        LoadSample sample = await ServedLoad.HttpAsync(server.Http, questions, parse.GetValue(tokens));
                        idle = (server == ours ? theirs : ours).ProcessorSeconds - idle; // the other one only waits
                        File.AppendAllText(file, $"{(server == ours ? "ours" : "llama.cpp")}\t{users}\t{sample.Tokens}\t{sample.Rate:0.00}\t{1000 * sample.FirstToken:0}\t{bandwidth:0.0}\t{idle:0.00}\n");
                    }
                }
            }

            Console.WriteLine(Table(File.ReadLines(file).Select(static line => line.Split('\t'))));
        });
        return command;
    }

    private static string Table(IEnumerable<string[]> samples)
    {
        List<string> lines = ["| users | ours, tokens/s | llama.cpp | times | ours, first token | llama.cpp | rounds |", "|---|---|---|---|---|---|---|"];
        foreach (IGrouping<string, string[]> users in samples.GroupBy(static sample => sample[1]))
        {
            double[] ours = Values("ours", 3), theirs = Values("llama.cpp", 3);
            lines.Add($"| {users.Key} | {Range(ours)} | {Range(theirs)} | {LoadSample.Median(ours) / LoadSample.Median(theirs):0.00} | {LoadSample.Median(Values("ours", 4)):0} ms | {LoadSample.Median(Values("llama.cpp", 4)):0} ms | {ours.Length} |");

            double[] Values(string who, int column) => [.. users.Where(sample => sample[0] == who).Select(sample => double.Parse(sample[column], CultureInfo.InvariantCulture))];
        }

        string[][] all = [.. samples];
        lines.Add("");
        lines.Add($"Read bandwidth before each run: {Range([.. all.Select(static sample => double.Parse(sample[5], CultureInfo.InvariantCulture))])} GB/s; processor time of the server that waited: at most {all.Max(static sample => double.Parse(sample[6], CultureInfo.InvariantCulture)):0.00} s a run.");
        return string.Join(Environment.NewLine, lines);

        static string Range(double[] values) => $"{LoadSample.Median(values):0.0} ({values.Min():0.0} to {values.Max():0.0})";
    }
}
