using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Quantization;

namespace Gemma.Extensions.AI.Benchmarks;

/// <summary>Time and memory of writing a model in another type.</summary>
internal static class QuantizeBenchmark
{
    public static Command Create()
    {
        Option<string> model = new("--model") { Required = true, Description = "Model file, best in BF16." };
        Option<string[]> types = new("--types") { DefaultValueFactory = _ => ["Q4_K_M"], AllowMultipleArgumentsPerToken = true };
        Option<string> output = new("--output") { Required = true, Description = "File to write; deleted afterwards." };
        Option<int?> threads = new("--threads");
        Command command = new("quantize", "Time, rate and memory of 'gemma quantize': a row of a table for each type.") { model, types, output, threads };
        command.SetAction(result =>
        {
            foreach (string type in result.GetRequiredValue(types))
            {
                Run(result.GetRequiredValue(model), type, result.GetRequiredValue(output), result.GetValue(threads));
            }
        });
        return command;
    }

    private static void Run(string model, string type, string output, int? threads)
    {
        using ModelFile source = ModelFile.Open(model);
        Stopwatch watch = Stopwatch.StartNew();
        PeakMemory memory = new();
        ModelConverter.Write(source, QuantizationRecipe.Get(type), output, threads: threads, progress: memory);
        double seconds = watch.Elapsed.TotalSeconds;
        long before = source.Tensors.Values.Sum(tensor => tensor.ByteLength), after = new FileInfo(output).Length;
        File.Delete(output);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {type} | {threads ?? Environment.ProcessorCount} | {seconds:F1} s | {source.Config.ParameterCount / seconds / 1e6:F1} M weights/s | {before / seconds / 1e6:F0} MB/s read | {after / 1e9:F2} GB | {memory.Bytes / 1e6:F0} MB |"));
    }

    /// <summary>The most memory that is the process's own: the mapped model file is the system's to take back.</summary>
    private sealed class PeakMemory : IProgress<ConversionProgress>
    {
        public long Bytes { get; private set; }

        public void Report(ConversionProgress value)
        {
            if (OperatingSystem.IsLinux())
            {
                string line = File.ReadLines("/proc/self/status").First(text => text.StartsWith("RssAnon:", StringComparison.Ordinal));
                Bytes = Math.Max(Bytes, 1024 * long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture));
            }
            else
            {
                Bytes = Math.Max(Bytes, Process.GetCurrentProcess().PrivateMemorySize64);
            }
        }
    }
}
