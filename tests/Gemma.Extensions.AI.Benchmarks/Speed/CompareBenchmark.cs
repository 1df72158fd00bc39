using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>
/// Makes a synthetic model, runs the forward pass and node-llama-cpp alternately on it, each in a process of its own, and writes what came out with the
/// bandwidth of the moment: the memory of shared machines swings, so only runs side by side can be compared.
/// </summary>
internal static class CompareBenchmark
{
    public static Command Create()
    {
        var size = new Option<string>("--size") { DefaultValueFactory = _ => "2b", Description = "2b, 9b or 27b." };
        var type = new Option<string>("--type") { DefaultValueFactory = _ => "q4_k", Description = "q4_k (as Q4_K_M), q4_0, q8_0, bf16." };
        var models = new Option<string>("--models") { Required = true, Description = "Directory of the models; made there if missing." };
        var generator = new Option<string>("--generator") { Required = true, Description = "make_gguf.py." };
        var python = new Option<string>("--python") { DefaultValueFactory = _ => "python3" };
        var other = new Option<string>("--node-bench") { Required = true, Description = "node-llama-bench.mjs in a directory where node-llama-cpp is installed." };
        var rounds = new Option<int>("--rounds") { DefaultValueFactory = _ => 3, Description = "Runs of each engine, alternating." };
        var prompt = new Option<int>("--prompt-tokens") { DefaultValueFactory = _ => 512 };
        var generate = new Option<int>("--generate-tokens") { DefaultValueFactory = _ => 64 };
        var depth = new Option<int>("--depth");
        var threads = new Option<int>("--threads") { DefaultValueFactory = _ => 2 };
        var results = new Option<string>("--results") { Required = true, Description = "Directory for the table." };
        var command = new Command("compare", "Ours and node-llama-cpp, alternately, on a synthetic model: a table with medians, ratios and bandwidth.")
        {
            size, type, models, generator, python, other, rounds, prompt, generate, depth, threads, results,
        };
        command.SetAction(parse =>
        {
            string name = $"{parse.GetValue(size)}-{parse.GetValue(type)}";
            string model = Path.Combine(parse.GetRequiredValue(models), $"{name}.gguf");
            if (!File.Exists(model))
            {
                Execute(parse.GetValue(python)!, [parse.GetRequiredValue(generator), "--size", parse.GetValue(size)!, "--type", parse.GetValue(type)!, "--out", model]);
            }

            var settings = new Settings(model, parse.GetValue(prompt), parse.GetValue(generate), parse.GetValue(depth), parse.GetValue(threads));
            string suffix = settings.Depth > 0 ? $"{name}-depth-{settings.Depth}" : name;
            Compare(settings, parse.GetRequiredValue(other), parse.GetValue(rounds), Path.Combine(parse.GetRequiredValue(results), $"compare-{suffix}.md"));
        });
        return command;
    }

    private sealed record Settings(string Model, int Prompt, int Generate, int Depth, int Threads);

    private readonly record struct Sample(double Prompt, double Generate, double ResidentGigabytes, double Bandwidth, string Kernel);

