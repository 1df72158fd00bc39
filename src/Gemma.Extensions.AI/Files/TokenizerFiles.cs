using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>
/// The tokenizer of a checkpoint directory, as transformers puts it together: <c>tokenizer.json</c> wins over an older <c>tokenizer.model</c> beside it;
/// tokens that were added or renamed stand in <c>tokenizer_config.json</c> (<c>added_tokens_decoder</c>) and <c>added_tokens.json</c>; which of them
/// begin and end a text say <c>tokenizer_config.json</c> and, where it does not, <c>special_tokens_map.json</c>.
/// </summary>
internal static class TokenizerFiles
{
    public const string ModelName = "tokenizer.model";
    public const string JsonName = "tokenizer.json";
    public const string ConfigName = "tokenizer_config.json";
    public const string AddedName = "added_tokens.json";
    public const string SpecialName = "special_tokens_map.json";

    /// <summary>The largest known tokenizer.json of Gemma has 33 MB.</summary>
    private const long MaxBytes = 256 << 20;

    /// <summary>Reads what the directory has.</summary>
    /// <param name="directory">The directory.</param>
    /// <param name="stopIds">Tokens that the checkpoint's other files say end a reply.</param>
    /// <exception cref="GemmaModelFormatException">There is no tokenizer, or it is damaged.</exception>
    public static GemmaTokenizer Open(string directory, IReadOnlyList<int>? stopIds = null)
    {
        string model = Path.Combine(directory, ModelName), json = Path.Combine(directory, JsonName);
        bool isJson = File.Exists(json);
        VocabularyData data = isJson ? TokenizerJsonReader.Read(Read(json), json)
            : File.Exists(model) ? SentencePieceReader.Read(Read(model), model)
            : throw new GemmaModelFormatException($"The directory '{directory}' has neither '{ModelName}' nor '{JsonName}'. The download is incomplete; run 'gemma pull' again.");
        using JsonFile? config = OpenJson(directory, ConfigName), special = OpenJson(directory, SpecialName), added = OpenJson(directory, AddedName);
        HashSet<string> specialNames = [.. SpecialNames(config), .. SpecialNames(special)];

        // Later ones win over a SentencePiece model and over each other; a tokenizer.json is only completed.
        foreach (AddedToken token in OlderTokens(added, specialNames).Concat(Decoder(config)))
        {
            if (!isJson || (!data.Holds(token.Id) && data.Find(token.Content) < 0))
            {
                data.Put(token);
            }
        }

        foreach (string name in specialNames)
        {
            if (data.Find(name) is >= 0 and int id)
            {
                data.MakeControl(id);
            }
        }

        data.BosId = Named("bos_token", "<bos>", data.BosId);
        data.EosId = Named("eos_token", "<eos>", data.EosId);
        data.PadId = Named("pad_token", "<pad>", data.PadId);
        data.StopIds = stopIds ?? [];
        return GemmaTokenizer.FromVocabulary(data);

        int Named(string key, string usual, int known) =>
            (Name(config, key) ?? Name(special, key)) is { } name && name != usual && data.Find(name) is >= 0 and int id ? id : known;
    }

    /// <summary>
    /// Everything that belongs to the tokenizer beside tokenizer.model, and how replies end, by file name: the model that training starts from has it, the
    /// weights that come out need it. What the source does not have is null: such a file of the target is of another model.
    /// </summary>
    /// <param name="source">A checkpoint directory; anything else has no such files.</param>
    /// <param name="target">Directory of the new weights. Null is returned where that is the source.</param>
    public static Dictionary<string, byte[]?>? ReadBeside(string source, string target) =>
        string.Equals(Path.GetFullPath(source), Path.GetFullPath(target), StringComparison.Ordinal)
            ? null
            : new[] { JsonName, ConfigName, AddedName, SpecialName, HuggingFaceModelFile.GenerationName, "chat_template.jinja", "chat_template.json" }
                .ToDictionary(name => name, name => File.Exists(Path.Combine(source, name)) ? File.ReadAllBytes(Path.Combine(source, name)) : null);

