using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Names in the log, once, what requests ask for and nothing here can use: how a server should load or place a model, for example.</summary>
internal sealed partial class UnusedOptions(ILogger logger)
{
    /// <summary>Names come from clients, so there is an end to them.</summary>
    private const int MostNames = 100;

    private const int LongestName = 60;

    private readonly ConcurrentDictionary<string, bool> _said = new();

    public void Say(string api, IReadOnlyList<string> names)
    {
        if (names.Count == 0 || _said.Count >= MostNames)
        {
            return;
        }

        string[] unsaid = [.. names.Where(name => name.Length <= LongestName && _said.TryAdd($"{api} {name}", true))];
        if (unsaid.Length > 0)
        {
            LogUnused(logger, api, string.Join(", ", unsaid));
        }
    }

    [LoggerMessage(105, LogLevel.Warning, "Requests of {Api} set options that have no effect here: {Options}. This is said once an option.")]
    private static partial void LogUnused(ILogger logger, string api, string options);
}