    private static void Compare(Settings settings, string nodeBench, int rounds, string target)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        var ours = new List<Sample>();
        var theirs = new List<Sample>();
        for (int i = 0; i < rounds; i++)
        {
            double bandwidth = ReadBandwidth(settings.Threads);
            theirs.Add(Theirs(settings, nodeBench, bandwidth));
            bandwidth = ReadBandwidth(settings.Threads);
            ours.Add(Ours(settings, bandwidth));
            Console.WriteLine($"round {i + 1}: ours {ours[i].Prompt:F1} / {ours[i].Generate:F2}, node-llama-cpp {theirs[i].Prompt:F1} / {theirs[i].Generate:F2} at {bandwidth:F1} GB/s");
        }

        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(target))!);
        File.WriteAllText(target, Report(settings, ours, theirs));
        Console.WriteLine(target);
    }

    private static Sample Ours(Settings settings, double bandwidth)
    {
        string output = Execute(Environment.ProcessPath!, [
            "forward", "--model", settings.Model, "--prompt-tokens", $"{settings.Prompt}", "--generate-tokens", $"{settings.Generate}", "--depth", $"{settings.Depth}",
            "--threads", $"{settings.Threads}", "--repeat", "2"]);
        using var json = JsonDocument.Parse(output);
        JsonElement root = json.RootElement;
        return new Sample(
            root.GetProperty("prompt_tokens_per_second").GetDouble(), root.GetProperty("generate_tokens_per_second").GetDouble(),
            root.GetProperty("peak_resident_bytes").GetInt64() / 1e9, bandwidth, root.GetProperty("kernel").GetString()!);
    }

    private static Sample Theirs(Settings settings, string script, double bandwidth)
    {
        string output = Execute("node", [
            script, "--model", settings.Model, "--pp", $"{settings.Prompt}", "--tg", $"{settings.Generate}", "--depth", $"{settings.Depth}",
            "--threads", $"{settings.Threads}", "--repeats", "2"]);
        using var json = JsonDocument.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..]);
        JsonElement root = json.RootElement;
        return new Sample(
            root.GetProperty("pp").GetDouble(), root.GetProperty("tg").GetDouble(), root.GetProperty("end").GetProperty("hwmGB").GetDouble() * 1.073741824, bandwidth, "node-llama-cpp");
    }

    private static string Report(Settings settings, List<Sample> ours, List<Sample> theirs)
    {
        double promptRatio = Median(ours, s => s.Prompt) / Median(theirs, s => s.Prompt), generateRatio = Median(ours, s => s.Generate) / Median(theirs, s => s.Generate);
        var text = new StringBuilder();
        text.AppendLine($"# {Path.GetFileNameWithoutExtension(settings.Model)}: {ours[0].Kernel} and node-llama-cpp, alternating").AppendLine();
        text.AppendLine($"{Processor()}, {settings.Threads} threads, {RuntimeInformation.FrameworkDescription}, {DateTime.UtcNow:yyyy-MM-dd}.");
        text.AppendLine($"Prompt {settings.Prompt} tokens, {settings.Generate} generated at depth {settings.Depth}; synthetic weights. Each number is the median of two measurements of one process.").AppendLine();
        text.AppendLine("| round | engine | prompt tok/s | generate tok/s | peak resident GB | read GB/s just before |").AppendLine("|---|---|---|---|---|---|");
        for (int i = 0; i < ours.Count; i++)
        {
            text.AppendLine($"| {i + 1} | node-llama-cpp | {theirs[i].Prompt:F1} | {theirs[i].Generate:F2} | {theirs[i].ResidentGigabytes:F2} | {theirs[i].Bandwidth:F1} |");
            text.AppendLine($"| {i + 1} | ours | {ours[i].Prompt:F1} | {ours[i].Generate:F2} | {ours[i].ResidentGigabytes:F2} | {ours[i].Bandwidth:F1} |");
        }

        text.AppendLine($"| ratio of medians | | **{promptRatio:F2}** | **{generateRatio:F2}** | | |").AppendLine();
        text.AppendLine($"Model file: {new FileInfo(settings.Model).Length / 1e9:F2} GB. Command: `compare --size … --type … --prompt-tokens {settings.Prompt} --generate-tokens {settings.Generate} --depth {settings.Depth} --rounds {ours.Count}`.");
        return text.ToString();
    }

    private static double Median(List<Sample> samples, Func<Sample, double> value)
    {
        double[] sorted = [.. samples.Select(value).Order()];
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }

    /// <summary>Bytes read a second by all threads together, each summing its own memory; the best of a few passes.</summary>
    private static double ReadBandwidth(int threads)
    {
        float[][] data = [.. Enumerable.Range(0, threads).Select(_ => new float[48 << 20])];
        foreach (float[] part in data)
        {
            Array.Fill(part, 1f);
        }

        double best = 0;
        for (int i = 0; i < 4; i++)
        {
            long start = Stopwatch.GetTimestamp();
            Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, t => TensorPrimitives.Sum(data[t]));
            best = Math.Max(best, threads * (double)(48 << 20) * sizeof(float) / Stopwatch.GetElapsedTime(start).TotalSeconds);
        }

        return best / 1e9;
    }

    private static string Processor() => File.Exists("/proc/cpuinfo")
        ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(':')[1].Trim() ?? RuntimeInformation.ProcessArchitecture.ToString()
        : RuntimeInformation.ProcessArchitecture.ToString();

    private static string Execute(string file, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(file, arguments) { RedirectStandardOutput = true };
        using Process process = Process.Start(start) ?? throw new InvalidOperationException($"'{file}' did not start.");
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? output : throw new InvalidOperationException($"'{file}' ended with {process.ExitCode}.");
    }
}
