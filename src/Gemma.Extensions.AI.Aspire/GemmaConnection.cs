using System.Data.Common;
using Microsoft.Extensions.Configuration;

namespace Gemma.Extensions.AI.Aspire;

/// <summary>Reads the model and its options from a connection string.</summary>
internal static class GemmaConnection
{
    /// <summary>Another name for <see cref="GemmaOptions.ModelPath"/>, as connection strings have it.</summary>
    public const string Model = "Model";

    private const string AdapterPrefix = nameof(GemmaOptions.Adapters) + ":";

    private static readonly string[] s_keys =
    [
        Model, nameof(GemmaOptions.ModelPath), nameof(GemmaOptions.AllowDownload), nameof(GemmaOptions.ContextLength), nameof(GemmaOptions.ChatFormat), nameof(GemmaOptions.Threads), nameof(GemmaOptions.Kernel),
        nameof(GemmaOptions.Device), nameof(GemmaOptions.GpuLayers), nameof(GemmaOptions.KvCacheType), nameof(GemmaOptions.KvCacheBytes), nameof(GemmaOptions.MaxConcurrentRequests),
        nameof(GemmaOptions.MaxQueuedRequests), nameof(GemmaOptions.PrefixCache), nameof(GemmaOptions.SpeculativeTokens), nameof(GemmaOptions.DraftModelPath), nameof(GemmaOptions.MemoryCheck),
        nameof(GemmaOptions.HugePages), nameof(GemmaOptions.IdleUnload), nameof(GemmaOptions.MemoryBudget), nameof(GemmaOptions.Preload),
    ];

    /// <summary>Reads a connection string as a section of options.</summary>
    /// <param name="name">Name of the connection, for errors.</param>
    /// <param name="text">The connection string.</param>
    /// <exception cref="ArgumentException">It is malformed, or names what is no option.</exception>
    public static IConfiguration Read(string name, string text)
    {
        Dictionary<string, string?> options = new(StringComparer.OrdinalIgnoreCase);
        foreach ((string key, string value) in Pairs(name, text))
        {
            if (!key.StartsWith(AdapterPrefix, StringComparison.OrdinalIgnoreCase) && !s_keys.Contains(key, StringComparer.OrdinalIgnoreCase))
            {
                throw new ArgumentException(
                    $"The connection string '{name}' says '{key}', which is no option of a Gemma model. It may say {string.Join(", ", s_keys)} and {AdapterPrefix}NAME; a path alone will do, too.");
            }

            string option = key.Equals(Model, StringComparison.OrdinalIgnoreCase) ? nameof(GemmaOptions.ModelPath) : key;
            if (!options.TryAdd(option, value))
            {
                throw new ArgumentException($"The connection string '{name}' says both '{Model}' and '{nameof(GemmaOptions.ModelPath)}', which mean the same. Leave one out.");
            }
        }

        return new ConfigurationBuilder().AddInMemoryCollection(options).Build();
    }

    private static IEnumerable<(string Key, string Value)> Pairs(string name, string text)
    {
        if (!text.Contains('='))
        {
            return [(Model, text.Trim().TrimEnd(';'))];
        }

        try
        {
            DbConnectionStringBuilder pairs = new() { ConnectionString = text };
            return [.. pairs.Keys.Cast<string>().Select(key => (key, (string)pairs[key]))];
        }
        catch (ArgumentException e)
        {
            throw new ArgumentException($"The connection string '{name}' is neither a path nor a list of NAME=VALUE between semicolons: {e.Message} Put a path that holds '=' or ';' in quotes: {Model}=\"…\".", e);
        }
    }
}
