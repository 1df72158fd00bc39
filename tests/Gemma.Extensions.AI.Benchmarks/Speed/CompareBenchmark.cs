using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Microsoft.Win32.SafeHandles;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// Makes a synthetic model, runs the forward pass and node-llama-cpp alternately on it, each in a process of its own, and writes what came out with the
/// bandwidth of the moment: the memory of shared machines swings, so only runs side by side can be compared.
/// </summary>
internal static class CompareBenchmark
{
    public static Command Create()
    {
        Option<string> size = new("--size") { DefaultValueFactory = _ => "2b", Description = "2b, 9b or 27b." };
        Option<string> type = new("--type") { DefaultValueFactory = _ => "q4_k", Description = "q4_k (as Q4_K_M), q4_0, q8_0, bf16." };
        Option<string> models = new("--models") { Required = true, Description = "Directory of the models; made there if missing." };
        Option<string> generator = new("--generator") { Required = true, Description = "make_gguf.py." };
        Option<string> python = new("--python") { DefaultValueFactory = _ => "python3" };
        Option<string> other = new("--node-bench") { Required = true, Description = "node-llama-bench.mjs in a directory where node-llama-cpp is installed." };
        Option<int> rounds = new("--rounds") { DefaultValueFactory = _ => 3, Description = "Runs of each engine, alternating." };
        Option<int> prompt = new("--prompt-tokens") { DefaultValueFactory = _ => 512 };
        Option<int> generate = new("--generate-tokens") { DefaultValueFactory = _ => 64 };
        Option<int> depth = new("--depth");
        Option<int> threads = new("--threads") { DefaultValueFactory = _ => 2 };
        Option<string> results = new("--results") { Required = true, Description = "Directory for the table." };
        Option<bool> huge = new("--huge-pages") { Description = "Ours with GemmaOptions.HugePages." };
        Option<bool> append = new("--append") { Description = "Go on with the rounds that the table holds already." };
        Option<bool> oursOnly = new("--ours-only") { Description = "Do not run node-llama-cpp (where it does not fit the machine)." };
        Command command = new("compare", "Ours and node-llama-cpp, alternately, on a synthetic model: a table with medians, ratios and bandwidth.")
        {
            size, type, models, generator, python, other, rounds, prompt, generate, depth, threads, huge, results, append, oursOnly,
        };
        command.SetAction(parse =>
        {
            string name = $"{parse.GetValue(size)}-{parse.GetValue(type)}";
            string model = Path.Combine(parse.GetRequiredValue(models), $"{name}.gguf");
            if (!File.Exists(model))
            {
                Execute(parse.GetValue(python)!, [parse.GetRequiredValue(generator), "--size", parse.GetValue(size)!, "--type", parse.GetValue(type)!, "--out", model]);
            }

            Settings settings = new(model, parse.GetValue(prompt), parse.GetValue(generate), parse.GetValue(depth), parse.GetValue(threads), parse.GetValue(huge));
            string suffix = (settings.Depth > 0 ? $"{name}-depth-{settings.Depth}" : name) + (settings.HugePages ? "-huge-pages" : "");
            Compare(
                settings, parse.GetValue(oursOnly) ? null : parse.GetRequiredValue(other), parse.GetValue(rounds), parse.GetValue(append),
                Path.Combine(parse.GetRequiredValue(results), $"compare-{suffix}.md"));
        });
        return command;
    }

    private static void Compare(Settings settings, string? nodeBench, int rounds, bool append, string target)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        List<Sample> ours = new();
        List<Sample> theirs = new();
        if (append && File.Exists(target))
        {
            Read(target, ours, theirs);
        }

