using System.Reflection;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Hub;

/// <summary>Names that stand for a model: <c>nano</c> is the model inside the package Gemma.Extensions.AI.Nano.</summary>
internal static partial class ModelAliases
{
    public const string Nano = "nano";

    private const string NanoAssembly = "Gemma.Extensions.AI.Nano";
    private const string NanoType = $"{NanoAssembly}.NanoModel, {NanoAssembly}";
    private const string NanoPath = "Path";

    /// <summary>The full path of the file or directory that a path or alias means; null and the reason where there is none.</summary>
    public static string? Find(string pathOrAlias, out string? problem)
    {
        problem = null;
        if (string.Equals(pathOrAlias, Nano, StringComparison.OrdinalIgnoreCase) && !Path.Exists(pathOrAlias))
        {
            string? nano = FindNano();
            problem = nano is null
                ? $"The model path is '{pathOrAlias}', which means the small model of the package {NanoAssembly}, but that package is not referenced. " +
                  "Add it to the project, or give the path of a model file."
                : null;
            return nano;
        }

        if (IsHub(pathOrAlias))
        {
            return FindOnHub(pathOrAlias, out problem);
        }

        if (pathOrAlias.Contains('\0'))
        {
            problem = $"The model path '{pathOrAlias.Replace('\0', '?')}' holds the character U+0000, as no path does. Set {nameof(GemmaOptions.ModelPath)} to {GemmaOptions.HowToGetAModel}";
            return null;
        }

        string full = Path.GetFullPath(pathOrAlias);
        if (Path.Exists(full))
        {
            return full;
        }

        problem = $"The model '{pathOrAlias}' does not exist (looked for '{full}'). Set {nameof(GemmaOptions.ModelPath)} to {GemmaOptions.HowToGetAModel}";
        return null;
    }

    /// <summary>True if a path names a model of the hub: <c>hf:owner/name:TYPE</c>.</summary>
    public static bool IsHub(string pathOrAlias) => pathOrAlias.StartsWith(HubReference.Prefix, StringComparison.OrdinalIgnoreCase);

    /// <summary>Looks a model of the hub up in the cache; downloads nothing.</summary>
    private static string? FindOnHub(string reference, out string? problem)
    {
        try
        {
            HubReference parsed = HubReference.Parse(reference);
            HubCache cache = new(new HubSettings(new GemmaHubOptions()).Cache);
            string? path = cache.Find(parsed);
            problem = path is null
                ? $"The model '{reference}' is not in the cache '{cache.Root}'. Run 'gemma pull {parsed}', or set {nameof(GemmaOptions)}.{nameof(GemmaOptions.AllowDownload)} to download it on first use."
                : null;
            return path;
        }
        catch (ArgumentException e)
        {
            problem = e.Message;
            return null;
        }
    }

    /// <summary>The model's name to users: the name of its file without extension and part number, or of its directory. Reads nothing.</summary>
    public static string ModelId(string fullPath)
    {
        string name = Path.GetFileName(Path.TrimEndingDirectorySeparator(fullPath));
        return name.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) ? SplitSuffix().Replace(Path.GetFileNameWithoutExtension(name), "")
            : name.EndsWith(".safetensors", StringComparison.OrdinalIgnoreCase) || name.EndsWith(".json", StringComparison.OrdinalIgnoreCase)
                ? Path.GetFileName(Path.GetDirectoryName(fullPath))!
            : IsHub(fullPath) ? name
            : Path.GetFileName(HuggingFaceModelFile.NameOf(fullPath));
    }

    [GeneratedRegex("-[0-9]{5}-of-[0-9]{5}$")]
    private static partial Regex SplitSuffix();

    /// <summary>
    /// Asks the Nano package where its model is. By name, since that package depends on this one: a configuration file that says <c>"ModelPath": "nano"</c>
    /// must work without a line of code. The names are constants, so that trimming and ahead-of-time compilation see what is meant and keep it.
    /// </summary>
    private static string? FindNano() => Type.GetType(NanoType)?.GetProperty(NanoPath)?.GetValue(null, BindingFlags.DoNotWrapExceptions, null, null, null) as string;
}
