using System.Text.Json;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// The <c>adapter_config.json</c> of PEFT's LoRA: which modules are adapted, and how the factors are scaled. Fields that describe the training
/// alone are passed over; a field that changes what the adapter computes and is not implemented is refused, as is one that is not known and not off.
/// </summary>
internal sealed class PeftConfig
{
    public const string FileName = "adapter_config.json";
    public const string WeightsName = "adapter_model.safetensors";

    /// <summary>Fields without influence on what a trained adapter computes.</summary>
    private static readonly HashSet<string> s_descriptive =
    [
        "peft_type", "peft_version", "auto_mapping", "base_model_name_or_path", "revision", "task_type", "inference_mode", "lora_dropout", "init_lora_weights",
        "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "target_modules", "exclude_modules", "layers_to_transform", "layers_pattern", "bias",
        "loftq_config", "eva_config", "corda_config", "lora_ga_config", "runtime_config", "megatron_core", "qalora_group_size", "ensure_weight_tying",
    ];

    private readonly string _path;
    private readonly Func<string, bool> _targets;
    private readonly int _rank;
    private readonly double _alpha;
    private readonly bool _stabilised;
    private readonly (Regex Module, double Value)[] _ranks, _alphas;

    private PeftConfig(JsonFile json)
    {
        _path = json.Path;
        CheckKind(json);
        _rank = json.RequiredInt32("r");
        _alpha = json.GetNumber("lora_alpha") ?? throw Missing("lora_alpha");
        _stabilised = json.GetBoolean("use_rslora") ?? false;
        _ranks = Patterns(json, "rank_pattern");
        _alphas = Patterns(json, "alpha_pattern");
        Func<string, bool> included = Modules(json, "target_modules") ?? throw Missing("target_modules"), excluded = Modules(json, "exclude_modules") ?? (_ => false);
        int[] layers = json.GetInt32OrList("layers_to_transform");
        _targets = module => included(module) && !excluded(module) && (layers.Length == 0 || layers.Any(layer => module.Contains($".{layer}.", StringComparison.Ordinal)));
        if (_rank < 1)
        {
            throw json.Wrong("r", json.Find("r")!.Value, "a rank of at least 1");
        }
    }

    /// <exception cref="GemmaModelFormatException">The directory holds no adapter, or one that is not supported.</exception>
    public static PeftConfig Read(string directory)
    {
        string path = Path.Combine(directory, FileName);
        if (!File.Exists(path))
        {
            throw new GemmaModelFormatException($"The directory '{directory}' holds no adapter: it has no '{FileName}'. Give the directory that PEFT saved, or a GGUF adapter.");
        }

        if (!File.Exists(Path.Combine(directory, WeightsName)))
        {
            throw new GemmaModelFormatException($"The directory '{directory}' has '{FileName}' but no '{WeightsName}'. Download it too; an adapter_model.bin is not read, save the adapter as safetensors.");
        }

        using JsonFile json = JsonFile.Open(path);
        return new PeftConfig(json);
    }

    /// <summary>Name of the module that holds a weight, as PEFT sees it: <c>model.layers.3.self_attn.q_proj</c>.</summary>
    public static string ModuleOf(string canonical) => GemmaTensors.ToHuggingFace(canonical)[..^".weight".Length];

    /// <summary>True if the adapter changes a module.</summary>
    public bool Targets(string module) => _targets(module);

    /// <summary>Factor on B·A of a module.</summary>
    /// <exception cref="GemmaModelFormatException">The factors have another rank than the configuration says.</exception>
    public float Scale(string module, int rank)
    {
        double expected = Lookup(_ranks, module, _rank), alpha = Lookup(_alphas, module, _alpha);
        if (expected != rank)
        {
            throw new GemmaModelFormatException($"The factors of '{module}' beside '{_path}' have the rank {rank:N0}, but the configuration says {expected:N0}. Configuration and weights do not belong together; download or save them again.");
        }

        float scale = (float)(alpha / (_stabilised ? Math.Sqrt(rank) : rank));
        return float.IsFinite(scale) ? scale : throw new GemmaModelFormatException($"'{_path}': the alpha of '{module}' is {alpha}, which gives no finite scale. The file is damaged; download or save it again.");
    }

