using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Backends.Cuda;
using Gemma.Extensions.AI.Cli.Terminal;
using Gemma.Extensions.AI.Hub;

namespace Gemma.Extensions.AI.Cli.Diagnosis;

/// <summary>The parts of this machine that matter to a model.</summary>
internal static class MachineReport
{
    public static JsonObject Create()
    {
        MachineMemory memory = MachineMemory.Read();
        int threads = ProcessorTopology.PhysicalCores();
        return new JsonObject
        {
            ["version"] = typeof(MachineReport).Assembly.GetName().Version?.ToString(3),
            ["runtime"] = $"{RuntimeInformation.FrameworkDescription}, {RuntimeInformation.RuntimeIdentifier}",
            ["system"] = RuntimeInformation.OSDescription,
            ["processor"] = ProcessorName(),
            ["physical_cores"] = threads,
            ["logical_processors"] = Environment.ProcessorCount,
            ["memory_bytes"] = memory.LimitBytes,
            ["free_bytes"] = memory.FreeBytes,
            ["is_container"] = memory.IsContainer,
            ["bandwidth_bytes_per_second"] = MemoryBandwidth.Measure(threads, memory.FreeBytes),
            ["kernels"] = Kernels(),
            ["gpu"] = Gpus(),
            ["cache"] = Cache(),
            ["environment"] = Variables(),
        };
    }

    /// <summary>The tier that computes, why not a better one, and all others.</summary>
    public static JsonObject Kernels()
    {
        string? forced = Environment.GetEnvironmentVariable(CpuBackendOptions.KernelVariable) is { Length: > 0 } name ? name : null;
        (KernelTier Tier, string? Reason)[] tiers = [.. KernelTier.All.Select(tier => (tier, tier.Unsupported()))];
        string? known = forced is null ? null : tiers.FirstOrDefault(tier => tier.Tier.Name.Equals(forced.Trim(), StringComparison.OrdinalIgnoreCase)).Tier?.Name; // as the engine reads it
        return new JsonObject
        {
            ["chosen"] = known ?? forced ?? tiers.Last(tier => tier.Reason is null).Tier.Name,
            ["forced_by"] = forced is null ? null : CpuBackendOptions.KernelVariable,
            ["tiers"] = new JsonArray([.. tiers.Select(tier => new JsonObject { ["name"] = tier.Tier.Name, ["how"] = tier.Tier.Rationale, ["runs"] = tier.Reason is null, ["reason"] = tier.Reason is null ? null : OptionWords.OfTool(tier.Reason) })]),
        };
    }

    private static JsonObject Gpus()
    {
        try
        {
            CudaLibrary library = CudaLibrary.Load();
            return new JsonObject
            {
                ["devices"] = new JsonArray([.. CudaDevice.All(library).Select(device => new JsonObject
                {
                    ["name"] = device.ToString(),
                    ["memory_bytes"] = device.TotalBytes,
                    ["free_bytes"] = device.IsSupported ? device.ReadFreeBytes(library) : null,
                    ["runs"] = device.IsSupported,
                })]),
                ["reason"] = null,
            };
        }
        catch (GemmaDeviceException exception)
        {
            return new JsonObject { ["devices"] = new JsonArray(), ["reason"] = exception.Message };
        }
    }

    private static JsonObject Cache()
    {
        HubSettings settings = new(new GemmaHubOptions());
        IReadOnlyList<CachedModel> models = new HubCache(settings.Cache).List();
        return new JsonObject
        {
            ["path"] = settings.Cache,
            ["models"] = models.Count,
            ["bytes"] = models.Sum(model => model.Bytes),
            ["free_bytes"] = FreeBytes(settings.Cache),
            ["hub"] = settings.Endpoint.ToString(),
            ["offline"] = settings.Offline,
            ["has_token"] = settings.Token is not null,
        };
    }

    /// <summary>Of the disk that a directory is, or would be, on.</summary>
    private static long? FreeBytes(string path)
    {
        try
        {
            string? at = path;
            while (at is not null && !Directory.Exists(at))
            {
                at = Path.GetDirectoryName(at);
            }

            return at is null ? null : new DriveInfo(at).AvailableFreeSpace;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return null;
        }
    }

    /// <summary>Variables that change what gemma does; the token's value is nobody's business.</summary>
    private static JsonObject Variables()
    {
        JsonObject found = [];
        foreach (string name in (string[])[GemmaOptions.ModelPathVariable, CpuBackendOptions.KernelVariable, "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "XDG_CACHE_HOME"])
        {
            if (Environment.GetEnvironmentVariable(name) is { Length: > 0 } value)
            {
                found[name] = value;
            }
        }

        return found;
    }

    private static string ProcessorName()
    {
        const string Info = "/proc/cpuinfo";
        string? line = File.Exists(Info) ? File.ReadLines(Info).FirstOrDefault(static line => line.StartsWith("model name", StringComparison.Ordinal)) : null;
        return line is not null ? line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim()
            : Environment.GetEnvironmentVariable("PROCESSOR_IDENTIFIER") ?? RuntimeInformation.ProcessArchitecture.ToString();
    }
}
