using System.CommandLine;
using System.Globalization;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Cli.Diagnosis;
using Gemma.Extensions.AI.Cli.Terminal;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma doctor</c>: what this machine can do, and why not more.</summary>
internal static class DoctorCommand
{
    public static Command Create()
    {
        Option<bool> json = CommonOptions.Json();
        Command command = new("doctor", "Say what this machine can do, and why not more. Processor, kernels, memory and its speed, GPU, cache. Takes about a second; changes nothing.\n\nExample:\n  gemma doctor") { json };
        command.SetAction(parsed =>
        {
            JsonObject report = MachineReport.Create();
            TextWriter output = parsed.Host().Output;
            if (parsed.GetValue(json))
            {
                output.WriteLine(report.ToJsonString(JsonText.Readable));
            }
            else
            {
                Print(report, output);
            }
        });
        return command;
    }

    private static void Print(JsonObject report, TextWriter output)
    {
        Line(output, "gemma", $"{report["version"]} on {report["runtime"]}, {report["system"]}");
        Line(output, "processor", $"{report["processor"]}: {report["physical_cores"]} physical cores, {report["logical_processors"]} logical processors");
        PrintKernels((JsonObject)report["kernels"]!, output);
        Line(output, "memory", $"{Gigabytes(report["memory_bytes"])} that {((bool)report["is_container"]! ? "this container" : "this machine")} may use, {Gigabytes(report["free_bytes"])} free");
        Line(output, "bandwidth", report["bandwidth_bytes_per_second"] is { } speed
            ? $"{Number((double)speed / 1e9)} GB/s read: at most {Number((double)speed / 1e9)} tokens a second for each GB of a model's weights"
            : "not measured: too little memory is free");
        PrintGpus((JsonObject)report["gpu"]!, output);
        JsonObject cache = (JsonObject)report["cache"]!;
        Line(output, "cache", $"{cache["path"]}: {cache["models"]} models, {Gigabytes(cache["bytes"])}; {(cache["free_bytes"] is { } free ? $"{Gigabytes(free)} free on that disk" : "what is free on that disk cannot be told")}");
        Line(output, "hub", $"{cache["hub"]}, {((bool)cache["has_token"]! ? "with a token" : "without a token (gated models need HF_TOKEN)")}{((bool)cache["offline"]! ? ", offline (HF_HUB_OFFLINE)" : "")}");
        foreach ((string name, JsonNode? value) in (JsonObject)report["environment"]!)
        {
            Line(output, "variable", $"{name}={value}");
        }
    }

    private static void PrintKernels(JsonObject kernels, TextWriter output)
    {
        Line(output, "kernels", kernels["forced_by"] is { } variable ? $"{kernels["chosen"]}, as {variable} says" : $"{kernels["chosen"]}, the best that runs here");
        foreach (JsonNode? tier in (JsonArray)kernels["tiers"]!)
        {
            output.WriteLine($"    {(tier!["name"]!.ToString() == kernels["chosen"]!.ToString() ? "*" : " ")} {tier["name"],-12} {((bool)tier["runs"]! ? "runs" : $"no: {tier["reason"]}")}");
        }
    }

    private static void PrintGpus(JsonObject gpu, TextWriter output)
    {
        JsonArray devices = (JsonArray)gpu["devices"]!;
        if (devices.Count == 0)
        {
            Line(output, "GPU", gpu["reason"] is { } reason ? $"none: {reason}" : "none: the driver shows no device");
        }

        foreach (JsonNode? device in devices)
        {
            Line(output, "GPU", $"{device!["name"]}, {Gigabytes(device["memory_bytes"])}{((bool)device["runs"]! ? $", {Gigabytes(device["free_bytes"])} free: --device cuda" : $": too old, compute capability {Backends.Cuda.CudaDevice.LeastCapability / 10}.0 is needed")}");
        }
    }

    private static void Line(TextWriter output, string name, string text) => output.WriteLine($"{name,-11}{text}");

    private static string Gigabytes(JsonNode? bytes) => $"{Number((long)bytes! / 1e9)} GB";

    private static string Number(double value) => value.ToString(value < 100 ? "F1" : "F0", CultureInfo.InvariantCulture);
}
