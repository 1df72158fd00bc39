using System.Text.Json;
using Gemma.Extensions.AI.Text;

namespace Gemma.Extensions.AI.Files;

/// <summary>The chat template that a checkpoint is asked with: the one named <see cref="ChatTemplateFiles.Default"/>, with the special tokens that it may name.</summary>
internal static class CheckpointTemplate
{
    private const string GgufKey = "tokenizer.chat_template";

    /// <summary>The template of a directory, null where it has none.</summary>
    /// <exception cref="GemmaModelFormatException">A file is damaged, or there are templates but no default.</exception>
    public static ChatTemplateText? Read(string directory)
    {
        IReadOnlyList<NamedChatTemplate> templates = ChatTemplateFiles.Read(directory);
        if (templates.Count == 0)
        {
            return null;
        }

        NamedChatTemplate template = templates.FirstOrDefault(static named => named.Name == ChatTemplateFiles.Default) ?? throw NoDefault(templates[0].Source, templates.Select(static named => named.Name));
        return new ChatTemplateText(template.Text, Path.GetFileName(template.Source), SpecialTokens(directory));
    }

    /// <summary>The template of a GGUF file, null where it has none.</summary>
    /// <exception cref="GemmaModelFormatException">There are templates but no default.</exception>
    public static ChatTemplateText? Read(GgufMetadata metadata, string path)
    {
        if (metadata.GetString(GgufKey) is { } text)
        {
            return new ChatTemplateText(text, GgufKey, new Dictionary<string, string>());
        }

        const string Default = $"{GgufKey}.{ChatTemplateFiles.Default}";
        string[] named = [.. metadata.Values.Select(static value => value.Key).Where(static key => key.StartsWith(GgufKey + ".", StringComparison.Ordinal)).Select(static key => key[(GgufKey.Length + 1)..])];
        return named.Length == 0 ? null
            : metadata.GetString(Default) is { } other ? new ChatTemplateText(other, Default, new Dictionary<string, string>())
            : throw NoDefault(path, named);
    }

    private static GemmaModelFormatException NoDefault(string path, IEnumerable<string> names) =>
        new($"'{path}' has chat templates named {string.Join(", ", names.Take(10).Select(ErrorText.Printable))}, but none named '{ChatTemplateFiles.Default}'. {ChatFormats.HowToForce}");

    /// <summary>Special tokens as the tokenizer's configuration spells them: texts, or objects with the text as their <c>content</c>.</summary>
    private static Dictionary<string, string> SpecialTokens(string directory)
    {
        Dictionary<string, string> tokens = new(StringComparer.Ordinal);
        string path = Path.Combine(directory, TokenizerFiles.ConfigName);
        if (!File.Exists(path))
        {
            return tokens;
        }

        using JsonFile config = JsonFile.Open(path);
        foreach (JsonProperty property in config.Root.EnumerateObject().Where(static property => property.Name.EndsWith("_token", StringComparison.Ordinal)))
        {
            JsonElement value = property.Value.ValueKind == JsonValueKind.Object && property.Value.TryGetProperty("content", out JsonElement content) ? content : property.Value;
            if (value.ValueKind == JsonValueKind.String)
            {
                tokens[property.Name] = value.GetString()!;
            }
        }

        return tokens;
    }
}
