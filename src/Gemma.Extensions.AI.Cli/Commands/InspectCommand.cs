using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Chat;
using Gemma.Extensions.AI.Cli.Diagnosis;
using Gemma.Extensions.AI.Devices;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Spectre.Console;

namespace Gemma.Extensions.AI.Cli.Commands;

/// <summary><c>gemma inspect</c>: what is in a model file, and what it needs.</summary>
internal static class InspectCommand
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    public static Command Create()
    {
        Argument<string> model = new("model") { Description = "GGUF file, Hugging Face directory, or 'nano'." };
        Option<int?> context = CommonOptions.Context();
        Option<bool> json = CommonOptions.Json();
        Command command = new("inspect", "Show what is in a model file, and what it needs here. Its numbers, metadata, tensors by type, the memory that a context takes, and the kernels that would compute it. Loads no weights.\n\nExample:\n  gemma inspect gemma-2-2b-it-Q4_K_M.gguf --context 8192")
        {
            model, context, json,
        };
        command.SetAction(parsed =>
        {
            string path = ModelAliases.Find(parsed.GetRequiredValue(model), out string? problem) ?? throw new GemmaModelFormatException(problem!);
            using ModelFile file = ModelFile.Open(path, checkScales: false);
            JsonObject report = Describe(file, parsed.GetValue(context));
            if (parsed.GetValue(json))
            {
                parsed.Host().Output.WriteLine(report.ToJsonString(s_indented));
            }
            else
            {
                Print(report, AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(parsed.Host().Output) }));
            }
        });
        return command;
    }

    private static JsonObject Describe(ModelFile file, int? context)
    {
        GemmaConfig config = file.Config;
        int tokens = context ?? config.ContextLength;
        if (tokens < 1 || tokens > config.ContextLength)
        {
            throw new ArgumentException($"--context is {tokens:N0}, expected 1 to {config.ContextLength:N0} tokens, for which '{file.Path}' was trained.");
        }

        FoundFormat format = FoundFormat.Find(file);
        return new JsonObject
        {
            ["model"] = ModelAliases.ModelId(file.Path),
            ["name"] = file.Name,
            ["path"] = file.Path,
            ["parameters"] = config.ParameterCount,
            ["weight_bytes"] = file.Tensors.Values.Sum(tensor => tensor.ByteLength),
            ["config"] = JsonSerializer.SerializeToNode(config, CliJson.Default.GemmaConfig),
            ["labels"] = file.Labels is { } labels ? new JsonArray([.. labels.Names.Select(name => JsonValue.Create(name))]) : null,
            ["chat_format"] = format.Problem ?? format.Format.Name,
            ["chat_format_source"] = format.Problem is null ? format.Format.Source : null,
            ["chat_format_tools"] = format.Problem is null && format.Format.HasToolPlace ? FoundFormat.ToolPlace : null,
            ["end_tokens"] = new JsonArray([.. (format.Problem is null ? format.Format.StopTokens(EndTokens.Of(file, format.Format.Tokenizer)) : file.GenerationDefaults.StopTokens).Select(id => JsonValue.Create(id))]),
            ["warnings"] = new JsonArray([.. file.Warnings.Select(warning => JsonValue.Create(warning))]),
            ["tensor_types"] = TensorTypes(file),
            ["context_memory"] = ContextMemory(file, tokens),
            ["auto_device"] = AutoDevice(file, tokens),
            ["kernels"] = MachineReport.Kernels(),
            ["metadata"] = file is GgufModelFile gguf ? Metadata(gguf.Metadata) : new JsonObject(),
        };
    }

    private static JsonArray TensorTypes(ModelFile file) =>
        [.. file.Tensors.Values.GroupBy(tensor => tensor.Format.Name).OrderByDescending(group => group.Sum(tensor => tensor.ByteLength)).Select(group => (JsonNode)new JsonObject
        {
            ["type"] = group.Key,
            ["tensors"] = group.Count(),
            ["elements"] = group.Sum(tensor => tensor.ElementCount),
            ["bytes"] = group.Sum(tensor => tensor.ByteLength),
        })];

    /// <summary>Memory that one full context needs beside the weights, and the memory of the machine.</summary>
    private static JsonObject ContextMemory(ModelFile file, int tokens)
    {
        long weights = file.Tensors.Values.Sum(tensor => tensor.ByteLength);
        MemoryAdvice advice = MemoryAdvice.For(file.Config, weights, tokens, GemmaKvCacheType.F16);
        return new JsonObject
        {
            ["tokens"] = (long)tokens,
            ["f16_bytes"] = advice.KvBytes,
            ["q8_0_bytes"] = MemoryAdvice.For(file.Config, weights, tokens, GemmaKvCacheType.Q8_0).KvBytes,
            ["needed_bytes"] = advice.NeededBytes,
            ["machine_bytes"] = advice.Machine.LimitBytes,
            ["free_bytes"] = advice.Machine.FreeBytes,
            ["fits"] = advice.Fits,
            ["largest_type_that_fits"] = advice.Fits ? null : advice.LargestThatFits(file.Config)?.Name,
        };
    }

    /// <summary>The device that <c>--device auto</c> takes, and why.</summary>
    private static JsonObject AutoDevice(ModelFile file, int tokens)
    {
        (string device, string? reason) = DeviceChoice.Explain(file, tokens);
        return new JsonObject { ["device"] = device, ["reason"] = reason };
    }

    private static JsonObject Metadata(GgufMetadata metadata)
    {
        JsonObject values = [];
        foreach ((string key, GgufValue value) in metadata.Values)
        {
            values[key] = value.Type switch
            {
                GgufType.Array => $"[{value.Count:N0} × {value.ElementType}]",
                GgufType.String => metadata.GetString(key),
                GgufType.Bool => metadata.GetBoolean(key),
                GgufType.Float32 => BitConverter.ToSingle(metadata.RawValue(key)),
                GgufType.Float64 => BitConverter.ToDouble(metadata.RawValue(key)),
                GgufType.UInt8 => metadata.RawValue(key)[0],
                GgufType.Int8 => (sbyte)metadata.RawValue(key)[0],
                GgufType.UInt16 => BitConverter.ToUInt16(metadata.RawValue(key)),
                GgufType.Int16 => BitConverter.ToInt16(metadata.RawValue(key)),
                GgufType.UInt32 => BitConverter.ToUInt32(metadata.RawValue(key)),
                GgufType.Int32 => BitConverter.ToInt32(metadata.RawValue(key)),
                GgufType.UInt64 => BitConverter.ToUInt64(metadata.RawValue(key)),
                _ => BitConverter.ToInt64(metadata.RawValue(key)),
            };
        }

        return values;
    }

    private static void Print(JsonObject report, IAnsiConsole console)
    {
        Table(console, "Model",
        [
            ("name", Text(report["name"])),
            ("path", Text(report["path"])),
            ("parameters", Count(report["parameters"])),
            ("weights", Size((long)report["weight_bytes"]!)),
            ("chat format", report["chat_format_source"] is { } source ? $"{report["chat_format"]} ({source})" : Text(report["chat_format"])),
            .. report["chat_format_tools"] is { } tools ? [("tools", Text(tools))] : Array.Empty<(string, string)>(),
            ("end tokens", string.Join(", ", (JsonArray)report["end_tokens"]!)),
            .. ((JsonObject)report["config"]!).Where(pair => pair.Value is not null && pair.Key != nameof(GemmaConfig.ParameterCount)).Select(pair => (Words(pair.Key), Text(pair.Value))),
        ]);
        Table(console, "Labels", report["labels"] is JsonArray labels ? labels.Select((label, i) => ($"{i}", Text(label))) : []);
        Table(console, "Not used as it stands in the file", ((JsonArray)report["warnings"]!).Select(warning => ("", Text(warning))));
        Table(console, "Tensors by type",
            ((JsonArray)report["tensor_types"]!).Select(type => (Text(type!["type"]), $"{Text(type["tensors"])} tensors, {Count(type["elements"])} elements, {Size((long)type["bytes"]!)}")));
        JsonNode memory = report["context_memory"]!;
        Table(console, $"Memory for {Count(memory["tokens"])} tokens of context",
        [
            ("keys and values, F16", Size((long)memory["f16_bytes"]!)),
            ("keys and values, Q8_0", Size((long)memory["q8_0_bytes"]!)),
            ("all, with weights and work space", Size((long)memory["needed_bytes"]!)),
            ("this process may use", $"{Size((long)memory["machine_bytes"]!)}{((bool)memory["fits"]! ? "" : $": too little; {Text(memory["largest_type_that_fits"]) switch { "" => "no type of this model would fit", var type => $"{type} would fit" }}")}"),
            ("of which are free", Size((long)memory["free_bytes"]!)),
            ("kernels on this processor", Kernels(report["kernels"]!)),
            ("--device auto takes", report["auto_device"]!["reason"] is { } reason ? $"{report["auto_device"]!["device"]}: {reason}" : Text(report["auto_device"]!["device"])),
        ]);
        Table(console, "Metadata", ((JsonObject)report["metadata"]!).Select(pair => (pair.Key, Shorten(Text(pair.Value)))));
    }

    /// <summary>The tier that would compute, and why no faster one.</summary>
    private static string Kernels(JsonNode kernels)
    {
        JsonNode[] tiers = [.. ((JsonArray)kernels["tiers"]!).Select(tier => tier!)];
        string chosen = Text(kernels["chosen"]);
        int at = Array.FindIndex(tiers, tier => Text(tier["name"]).Equals(chosen, StringComparison.OrdinalIgnoreCase));
        string how = at < 0 ? "unknown" : Text(tiers[at]["how"]);
        string better = string.Join("; ", tiers.Skip(at + 1).Where(tier => !(bool)tier["runs"]!).Select(tier => $"no {tier["name"]}: {tier["reason"]}"));
        return $"{chosen} ({how}){(kernels["forced_by"] is { } variable ? $", as {variable} says" : better.Length > 0 ? $"; {better}" : "")}";
    }

    /// <summary>The name of a number of the configuration in words, with its unit.</summary>
    private static string Words(string property) => property switch
    {
        nameof(GemmaConfig.VocabularySize) => "tokens in the vocabulary",
        nameof(GemmaConfig.HiddenSize) => "width of the hidden state",
        nameof(GemmaConfig.FeedForwardSize) => "width of the feed-forward part",
        nameof(GemmaConfig.LayerCount) => "layers",
        nameof(GemmaConfig.HeadCount) => "attention heads",
        nameof(GemmaConfig.KvHeadCount) => "heads of keys and values",
        nameof(GemmaConfig.HeadDim) => "width of a head",
        nameof(GemmaConfig.ContextLength) => "context, tokens",
        nameof(GemmaConfig.SlidingWindow) => "window of the local layers, tokens",
        nameof(GemmaConfig.RmsNormEpsilon) => "epsilon of the norms",
        nameof(GemmaConfig.RopeBase) => "base of the rotary frequencies",
        nameof(GemmaConfig.LocalRopeBase) => "base of the rotary frequencies, local layers",
        nameof(GemmaConfig.RopeFactor) => "positions are divided by",
        nameof(GemmaConfig.LocalRopeFactor) => "positions are divided by, local layers",
        nameof(GemmaConfig.QueryScale) => "factor on attention scores",
        nameof(GemmaConfig.AttentionSoftcap) => "soft cap of attention scores",
        nameof(GemmaConfig.FinalSoftcap) => "soft cap of the logits",
        nameof(GemmaConfig.Head) => "output head",
        nameof(GemmaConfig.LabelCount) => "labels",
        nameof(GemmaConfig.EmbeddingScale) => "factor on embeddings",
        nameof(GemmaConfig.QuerySize) => "width of all queries",
        nameof(GemmaConfig.KvSize) => "width of all keys",
        _ => property,
    };

    private static void Table(IAnsiConsole console, string title, IEnumerable<(string Name, string Value)> rows)
    {
        (string Name, string Value)[] all = [.. rows];
        if (all.Length == 0)
        {
            return;
        }

        Table table = new Table().Title(new TableTitle(Markup.Escape(title))).HideHeaders().Border(TableBorder.Rounded).AddColumn("").AddColumn("");
        foreach ((string name, string value) in all)
        {
            table.AddRow(Markup.Escape(name), Markup.Escape(value));
        }

        console.Write(table);
    }

    private static string Text(JsonNode? node) => node?.ToString() ?? "";

    private static string Count(JsonNode? node) => ((long)node!).ToString("N0", CultureInfo.InvariantCulture);

    private static string Shorten(string text) => text.Length <= 100 ? text : text[..97] + "...";

    internal static string Size(long bytes) => bytes switch
    {
        >= 1L << 30 => $"{bytes / (double)(1L << 30):F2} GiB ({bytes:N0} bytes)",
        >= 1L << 20 => $"{bytes / (double)(1L << 20):F1} MiB ({bytes:N0} bytes)",
        _ => $"{bytes:N0} bytes",
    };
}
