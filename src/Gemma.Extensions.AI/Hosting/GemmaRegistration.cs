namespace Gemma.Extensions.AI.Hosting;

/// <summary>One client or generator that was registered.</summary>
/// <param name="serviceKey">The key of the service; null where it has none.</param>
/// <param name="optionsName">Name of the options, which all registrations under one key share.</param>
/// <param name="configure">What the caller sets; the options system runs it too.</param>
internal sealed class GemmaRegistration(object? serviceKey, string optionsName, Action<GemmaOptions>? configure)
{
    private readonly Action<GemmaOptions>? _configure = configure;

    public object? ServiceKey { get; } = serviceKey;

    public string OptionsName { get; } = optionsName;

    /// <summary>
    /// The model of each registration under a name, where they name different ones (a large model to chat with, a small one for embeddings); empty where
    /// they agree, and the options as they are count.
    /// </summary>
    public static IReadOnlyList<(GemmaRegistration Registration, string? Path)> Paths(IEnumerable<GemmaRegistration> registrations, string optionsName, string? path)
    {
        (GemmaRegistration, string? Path)[] own = [.. registrations.Where(one => one.OptionsName == optionsName && one._configure is not null).Select(one => (one, one.PathOver(path)))];
        return own.All(one => one.Path == own[0].Path) ? [] : own;
    }

    private string? PathOver(string? path)
    {
        GemmaOptions options = new() { ModelPath = path };
        _configure!(options);
        return options.ModelPath;
    }
}