    /// <summary>
    /// The files of <see cref="ReadBeside"/> that a model of another form needs beside a tokenizer.model (<see cref="SentencePieceWriter"/>), which knows neither
    /// structure nor how tokens are matched: tokenizer_config.json, and generation_config.json with the tokens that end replies.
    /// </summary>
    public static Dictionary<string, byte[]> WriteBeside(ModelFile file, GemmaTokenizer tokenizer)
    {
        const TokenMatching Matching = TokenMatching.LeftStrip | TokenMatching.RightStrip | TokenMatching.Normalized | TokenMatching.SingleWord;
        JsonObject decoder = [], config = new() { ["added_tokens_decoder"] = decoder, ["tokenizer_class"] = "GemmaTokenizer" };
        for (int id = 0; id < tokenizer.VocabularySize; id++)
        {
            TokenMatching matching = tokenizer.GetMatching(id) & Matching;
            bool isSpecial = tokenizer.GetKind(id) == TokenKind.Control;
            if (isSpecial || matching != TokenMatching.None)
            {
                decoder[id.ToString(System.Globalization.CultureInfo.InvariantCulture)] = new JsonObject
                {
                    ["content"] = tokenizer.GetPiece(id), ["lstrip"] = matching.HasFlag(TokenMatching.LeftStrip), ["normalized"] = matching.HasFlag(TokenMatching.Normalized),
                    ["rstrip"] = matching.HasFlag(TokenMatching.RightStrip), ["single_word"] = matching.HasFlag(TokenMatching.SingleWord), ["special"] = isSpecial,
                };
            }
        }

        foreach ((string name, int id) in new[] { ("bos_token", tokenizer.BosId), ("eos_token", tokenizer.EosId), ("pad_token", tokenizer.PadId), ("unk_token", tokenizer.UnknownId) })
        {
            if (id >= 0)
            {
                config[name] = tokenizer.GetPiece(id);
            }
        }

        GenerationDefaults defaults = file.GenerationDefaults;
        JsonObject generation = new() { ["eos_token_id"] = new JsonArray([.. EndTokens.Of(file, tokenizer).Select(static id => (JsonNode)id)]) };
        foreach ((string name, JsonNode? value) in new[] { ("temperature", (JsonNode?)defaults.Temperature), ("top_k", defaults.TopK), ("top_p", defaults.TopP) })
        {
            if (value is not null)
            {
                generation[name] = value;
            }
        }

        return new() { [ConfigName] = Encoding.UTF8.GetBytes(config.ToJsonString()), [HuggingFaceModelFile.GenerationName] = Encoding.UTF8.GetBytes(generation.ToJsonString()) };
    }

    /// <summary>Tokens of added_tokens.json, <c>{text: id}</c>, which says nothing else of them.</summary>
    private static IEnumerable<AddedToken> OlderTokens(JsonFile? file, HashSet<string> special)
    {
        foreach (JsonProperty entry in file?.Root.EnumerateObject().ToArray() ?? [])
        {
            string content = AddedToken.Spell(entry.Name);
            bool isSpecial = special.Contains(content);
            yield return entry.Value.ValueKind == JsonValueKind.Number && entry.Value.TryGetInt32(out int id)
                ? new AddedToken(id, content, isSpecial, isSpecial ? TokenMatching.None : TokenMatching.Normalized)
                : throw file!.Wrong(entry.Name, entry.Value, "the id of a token");
        }
    }

    private static IEnumerable<AddedToken> Decoder(JsonFile? config)
    {
        const string Name = "added_tokens_decoder";
        if (config?.Find(Name) is not { } decoder)
        {
            yield break;
        }

        if (decoder.ValueKind != JsonValueKind.Object)
        {
            throw config.Wrong(Name, decoder, "an object of tokens by id");
        }

        foreach (JsonProperty entry in decoder.EnumerateObject())
        {
            yield return int.TryParse(entry.Name, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out int id)
                ? Parse(config, entry, id)
                : throw config.Wrong($"{Name}.{entry.Name}", entry.Value, "a token under its id");
        }

        static AddedToken Parse(JsonFile config, JsonProperty entry, int id)
        {
            try
            {
                return AddedToken.Read(entry.Value, id, normalizedUnlessSpecial: true);
            }
            catch (FormatException e)
            {
                throw new GemmaModelFormatException($"'{config.Path}': '{Name}.{entry.Name}': {e.Message}. The file is damaged; download it again.", e);
            }
        }
    }

    /// <summary>Texts of the tokens that a file calls special: <c>eos_token</c> and its like, and the lists of further ones.</summary>
    private static IEnumerable<string> SpecialNames(JsonFile? file)
    {
        foreach (JsonProperty entry in file?.Root.EnumerateObject().ToArray() ?? [])
        {
            if (entry.Name.EndsWith("_token", StringComparison.Ordinal) && Text(entry.Value) is { } one)
            {
                yield return one;
            }
            else if (entry.Name is "additional_special_tokens" or "extra_special_tokens")
            {
                IEnumerable<JsonElement> list = entry.Value.ValueKind switch
                {
                    JsonValueKind.Array => entry.Value.EnumerateArray(),
                    JsonValueKind.Object => entry.Value.EnumerateObject().Select(p => p.Value),
                    _ => [],
                };
                foreach (string name in list.Select(Text).OfType<string>())
                {
                    yield return name;
                }
            }
        }
    }

    private static string? Name(JsonFile? file, string key) => file?.Find(key) is { } element ? Text(element) : null;

    /// <summary>A token by its text, or by an object that holds it.</summary>
    private static string? Text(JsonElement token) => token.ValueKind switch
    {
        JsonValueKind.String => AddedToken.Spell(token.GetString()!),
        JsonValueKind.Object when token.TryGetProperty("content", out JsonElement content) && content.ValueKind == JsonValueKind.String => AddedToken.Spell(content.GetString()!),
        _ => null,
    };

    private static JsonFile? OpenJson(string directory, string name) => Path.Combine(directory, name) is var path && File.Exists(path) ? JsonFile.Open(path) : null;

    private static byte[] Read(string path)
    {
        using FileStream stream = MappedFile.OpenRead(path);
        if (stream.Length > MaxBytes)
        {
            throw new GemmaModelFormatException($"'{path}' has {stream.Length:N0} bytes, expected at most {MaxBytes:N0}. It is not a tokenizer; download it again.");
        }

        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
