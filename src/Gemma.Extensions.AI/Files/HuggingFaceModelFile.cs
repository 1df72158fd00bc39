using System.Text.Json;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>A Gemma 2 checkpoint as Hugging Face publishes it: a directory with config.json, safetensors and a tokenizer.</summary>
internal sealed class HuggingFaceModelFile : ModelFile
{
    public const string ConfigName = "config.json";
    public const string GenerationName = "generation_config.json";
    public const string WeightsName = "model.safetensors";
    public const string IndexName = "model.safetensors.index.json";

    private readonly string _directory;
    private readonly List<SafetensorsFile> _files = [];
    private readonly Dictionary<string, TensorView> _tensors = new(StringComparer.Ordinal);
    private readonly List<string> _unknown = [];
    private readonly Lazy<bool> _addsEndToken;

    /// <summary>Opens a directory.</summary>
    /// <param name="directory">The directory.</param>
    /// <param name="weights">Path of the one safetensors file to use; null: model.safetensors, or the shards of its index.</param>
    /// <exception cref="GemmaModelFormatException">The directory is not a complete Gemma 2 checkpoint.</exception>
    public HuggingFaceModelFile(string directory, string? weights = null)
    {
        _directory = System.IO.Path.GetFullPath(directory);
        _addsEndToken = new(ReadAddsEndToken);
        try
        {
            using JsonFile config = JsonFile.Open(System.IO.Path.Combine(_directory, ConfigName));
            GemmaConfig stated = HuggingFaceConfig.Read(config);
            GenerationDefaults = ReadGenerationDefaults(config);
            Warnings.AddRange(HuggingFaceFields.Unknown(config));
            OpenWeights(weights);
            Config = OutputHeads.Resolve(stated, HuggingFaceConfig.StatesArchitecture(config), statesTying: true, _tensors, _directory, Warnings);
            GemmaTensors.Check(Config, _tensors, _directory);
            GemmaTensors.CheckUnknown(_unknown, _directory, Warnings);
            Labels = Config.Head == OutputHead.Classifier ? ClassifierLabels.Read(config, Config.LabelCount) : null;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string Path => _directory;

    public override string Name => NameOf(_directory);

    public override GemmaConfig Config { get; }

    public override ClassifierLabels? Labels { get; }

    public override IReadOnlyDictionary<string, TensorView> Tensors => _tensors;

    public override bool NormsIncludeOne => false;

    public override GenerationDefaults GenerationDefaults { get; }

    public override bool AddsEndToken => _addsEndToken.Value;

    protected override IEnumerable<MemoryArea> PrivateAreas => _files.SelectMany(file => file.PrivateAreas);

    protected override GemmaTokenizer ReadTokenizer() => TokenizerFiles.Open(_directory, GenerationDefaults.StopTokens);

    public override ChatTemplateText? ReadChatTemplate() => CheckpointTemplate.Read(_directory);

    public override long MoveToHugePages(CancellationToken cancellationToken) => _files.Sum(file => file.MoveToHugePages(cancellationToken));

    public override void Dispose()
    {
        foreach (SafetensorsFile file in _files)
        {
            file.Dispose();
        }

        _files.Clear();
    }

    private bool ReadAddsEndToken()
    {
        string path = System.IO.Path.Combine(_directory, TokenizerFiles.ConfigName);
        if (!File.Exists(path))
        {
            return false;
        }

        using JsonFile config = JsonFile.Open(path);
        return config.GetBoolean("add_eos_token") ?? false;
    }

    /// <summary>Name of a checkpoint from its directory; snapshots of the hub's cache are named after the repository.</summary>
    public static string NameOf(string directory)
    {
        DirectoryInfo info = new(directory);
        const string Prefix = "models--";
        return info.Parent is { Name: "snapshots", Parent.Name: var repository } && repository.StartsWith(Prefix, StringComparison.Ordinal)
            ? repository[Prefix.Length..].Replace("--", "/", StringComparison.Ordinal)
            : info.Name;
    }

    private GenerationDefaults ReadGenerationDefaults(JsonFile config)
    {
        string path = System.IO.Path.Combine(_directory, GenerationName);
        if (!File.Exists(path))
        {
            return new GenerationDefaults { StopTokens = config.GetInt32OrList("eos_token_id") };
        }

        using JsonFile generation = JsonFile.Open(path);
        return new GenerationDefaults
        {
            Temperature = (float?)generation.GetNumber("temperature"),
            TopK = generation.GetInt32("top_k"),
            TopP = (float?)generation.GetNumber("top_p"),
            StopTokens = [.. generation.GetInt32OrList("eos_token_id").Union(config.GetInt32OrList("eos_token_id"))],
        }.WithoutUnusable(path, Warnings);
    }

    private void OpenWeights(string? weights)
    {
        string whole = weights ?? System.IO.Path.Combine(_directory, WeightsName);
        string index = System.IO.Path.Combine(_directory, IndexName);
        if (File.Exists(whole))
        {
            AddFile(whole);
        }
        else if (File.Exists(index))
        {
            OpenShards(index);
        }
        else
        {
            throw new GemmaModelFormatException($"The directory '{_directory}' has {ConfigName} but no weights: neither '{WeightsName}' nor '{IndexName}' is there. The download is incomplete (or holds another format than safetensors); run 'gemma pull' again.");
        }
    }

    private void OpenShards(string indexPath)
    {
        using JsonFile index = JsonFile.Open(indexPath);
        if (index.Find("weight_map") is not { ValueKind: JsonValueKind.Object } map)
        {
            throw new GemmaModelFormatException($"'{indexPath}' has no 'weight_map' that says which file holds which tensor. The file is damaged; download it again.");
        }

        Dictionary<string, string> shardOf = new(StringComparer.Ordinal);
        foreach (JsonProperty entry in map.EnumerateObject())
        {
            shardOf[entry.Name] = ShardName(index, entry);
        }

        string[] shards = [.. shardOf.Values.Distinct().Order(StringComparer.Ordinal)];
        foreach (string shard in shards)
        {
            string path = System.IO.Path.Combine(_directory, shard);
            if (!File.Exists(path))
            {
                throw new GemmaModelFormatException($"'{path}' is missing: '{IndexName}' lists {shards.Length:N0} files with weights. The download is incomplete; run 'gemma pull' again.");
            }

            AddFile(path);
        }

        foreach ((string tensor, string shard) in shardOf)
        {
            if (GemmaTensors.FromHuggingFace(tensor) is { } name && !_tensors.ContainsKey(name))
            {
                throw new GemmaModelFormatException($"'{indexPath}' says that '{shard}' holds the tensor '{tensor}', but it does not. The files do not belong together; download them again.");
            }
        }
    }

    private static string ShardName(JsonFile index, JsonProperty entry)
    {
        string? name = entry.Value.ValueKind == JsonValueKind.String ? entry.Value.GetString() : null;

        // An index must not lead out of its directory.
        return name is { Length: > 0 and <= 255 } && name.AsSpan().IndexOfAny("/\\:\0") < 0 && name is not "." and not ".."
            ? name
            : throw index.Wrong($"weight_map.{entry.Name}", entry.Value, "the name of a file in the same directory");
    }

    private void AddFile(string path)
    {
        SafetensorsFile file = SafetensorsFile.Open(path);
        _files.Add(file);
        foreach (string name in file.Tensors.Keys)
        {
            if (GemmaTensors.FromHuggingFace(name) is not { } canonical)
            {
                _unknown.Add(name);
            }
            else if (!_tensors.TryAdd(canonical, file.View(name, canonical)))
            {
                throw new GemmaModelFormatException($"'{path}' holds the tensor '{name}', which '{_tensors[canonical].Source}' holds too. The files do not belong together; download them again.");
            }
        }
    }
}
