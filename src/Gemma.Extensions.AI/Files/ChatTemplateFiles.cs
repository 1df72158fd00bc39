using System.Text.Json;

namespace Gemma.Extensions.AI.Files;

/// <summary>A chat template of a checkpoint.</summary>
/// <param name="Name">What it is called; <see cref="ChatTemplateFiles.Default"/> for the one that is used unless another is asked for.</param>
/// <param name="Text">The template, Jinja.</param>
/// <param name="Source">Path of the file that holds it.</param>
internal sealed record NamedChatTemplate(string Name, string Text, string Source);

/// <summary>
/// The chat templates of a checkpoint directory, where transformers looks for them: <c>chat_template.jinja</c> with its
/// <c>additional_chat_templates</c>, else <c>chat_template</c> of tokenizer_config.json (a text, or a list of named ones), else chat_template.json.
/// </summary>
internal static class ChatTemplateFiles
{
    public const string Default = "default";

    private const long MaxBytes = 16 << 20;

    /// <summary>All templates, each name once; empty where the checkpoint has none.</summary>
    /// <exception cref="GemmaModelFormatException">A file is damaged.</exception>
    public static IReadOnlyList<NamedChatTemplate> Read(string directory)
    {
        string jinja = Path.Combine(directory, "chat_template.jinja"), more = Path.Combine(directory, "additional_chat_templates");
        string[] named = Directory.Exists(more) ? [.. Directory.GetFiles(more, "*.jinja").Order(StringComparer.Ordinal)] : [];
        if (File.Exists(jinja) || named.Length > 0)
        {
            return [.. File.Exists(jinja) ? [ReadText(Default, jinja)] : Array.Empty<NamedChatTemplate>(), .. named.Select(file => ReadText(Path.GetFileNameWithoutExtension(file), file))];
        }

        foreach (string name in new[] { TokenizerFiles.ConfigName, "chat_template.json" })
        {
            string path = Path.Combine(directory, name);
            if (File.Exists(path))
            {
                using JsonFile file = JsonFile.Open(path);
                if (file.Find("chat_template") is { } template)
                {
                    return Parse(file, template);
                }
            }
        }

        return [];
    }

    private static NamedChatTemplate[] Parse(JsonFile file, JsonElement template)
    {
        const string Expected = "a template, or a list of {\"name\", \"template\"}";
        if (template.ValueKind == JsonValueKind.String)
        {
            return [new(Default, template.GetString()!, file.Path)];
        }

        if (template.ValueKind != JsonValueKind.Array)
        {
            throw file.Wrong("chat_template", template, Expected);
        }

        List<NamedChatTemplate> templates = [];
        foreach (JsonElement entry in template.EnumerateArray())
        {
            if (entry.ValueKind != JsonValueKind.Object || !entry.TryGetProperty("name", out JsonElement name) || name.ValueKind != JsonValueKind.String
                || !entry.TryGetProperty("template", out JsonElement text) || text.ValueKind != JsonValueKind.String)
            {
                throw file.Wrong("chat_template", entry, Expected);
            }

            // Of one name the last, as in a dictionary.
            templates.RemoveAll(known => known.Name == name.GetString());
            templates.Add(new(name.GetString()!, text.GetString()!, file.Path));
        }

        return [.. templates];
    }

    private static NamedChatTemplate ReadText(string name, string path)
    {
        using FileStream stream = MappedFile.OpenRead(path);
        if (stream.Length > MaxBytes)
        {
            throw new GemmaModelFormatException($"'{path}' has {stream.Length:N0} bytes, expected at most {MaxBytes:N0}. It is not a chat template; download it again.");
        }

        using StreamReader reader = new(stream);
        return new(name, reader.ReadToEnd(), path);
    }
}
