using System.Diagnostics.CodeAnalysis;

namespace Gemma.Extensions.AI.Hub;

/// <summary>Options with the defaults of the environment filled in.</summary>
internal sealed class HubSettings
{
    private const string DefaultEndpoint = "https://huggingface.co";

    /// <param name="options">What is set wins.</param>
    /// <param name="environment">Reads a variable; null: of the process.</param>
    /// <exception cref="ArgumentException">An option is out of range, or the endpoint is no web address.</exception>
    public HubSettings(GemmaHubOptions options, Func<string, string?>? environment = null)
    {
        environment ??= Environment.GetEnvironmentVariable;
        string home = Variable("HF_HOME") ?? Path.Combine(Variable("XDG_CACHE_HOME") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "huggingface");
        home = Expand(home);
        Cache = Path.GetFullPath(options.CacheDirectory ?? Expand(Variable("HF_HUB_CACHE") ?? Variable("HUGGINGFACE_HUB_CACHE") ?? Path.Combine(home, "hub")));
        Endpoint = ReadEndpoint(options.Endpoint?.ToString() ?? Variable("HF_ENDPOINT") ?? DefaultEndpoint);
        TokenFile = Expand(Variable("HF_TOKEN_PATH")) ?? Path.Combine(home, "token");
        Token = options.Token ?? Variable("HF_TOKEN") ?? Variable("HUGGING_FACE_HUB_TOKEN") ?? ReadToken(TokenFile);
        Offline = options.Offline ?? (Variable("HF_HUB_OFFLINE") ?? Variable("TRANSFORMERS_OFFLINE"))?.ToUpperInvariant() is "1" or "TRUE" or "YES" or "ON";
        Options = options;
        string? Variable(string name) => environment(name) is { Length: > 0 } value ? value : null;
        Check(options.Connections is >= 1 and <= 64, nameof(options.Connections), options.Connections, "1 to 64");
        Check(options.Retries is >= 0 and <= 100, nameof(options.Retries), options.Retries, "0 to 100");
        Check(options.RangeBytes >= 1, nameof(options.RangeBytes), options.RangeBytes, "at least 1");
        Check(options.StallWindow > TimeSpan.Zero, nameof(options.StallWindow), options.StallWindow, "a time above zero");
        Check(options.RetryDelay >= TimeSpan.Zero, nameof(options.RetryDelay), options.RetryDelay, "a time that is not negative");
    }

    public string Cache { get; }
    public Uri Endpoint { get; }
    public string? Token { get; }
    public string TokenFile { get; }
    public bool Offline { get; }
    public GemmaHubOptions Options { get; }

    private static void Check(bool isRight, string name, object value, string expected)
    {
        if (!isRight)
        {
            throw new ArgumentException($"{name} is {value}, expected {expected}.", name);
        }
    }

    /// <summary>The hub's other tools take ~ in their variables for the home directory.</summary>
    [return: NotNullIfNotNull(nameof(path))]
    private static string? Expand(string? path) =>
        path is ['~'] or ['~', '/' or '\\', ..] ? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) + path[1..] : path;

    private static Uri ReadEndpoint(string address) =>
        Uri.TryCreate(address.TrimEnd('/') + "/", UriKind.Absolute, out Uri? endpoint) && endpoint.Scheme is "http" or "https"
            ? endpoint
            : throw new ArgumentException($"The address of the hub (HF_ENDPOINT) is '{address}', expected a web address such as {DefaultEndpoint}.");

    private static string? ReadToken(string path)
    {
        try
        {
            return File.Exists(path) && File.ReadAllText(path).Trim() is { Length: > 0 } token ? token : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
