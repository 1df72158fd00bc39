using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Gemma.Extensions.AI.Backends.Cuda;

namespace Gemma.Extensions.AI.Benchmarks.Speed;

/// <summary>What tests/gpu/run.sh measured, against its targets.</summary>
internal static class GpuReport
{
    public static Command Create()
    {
        Argument<string> folder = new("folder") { Description = "Where run.sh put its results." };
        Command command = new("gpu-report", "A table of what tests/gpu/run.sh measured, with targets and verdicts.") { folder };
        command.SetAction(result => Console.Write(Table(result.GetRequiredValue(folder))));
        return command;
    }

    /// <summary>Bytes a second that a GPU's memory can give at most: twice a clock, over the whole bus. 0 where it does not say.</summary>
    public static unsafe double ReadBandwidth(int index)
    {
        const int MemoryClock = 36, BusWidth = 37; // CUdevice_attribute: kHz, bits
        CudaLibrary library = CudaLibrary.Load();
        int device, clock, bits;
        return library.DeviceGet(&device, index) == 0 && library.DeviceGetAttribute(&clock, MemoryClock, device) == 0 && library.DeviceGetAttribute(&bits, BusWidth, device) == 0 ? 2e3 * clock * bits / 8 : 0;
    }

    private static string Table(string folder)
    {
        Measured one = Read("27b-bf16"), eight = Read("27b-bf16-8"), small = Read("2b-q4_k_m");
        double? rival = Number(ReadJson("transformers"), "generate_tokens_per_second");
        double? roofline = one.Generate * one.WeightBytes / one.Bandwidth;
        StringBuilder text = new("| | measured | target | verdict |\n|---|---|---|---|\n");
        Row("27B BF16, generation", one.Generate, "tok/s", null);
        Row("of what the memory can give", roofline, "", 0.80);
        Row("against transformers on this machine", one.Generate / rival, "x", 1.1);
        bool hasLibrary = one.Kernel?.EndsWith("cuBLASLt", StringComparison.Ordinal) == true;
        Row($"27B BF16, prompt of 2,048{(hasLibrary ? ", cuBLASLt" : "")}", one.Prompt, "tok/s", hasLibrary ? 10_000 : 5_000);
        Row("8 chats at once, 27B, against one", eight.Generate / one.Generate, "x", 6);
        Row("2B Q4_K_M, generation", small.Generate, "tok/s", 900);
        Row("2B Q4_K_M, prompt of 2,048", small.Prompt, "tok/s", null);
        string tests = Path.Combine(folder, "tests.txt");
        bool isSkipped = File.Exists(tests) && File.ReadLines(tests).Any(line => line.Contains("GpuEngineTests", StringComparison.Ordinal) && line.Contains("[SKIP]", StringComparison.Ordinal));
        string summary = isSkipped ? "they found no GPU" : File.Exists(tests) ? File.ReadLines(tests).LastOrDefault(line => line.Contains("Total:", StringComparison.Ordinal))?.Trim() ?? "they did not end" : "not run";
        text.Append(CultureInfo.InvariantCulture, $"| operation, golden and engine tests on the card | {summary} | none fails | {(summary.Contains("Failed: 0", StringComparison.Ordinal) ? "met" : "missed")} |\n");
        return text.ToString();

        void Row(string what, double? value, string unit, double? target) => text.Append(
            CultureInfo.InvariantCulture,
            $"| {what} | {(value is { } number ? $"{number:#,0.##} {unit}".Trim() : "not measured")} | {(target is { } least ? $"≥ {least:#,0.##}" : "")} | {(target is null ? "" : value is null ? "not measured" : value >= target ? "met" : "missed")} |\n");

        Measured Read(string name)
        {
            JsonElement? json = ReadJson(name);
            return new Measured(
                Number(json, "generate_tokens_per_second"), Number(json, "prompt_tokens_per_second"), Number(json, "weight_bytes"), Number(json, "memory_bytes_per_second"),
                json is { } element && element.TryGetProperty("kernel", out JsonElement kernel) ? kernel.GetString() : null);
        }

        JsonElement? ReadJson(string name)
        {
            string path = Path.Combine(folder, name + ".json");
            string? line = File.Exists(path) ? File.ReadLines(path).LastOrDefault(text => text.StartsWith('{')) : null;
            return line is null ? null : JsonDocument.Parse(line).RootElement;
        }
    }

    private static double? Number(JsonElement? json, string name) => json is { } element && element.TryGetProperty(name, out JsonElement value) && value.GetDouble() is var number and > 0 ? number : null;

    private sealed record Measured(double? Generate, double? Prompt, double? WeightBytes, double? Bandwidth, string? Kernel);
}
