namespace Gemma.Extensions.AI.Hub;

/// <summary>Options with the defaults of the environment filled in.</summary>
internal sealed class HubSettings
{
    private const string DefaultEndpoint = "https://huggingface.co";

    public HubSettings(GemmaHubOptions options)
    {
        string home = Variable("HF_HOME") ?? Path.Combine(Variable("XDG_CACHE_HOME") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache"), "huggingface");
        Cache = Path.GetFullPath(options.CacheDirectory ?? Variable("HF_HUB_CACHE") ?? Variable("HUGGINGFACE_HUB_CACHE") ?? Path.Combine(home, "hub"));
        Endpoint = new Uri((options.Endpoint?.ToString() ?? Variable("HF_ENDPOINT") ?? DefaultEndpoint).TrimEnd('/') + "/");
        TokenFile = Variable("HF_TOKEN_PATH") ?? Path.Combine(home, "token");
        Token = options.Token ?? Variable("HF_TOKEN") ?? Variable("HUGGING_FACE_HUB_TOKEN") ?? ReadToken(TokenFile);
        Offline = options.Offline ?? Variable("HF_HUB_OFFLINE") is "1" or "true" or "TRUE" or "yes" or "on";
        Options = options;
        if (options.Connections is < 1 or > 64 || options.Retries is < 0 or > 100 || options.RangeBytes < 1 || options.StallWindow <= TimeSpan.Zero || options.RetryDelay < TimeSpan.Zero)
        {
            throw new ArgumentException("Hub options are out of range: Connections 1 to 64, Retries 0 to 100, RangeBytes at least 1, StallWindow above zero, RetryDelay not negative.", nameof(options));
        }
    }

    public string Cache { get; }
    public Uri Endpoint { get; }
    public string? Token { get; }
    public string TokenFile { get; }
    public bool Offline { get; }
    public GemmaHubOptions Options { get; }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

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
