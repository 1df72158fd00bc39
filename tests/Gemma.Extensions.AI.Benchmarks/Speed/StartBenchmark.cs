using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>Seconds from the start of a process to the first token of an answer, through the public chat client. Each run is a process of its own.</summary>
internal static class StartBenchmark
{
    /// <summary>First argument of a process that starts once; the second is the model, the third True for huge pages.</summary>
    public const string OneStart = "start-once";

    public static Command Create()
    {
        Option<string> model = new("--model") { Required = true, Description = "Model file; read once before, so that it lies in the page cache." };
        Option<int> repeat = new("--repeat") { DefaultValueFactory = _ => 5 };
        Option<bool> huge = new("--huge-pages") { Description = "With GemmaOptions.HugePages." };
        Option<string?> results = new("--results") { Description = "Directory for the table." };
        Command command = new("start", "Process start to first token of a model in the page cache.") { model, repeat, huge, results };
        command.SetAction(parse => Report(parse.GetRequiredValue(model), parse.GetValue(repeat), parse.GetValue(huge), parse.GetValue(results)));
        return command;
    }

    /// <summary>One start, in this process: prints the seconds since the process started.</summary>
    public static async Task FirstTokenAsync(string path, bool hugePages)
    {
        DateTime started = Process.GetCurrentProcess().StartTime;
        using GemmaModel model = GemmaModel.Load(path, new GemmaOptions { ContextLength = 2048, HugePages = hugePages });
        double loaded = (DateTime.Now - started).TotalSeconds;
        using IChatClient client = model.AsIChatClient();
        await client.GetResponseAsync("Hello!", new ChatOptions { MaxOutputTokens = 1 });
        double first = (DateTime.Now - started).TotalSeconds;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{loaded:F3} {first:F3}"));
    }

    private static void Report(string path, int repeat, bool hugePages, string? results)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        using (FileStream file = File.OpenRead(path))
        {
            file.CopyTo(Stream.Null, 1 << 20);
        }

        StringBuilder text = new();
        text.AppendLine($"# Start to first token: {Path.GetFileName(path)}").AppendLine();
        text.AppendLine($"From the start of the process (the operating system's record, to a hundredth) to the end of an answer of one token to \"Hello!\", model in the page cache{(hugePages ? ", huge pages" : "")}, {DateTime.UtcNow:yyyy-MM-dd}.").AppendLine();
        text.AppendLine("| run | model loaded, s | first token, s |").AppendLine("|---|---|---|");
        List<double> firsts = new();
        for (int i = 0; i < repeat; i++)
        {
            using Process process = Process.Start(new ProcessStartInfo(Environment.ProcessPath!, [OneStart, path, $"{hugePages}"]) { RedirectStandardOutput = true })!;
            string[] numbers = process.StandardOutput.ReadToEnd().Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            process.WaitForExit();
            firsts.Add(double.Parse(numbers[1], CultureInfo.InvariantCulture));
            text.AppendLine($"| {i + 1} | {numbers[0]} | {numbers[1]} |");
        }

        text.AppendLine($"| median | | **{firsts.Order().ElementAt(firsts.Count / 2):F2}** |");
        Console.WriteLine(text);
        if (results is not null)
        {
            File.WriteAllText(Path.Combine(results, $"start-{Path.GetFileNameWithoutExtension(path)}{(hugePages ? "-huge-pages" : "")}.md"), text.ToString());
        }
    }
}
