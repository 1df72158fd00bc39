using System.CommandLine;
using System.CommandLine.Completions;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary>Options that several commands share, spelled and explained once.</summary>
internal static class CommonOptions
{
    public static Option<string?> Model() => new("--model", "-m")
    {
        CompletionSources = { _ => PulledModels() },
        Description = "GGUF file, Hugging Face directory, or 'nano' for the small model that ships with the tool. Default: the environment variable GEMMA_MODEL, else nano.",
        HelpName = "path",
    };

    public static Option<int?> Threads() => new("--threads", "-t") { Description = "Threads that compute. Default: the physical cores.", HelpName = "n" };

    public static Option<int?> Context() => new("--context", "-c") { Description = "Tokens of context. Default: what the model was trained for.", HelpName = "tokens" };

    public static Option<string?> Kernel() => new("--kernel")
    {
        Description = "Kernel tier, e.g. reference, avx2. Default: the best that the processor has; 'gemma doctor' lists them.",
        HelpName = "tier",
        CompletionSources = { _ => KernelTier.All.Select(tier => new CompletionItem(tier.Name)) },
    };

    public static Option<string> Device() => new("--device")
    {
        Description = "What computes: cpu, cuda (a GPU), cuda:1 (that one), or auto (a GPU where the model fits one).",
        HelpName = "device",
        DefaultValueFactory = _ => "cpu",
        CompletionSources = { _ => new[] { "cpu", "cuda", "auto" }.Select(device => new CompletionItem(device)) },
    };

    public static Option<int?> GpuLayers() => new("--gpu-layers") { Description = "With a GPU: how many layers it computes. Default: all, or as many as fit.", HelpName = "n" };

    public static Option<bool> IgnoreMemory() => new("--ignore-memory") { Description = "Load a model even if it does not fit the memory. Its weights are then read from disk again and again, which is slow." };

    public static Option<bool> HugePages() => new("--huge-pages") { Description = "Copy the weights to private memory in pages of 2 MB: tokens come faster, most of all in virtual machines, but other processes do not share them (Linux)." };

    public static GemmaMemoryCheck MemoryCheck(this ParseResult parsed, Option<bool> ignore) => parsed.GetValue(ignore) ? GemmaMemoryCheck.Warn : GemmaMemoryCheck.Refuse;

    public static Option<string?> Lora() => new("--lora")
    {
        Description = "Adapter to compute with: a directory that PEFT or 'gemma train --lora' saved, or a GGUF adapter.",
        HelpName = "path",
    };

    /// <summary>Has the adapter loaded with the model. Returns the name by which requests ask for it; null where there is none.</summary>
    public static string? AddLora(this GemmaOptions options, string? path)
    {
        const string Name = "lora";
        if (path is null)
        {
            return null;
        }

        options.Adapters[Name] = path;
        return Name;
    }

    public static Option<bool> Json() => new("--json") { Description = "Print JSON for programs instead of text for people." };

    /// <summary>The model to use: as given, else of the environment, else the one that ships with the tool.</summary>
    public static string ModelOrDefault(string? given) =>
        given ?? (Environment.GetEnvironmentVariable(GemmaOptions.ModelPathVariable) is { Length: > 0 } path ? path : ModelAliases.Nano);

    /// <summary>Names for completion: the model that ships, and those of the cache. (The shell adds files.)</summary>
    private static IEnumerable<CompletionItem> PulledModels()
    {
        yield return new CompletionItem(ModelAliases.Nano);
        foreach (CachedModel model in new HubCache(new HubSettings(new GemmaHubOptions()).Cache).List())
        {
            yield return new CompletionItem(HubReference.Prefix + model.Reference);
        }
    }

    public static CliInvocation Host(this ParseResult parsed) => (CliInvocation)parsed.InvocationConfiguration;

    /// <summary>Loads a model, and tells on the error output what of it is not used.</summary>
    public static GemmaModel Load(this CliInvocation host, string path, GemmaOptions options, CancellationToken cancellationToken)
    {
        GemmaModel model = GemmaModel.LoadUnlessCancelled(path, options, cancellationToken);
        host.Warn(model.File);
        return model;
    }

    /// <summary>Tells on the error output what of a model is not used.</summary>
    public static void Warn(this CliInvocation host, ModelFile file)
    {
        foreach (string warning in file.Warnings)
        {
            host.Error.WriteLine($"gemma: warning: {warning}");
        }
    }
}