    private void CheckKind(JsonFile json)
    {
        if (json.GetString("peft_type") is var kind && kind != "LORA")
        {
            throw new GemmaModelFormatException($"'{_path}' is of an adapter of type '{ErrorText.Printable(kind ?? "(none stated)")}'; only 'LORA' is supported.");
        }

        if (json.GetString("bias") is { } bias and not "none")
        {
            throw Unsupported("bias", $"'{ErrorText.Printable(bias)}'", "the adapter changes biases, which Gemma 2 does not have");
        }

        // These starts take what the factors begin with out of the base: the factors alone belong to a base that was not saved.
        if (json.Find("init_lora_weights") is { ValueKind: JsonValueKind.String } start && start.GetString() is var name && name is not ("gaussian" or "eva" or "orthogonal"))
        {
            throw Unsupported("init_lora_weights", $"'{ErrorText.Printable(name!)}'", "it changes the base's own weights; save the adapter converted to plain LoRA");
        }

        foreach (JsonProperty field in json.Root.EnumerateObject().Where(field => !s_descriptive.Contains(field.Name) && !JsonFile.IsOff(field.Value)))
        {
            throw Unsupported(field.Name, ErrorText.Printable(field.Value.GetRawText()), field.Name switch
            {
                "use_dora" => "DoRA is another method than LoRA; merge the adapter into its base with PEFT",
                "modules_to_save" => "whole modules were trained beside the factors; merge the adapter into its base with PEFT",
                "fan_in_fan_out" => "Gemma 2 stores its weights the other way round",
                _ => "it is not known here whether that changes what the adapter computes; merge it into its base with PEFT",
            });
        }
    }

    /// <summary>A list of names matches modules that end in one of them; a string is an expression for whole names. Null where the field is absent.</summary>
    private Func<string, bool>? Modules(JsonFile json, string field)
    {
        if (json.Find(field) is not { } value)
        {
            return null;
        }

        if (value.ValueKind == JsonValueKind.String)
        {
            if (value.ValueEquals("all-linear"))
            {
                return _ => true;
            }

            Regex expression = Compile($@"\A(?:{value.GetString()})\z", field);
            return expression.IsMatch;
        }

        string[] names = json.GetStrings(field)!;
        return module => names.Any(name => module == name || module.EndsWith("." + name, StringComparison.Ordinal));
    }

    private (Regex, double)[] Patterns(JsonFile json, string field)
    {
        if (json.Find(field) is not { } value)
        {
            return [];
        }

        return value.ValueKind != JsonValueKind.Object ? throw json.Wrong(field, value, "an object of module names to numbers") :
        [
            .. value.EnumerateObject().Select(entry => (Compile($@"\A(?:.*\.)?(?:{entry.Name})\z", field),
                entry.Value.ValueKind == JsonValueKind.Number && entry.Value.TryGetDouble(out double number) && double.IsFinite(number) ? number : throw json.Wrong(field, value, "numbers as values"))),
        ];
    }

    private static double Lookup((Regex Module, double Value)[] patterns, string module, double otherwise)
    {
        foreach ((Regex expression, double value) in patterns)
        {
            if (expression.IsMatch(module))
            {
                return value;
            }
        }

        return otherwise;
    }

    /// <summary>An expression from a file that is not trusted: matched in linear time.</summary>
    private Regex Compile(string expression, string field)
    {
        try
        {
            return expression.Length <= 4096
                ? new Regex(expression, RegexOptions.NonBacktracking | RegexOptions.CultureInvariant)
                : throw Unsupported(field, $"an expression of {expression.Length:N0} characters", "at most 4,096 are read");
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            throw Unsupported(field, $"'{ErrorText.Printable(expression)}'", "it is no regular expression that can be matched in linear time; list the modules by name");
        }
    }

    private GemmaModelFormatException Unsupported(string field, string found, string why) =>
        new($"'{_path}': '{ErrorText.Printable(field)}' is {found}, which is not supported: {why}.");

    private GemmaModelFormatException Missing(string field) =>
        new($"'{_path}' has no '{field}'. The file is damaged or of another kind of adapter; download or save it again.");
}
