using System.Net;

namespace Gemma.Extensions.AI.AspNetCore.Hosting;

/// <summary>Address and access of a stand-alone server.</summary>
internal sealed record ServerHostSettings
{
    /// <summary>Address to listen at: localhost, an IP address, or * for all.</summary>
    public string Host { get; init; } = "127.0.0.1";

    /// <summary>Port to listen at; 0 takes one that is free.</summary>
    public int Port { get; init; } = 8080;

    /// <summary>Accepted API keys; none: no key is required.</summary>
    public IReadOnlyList<string> ApiKeys { get; init; } = [];

    /// <summary>Origins of pages that may ask, as https://host:port; * is any.</summary>
    public IReadOnlyList<string> CorsOrigins { get; init; } = [];

    /// <summary>Answer other machines without a key.</summary>
    public bool IsInsecure { get; init; }

    /// <summary>Time that running requests have to finish when the server stops.</summary>
    public TimeSpan DrainTimeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The address; null is every one of the machine.</summary>
    public IPAddress? Address => Host is "*" or "+" ? null : Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ? IPAddress.Loopback : IPAddress.Parse(Host.Trim('[', ']'));

    /// <summary>
    /// Names of this server that requests may have in their Host header; null: any. Without keys, only names that mean the machine itself: a page of another site can make its own name mean this
    /// machine (DNS rebinding), and a browser would then ask as if it were this server's page. With keys, such a page has none.
    /// </summary>
    public IReadOnlyList<string>? AllowedHosts => ApiKeys.Count > 0 || Address is not { } address || !IPAddress.IsLoopback(address) ? null
        : ["localhost", "127.0.0.1", "[::1]", address.ToString()];

    /// <summary>Reasons why the server cannot start.</summary>
    public IEnumerable<string> Validate()
    {
        bool isAny = Host is "*" or "+";
        if (!isAny && !Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) && !IPAddress.TryParse(Host.Trim('[', ']'), out _))
        {
            yield return $"The host is '{Host}', expected localhost, an IP address of this machine, or * for all of them. A name would be listened to on all.";
            yield break;
        }

        if (ApiKeys.Count == 0 && !IsInsecure && (isAny || !IPAddress.IsLoopback(Address!)))
        {
            yield return $"Other machines could use this server at '{Host}' without a key. Give one with --api-key or --api-key-file, or allow it with --insecure.";
        }

        if (ApiKeys.Any(string.IsNullOrWhiteSpace))
        {
            yield return "An API key is blank, which anybody could guess.";
        }

        foreach (string origin in CorsOrigins.Where(static origin => origin != "*" && !IsOrigin(origin)))
        {
            yield return $"The origin '{origin}' is none, expected the scheme, host and port of a page, as https://chat.example.org, or * for any.";
        }

        if (Port is < 0 or > 65535)
        {
            yield return $"The port is {Port}, expected 0 to 65535.";
        }
    }

    private static bool IsOrigin(string text) => Uri.TryCreate(text, UriKind.Absolute, out Uri? uri) && uri.AbsolutePath is "/" or "" && !text.EndsWith('/') && uri.UserInfo.Length == 0 && uri.Query.Length == 0;
}
