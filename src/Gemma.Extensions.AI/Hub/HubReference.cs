using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Hub;

/// <summary>Name of a model on the hub: <c>owner/name</c>, optionally <c>:TYPE</c> of a GGUF file and <c>@revision</c>; or a direct URL.</summary>
/// <param name="Repository"><c>owner/name</c>; empty for a URL.</param>
/// <param name="Type">Type or name of the GGUF file; null: safetensors, or the only GGUF model.</param>
/// <param name="Revision">Branch, tag or commit.</param>
/// <param name="Url">A file anywhere; null for the hub.</param>
internal sealed partial record HubReference(string Repository, string? Type, string Revision, Uri? Url)
{
    public const string Prefix = "hf:";
    public const string DefaultRevision = "main";

    /// <summary>Files of a model beside its weights, if the repository has them.</summary>
    private static readonly HashSet<string> s_beside =
    [
        "config.json", "generation_config.json", "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "chat_template.jinja", "chat_template.json", "model.safetensors.index.json",
    ];

    /// <summary>Reads a reference, with or without the prefix <c>hf:</c>.</summary>
    /// <exception cref="ArgumentException">It is no reference; the message shows the forms.</exception>
    public static HubReference Parse(string text)
    {
        string bare = text.StartsWith(Prefix, StringComparison.OrdinalIgnoreCase) ? text[Prefix.Length..] : text;
        if (Uri.TryCreate(bare, UriKind.Absolute, out Uri? url) && url.Scheme is "http" or "https")
        {
            return url.Segments[^1].Trim('/').Length > 0
                ? new HubReference("", null, "", url)
                : throw new ArgumentException($"'{text}' names no file. Give the URL of a GGUF file.");
        }

        Match match = Form().Match(bare);
        return match.Success && !match.Groups["revision"].Value.Split('/').Any(part => part is "." or "..")
            ? new HubReference(match.Groups["repo"].Value, match.Groups["type"] is { Success: true } type ? type.Value : null, match.Groups["revision"] is { Success: true } revision ? revision.Value : DefaultRevision, null)
            : throw new ArgumentException($"'{text}' is no model of the hub. Write owner/name (google/gemma-2-2b-it), owner/name:TYPE for a GGUF file (bartowski/gemma-2-9b-it-GGUF:Q4_K_M), add @revision if needed, or give a URL.");
    }

    public override string ToString() => Url?.ToString() ?? Repository + (Type is null ? "" : ":" + Type) + (Revision == DefaultRevision ? "" : "@" + Revision);

    /// <summary>
    /// The files of a repository that make up the model: one GGUF model (all parts of a split one), or configuration, tokenizer and safetensors of the
    /// top directory.
    /// </summary>
    /// <exception cref="GemmaModelFormatException">There is no such model, or several; the message lists what there is.</exception>
    public IReadOnlyList<string> Select(IReadOnlyCollection<string> files)
    {
        string[] safetensors = [.. files.Where(f => !f.Contains('/') && f.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase))];
        if (Type is null && files.Contains("config.json") && safetensors.Length > 0)
        {
            // A repository may hold one model twice, whole and in shards; the whole one is enough.
            string[] weights = safetensors.Contains("model.safetensors") ? ["model.safetensors"] : safetensors;
            return [.. files.Where(f => s_beside.Contains(f) || IsNamedTemplate(f)), .. weights];
        }

        string[][] models = [.. files.Where(f => f.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) && !f.Contains("imatrix", StringComparison.OrdinalIgnoreCase))
            .GroupBy(f => Split().Replace(f, "")).Select(g => g.Order(StringComparer.Ordinal).ToArray()).OrderBy(g => g[0], StringComparer.Ordinal)];
        string[][] matching = Type is null ? models : [.. models.Where(m => IsType(m[0], Type))];
        return matching.Length switch
        {
            1 => matching[0],
            0 when models.Length == 0 => throw new GemmaModelFormatException($"'{Repository}' holds neither safetensors with a config.json nor GGUF files. Take another repository, for example google/gemma-2-2b-it."),
            0 => throw new GemmaModelFormatException($"'{Repository}' has no GGUF file of type '{Type}'. It has {List(models)}."),
            _ => throw new GemmaModelFormatException($"'{Repository}' has several GGUF files{(Type is null ? "" : $" of type '{Type}'")}: {List(matching)}. Say which, for example '{Repository}:Q4_K_M'."),
        };
    }

    /// <summary>Chat templates beside the default one have a folder of their own.</summary>
    private static bool IsNamedTemplate(string file) =>
        file.StartsWith("additional_chat_templates/", StringComparison.Ordinal) && file.EndsWith(".jinja", StringComparison.Ordinal) && file.AsSpan().Count('/') == 1;

    private static string List(string[][] models) => string.Join(", ", models.Take(40).Select(m => m[0]));

    /// <summary>True if the type stands in the file's name between separators, or is the name.</summary>
    private static bool IsType(string file, string type)
    {
        string name = Split().Replace(System.IO.Path.GetFileName(file), "");
        name = name.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) ? name[..^5] : name;
        return Regex.IsMatch(name, $@"(^|[-._]){Regex.Escape(type)}$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)
            || type.Equals(name + ".gguf", StringComparison.OrdinalIgnoreCase);
    }

    [GeneratedRegex(@"^(?<repo>[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95})(:(?<type>[A-Za-z0-9._-]{1,120}))?(@(?<revision>[A-Za-z0-9][A-Za-z0-9._/-]{0,120}))?$", RegexOptions.CultureInvariant)]
    private static partial Regex Form();

    [GeneratedRegex(@"-\d{5}-of-\d{5}(?=\.gguf$)", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Split();
}