        string kernel = "";
        for (int i = 0; i < rounds; i++)
        {
            if (nodeBench is not null)
            {
                theirs.Add(Theirs(settings, nodeBench, MachinePeaks.ReadBandwidth(settings.Threads)));
            }

            ours.Add(Ours(settings, MachinePeaks.ReadBandwidth(settings.Threads), out kernel));

            // After each round: what was measured is not lost where time runs out.
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(target))!);
            File.WriteAllText(target, Report(settings, kernel, ours, theirs));
            Console.WriteLine(string.Join(Environment.NewLine, File.ReadLines(target).Where(line => line.StartsWith('|'))));
        }
    }

    /// <summary>The rounds of a table that <see cref="Report"/> wrote.</summary>
    private static void Read(string table, List<Sample> ours, List<Sample> theirs)
    {
        foreach (string[] cells in File.ReadLines(table).Select(line => line.Split('|', StringSplitOptions.TrimEntries)).Where(cells => cells.Length >= 8 && int.TryParse(cells[1], out _)))
        {
            double Number(int column) => double.Parse(cells[column], CultureInfo.InvariantCulture);
            (cells[2] == "ours" ? ours : theirs).Add(new Sample(Number(3), Number(4), Number(6), Number(7), cells.Length > 9 && double.TryParse(cells[8], CultureInfo.InvariantCulture, out double own) ? own : null));
        }
    }

    private static Sample Ours(Settings settings, double bandwidth, out string kernel)
    {
        string output = Execute(Environment.ProcessPath!, [
            "forward", "--model", settings.Model, "--prompt-tokens", $"{settings.Prompt}", "--generate-tokens", $"{settings.Generate}", "--depth", $"{settings.Depth}",
            "--threads", $"{settings.Threads}", "--repeat", "1", .. settings.HugePages ? ["--huge-pages"] : (string[])[]]);
        using JsonDocument json = JsonDocument.Parse(output);
        JsonElement root = json.RootElement;
        kernel = root.GetProperty("kernel").GetString()!;
        return new Sample(
            root.GetProperty("prompt_tokens_per_second").GetDouble(), root.GetProperty("generate_tokens_per_second").GetDouble(),
            root.GetProperty("peak_resident_bytes").GetInt64() / 1e9, bandwidth, root.GetProperty("anonymous_bytes").GetInt64() / 1e9);
    }

    private static Sample Theirs(Settings settings, string script, double bandwidth)
    {
        string output = Execute("node", [
            script, "--model", settings.Model, "--pp", $"{settings.Prompt}", "--tg", $"{settings.Generate}", "--depth", $"{settings.Depth}",
            "--threads", $"{settings.Threads}", "--repeats", "1"]);
        using JsonDocument json = JsonDocument.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..]);
        JsonElement root = json.RootElement;
        return new Sample(
            root.GetProperty("pp").GetDouble(), root.GetProperty("tg").GetDouble(), root.GetProperty("end").GetProperty("hwmGB").GetDouble() * 1.073741824, bandwidth,
            root.GetProperty("end").GetProperty("anonGB").GetDouble() * 1.073741824);
    }

    private static string Report(Settings settings, string kernel, List<Sample> ours, List<Sample> theirs)
    {
        using SafeFileHandle handle = File.OpenHandle(settings.Model);
        double file = RandomAccess.GetLength(handle) / 1e9; // a link's FileInfo has the length of the link
        StringBuilder text = new();
        text.AppendLine($"# {Path.GetFileNameWithoutExtension(settings.Model)}: {kernel}{(settings.HugePages ? ", huge pages" : "")}{(theirs.Count > 0 ? " and node-llama-cpp, alternating" : "")}").AppendLine();
        text.AppendLine($"{Processor()}, {settings.Threads} threads, {RuntimeInformation.FrameworkDescription}, {DateTime.UtcNow:yyyy-MM-dd}. Model file: {file:F2} GB, synthetic weights.");
        text.AppendLine($"Prompt {settings.Prompt} tokens, {settings.Generate} generated at depth {settings.Depth}. Each round is a process of its own.");
        text.AppendLine("The read bandwidth is what as many threads reading in four streams each got just before; \"weights GB/s\" is the size of the file times the tokens generated a second.");
        text.AppendLine("\"Not of the file\": resident memory at the end that is the process's own (RssAnon), key/value memory included; the rest is the mapped file. With huge pages the weights are the process's own.").AppendLine();
        text.AppendLine("| round | engine | prompt tok/s | generate tok/s | weights GB/s | peak resident GB | read GB/s just before | not of the file GB |").AppendLine("|---|---|---|---|---|---|---|---|");
        for (int i = 0; i < ours.Count; i++)
        {
            if (i < theirs.Count)
            {
                text.AppendLine(Row(i, "node-llama-cpp", theirs[i], file));
            }

            text.AppendLine(Row(i, "ours", ours[i], file));
        }

        if (theirs.Count > 0)
        {
            double promptRatio = Median(ours, s => s.Prompt) / Median(theirs, s => s.Prompt), generateRatio = Median(ours, s => s.Generate) / Median(theirs, s => s.Generate);
            text.AppendLine($"| median | node-llama-cpp | {Median(theirs, s => s.Prompt):F1} | {Median(theirs, s => s.Generate):F2} | | | | |");
            text.AppendLine($"| median | ours | {Median(ours, s => s.Prompt):F1} | {Median(ours, s => s.Generate):F2} | | | | |");
            text.AppendLine($"| ratio of medians | | **{promptRatio:F2}** | **{generateRatio:F2}** | | | | |");
        }

        text.AppendLine().AppendLine($"Command: `compare --size … --type … --prompt-tokens {settings.Prompt} --generate-tokens {settings.Generate} --depth {settings.Depth}{(settings.HugePages ? " --huge-pages" : "")}`, {ours.Count} rounds.");
        return text.ToString();
    }

    private static string Row(int round, string engine, Sample sample, double file) =>
        $"| {round + 1} | {engine} | {sample.Prompt:F1} | {sample.Generate:F2} | {sample.Generate * file:F1} | {sample.ResidentGigabytes:F2} | {sample.Bandwidth:F1} | {sample.AnonymousGigabytes:F2} |";

    private static double Median(List<Sample> samples, Func<Sample, double> value)
    {
        double[] sorted = [.. samples.Select(value).Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    internal static string Processor() => File.Exists("/proc/cpuinfo")
        ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString()
        : RuntimeInformation.ProcessArchitecture.ToString();

    private static string Execute(string file, IEnumerable<string> arguments)
    {
        ProcessStartInfo start = new(file, arguments) { RedirectStandardOutput = true };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"'{file}' did not start.");
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"'{file}' ended with {process.ExitCode}.");
    }

    private sealed record Settings(string Model, int Prompt, int Generate, int Depth, int Threads, bool HugePages);

    private readonly record struct Sample(double Prompt, double Generate, double ResidentGigabytes, double Bandwidth, double? AnonymousGigabytes);
}
