using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Microsoft.Extensions.Http.Resilience;
using Polly;

namespace Gemma.Extensions.AI.Hub;

/// <summary>A file of a repository.</summary>
/// <param name="Name">Path within the repository.</param>
/// <param name="Size">Bytes.</param>
/// <param name="ETag">Name of its blob: the SHA-256 of a large file, the git hash of a small one.</param>
/// <param name="IsSha256">Which of the two.</param>
internal sealed record HubFile(string Name, long Size, string ETag, bool IsSha256);

/// <summary>A repository at a commit.</summary>
internal sealed record HubRepository(string Commit, IReadOnlyDictionary<string, HubFile> Files);

/// <summary>The hub's public API over HTTP. Requests are tried again after failures of the network and of the server.</summary>
internal sealed class HubClient : IDisposable
{
    private const int MaxRedirects = 10;
    private const long MaxAnswerBytes = 64 << 20;
    private readonly HubSettings _settings;
    private readonly HttpClient _http;

    public HubClient(HubSettings settings)
    {
        _settings = settings;
        ResiliencePipeline<HttpResponseMessage> pipeline = new ResiliencePipelineBuilder<HttpResponseMessage>().AddRetry(new HttpRetryStrategyOptions
        {
            // The default covers 408, 429, 5xx and network errors, and waits as Retry-After says.
            MaxRetryAttempts = Math.Max(1, settings.Options.Retries),
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = settings.Options.RetryDelay,
            MaxDelay = TimeSpan.FromSeconds(60),
        }).Build();
        HttpMessageHandler network = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            ConnectTimeout = TimeSpan.FromSeconds(30),
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
        };
        _http = new HttpClient(settings.Options.Retries == 0 ? network : new ResilienceHandler(pipeline) { InnerHandler = network }) { Timeout = Timeout.InfiniteTimeSpan };
        _http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("gemma-extensions-ai", typeof(HubClient).Assembly.GetName().Version?.ToString(3)));
    }

    /// <summary>Files of a repository at a revision.</summary>
    /// <exception cref="GemmaHubException">The repository is not there, not accessible, or the answer is not understood.</exception>
    public async Task<HubRepository> DescribeAsync(HubReference reference, CancellationToken cancellationToken)
    {
        var url = new Uri(_settings.Endpoint, $"api/models/{reference.Repository}/revision/{Uri.EscapeDataString(reference.Revision)}?blobs=true");
        using HttpResponseMessage response = await SendAsync(url, null, reference, cancellationToken).ConfigureAwait(false);
        if (response.Content.Headers.ContentLength > MaxAnswerBytes)
        {
            throw new GemmaHubException($"'{url}' answered with {response.Content.Headers.ContentLength:N0} bytes, expected a list of files. Check HF_ENDPOINT.");
        }

        try
        {
            using JsonDocument answer = JsonDocument.Parse(await response.Content.ReadAsByteArrayAsync(cancellationToken).ConfigureAwait(false));
            JsonElement root = answer.RootElement;
            string commit = root.GetProperty("sha").GetString()!;
            if (commit.Length is 0 or > 100 || !commit.All(char.IsAsciiLetterOrDigit))
            {
                throw new GemmaHubException($"'{url}' names a commit that is none. Check HF_ENDPOINT.");
            }

            return new HubRepository(commit, root.GetProperty("siblings").EnumerateArray().Select(ReadFile).OfType<HubFile>().ToDictionary(f => f.Name, StringComparer.Ordinal));
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or ArgumentException)
        {
            throw new GemmaHubException($"'{url}' did not answer as the hub does: {e.Message} Check HF_ENDPOINT and any proxy.", e);
        }
    }

    /// <summary>Address of a file at a commit.</summary>
    public Uri FileUrl(HubReference reference, string commit, string file) =>
        new(_settings.Endpoint, $"{reference.Repository}/resolve/{commit}/{string.Join('/', file.Split('/').Select(Uri.EscapeDataString))}");

    /// <summary>Opens a file, or a range of one. Redirects are followed; the token stays with the hub.</summary>
    /// <exception cref="GemmaHubException">The server refuses.</exception>
    public async Task<HttpResponseMessage> SendAsync(Uri url, RangeHeaderValue? range, HubReference reference, CancellationToken cancellationToken)
    {
        for (int hops = 0; hops <= MaxRedirects; hops++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, url);
            request.Headers.Range = range;
            request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));
            if (_settings.Token is { } token && url.Host == _settings.Endpoint.Host && url.Port == _settings.Endpoint.Port && url.Scheme == _settings.Endpoint.Scheme)
            {
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            }

            HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
            if (response.IsSuccessStatusCode)
            {
                return response;
            }

            using (response)
            {
                url = (int)response.StatusCode is >= 301 and <= 308 && response.Headers.Location is { } location ? new Uri(url, location) : throw Refused(response, url, reference);
                if (url.Scheme is not ("http" or "https"))
                {
                    throw new GemmaHubException($"The server redirected to '{url}', which is no web address.");
                }
            }
        }

        throw new GemmaHubException($"'{url}' redirects more than {MaxRedirects} times.");
    }

    public void Dispose() => _http.Dispose();

    private static HubFile? ReadFile(JsonElement file)
    {
        string name = file.GetProperty("rfilename").GetString()!;

        // A file of the hub must not lead out of the snapshot.
        if (name.Length is 0 or > 500 || name.Contains('\\') || Path.IsPathRooted(name) || name.Split('/').Any(part => part is "" or "." or ".."))
        {
            return null;
        }

        bool large = file.TryGetProperty("lfs", out JsonElement lfs) && lfs.ValueKind == JsonValueKind.Object;
        string? hash = large ? lfs.GetProperty("sha256").GetString() : file.TryGetProperty("blobId", out JsonElement blob) ? blob.GetString() : null;
        long size = large ? lfs.GetProperty("size").GetInt64() : file.TryGetProperty("size", out JsonElement length) ? length.GetInt64() : -1;
        return hash is { Length: 40 or 64 } && hash.All(char.IsAsciiHexDigitLower) && size >= 0 ? new HubFile(name, size, hash, large) : null;
    }

    private GemmaHubException Refused(HttpResponseMessage response, Uri url, HubReference reference)
    {
        string code = response.Headers.TryGetValues("X-Error-Code", out IEnumerable<string>? codes) ? codes.First() : "";
        string page = reference.Url is null ? new Uri(_settings.Endpoint, reference.Repository).ToString() : url.ToString();
        string token = $"put an access token into the environment variable HF_TOKEN (or the file '{_settings.TokenFile}')";
        string message = (response.StatusCode, code) switch
        {
            (HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden, "GatedRepo") or (HttpStatusCode.Forbidden, _) =>
                $"'{reference}' is gated: its licence has to be accepted first. Sign in at {page} and accept it, then {token}{(_settings.Token is null ? "" : "; the present token has no access")}.",
            (HttpStatusCode.Unauthorized, "") or (HttpStatusCode.Unauthorized, "RepoNotFound") =>
                $"'{reference}' does not exist, or is gated or private ({page}). Check the name; accept the licence on that page if there is one, and {token}{(_settings.Token is null ? "" : "; the present token was not accepted")}.",
            (HttpStatusCode.Unauthorized, _) => $"'{reference}' needs a sign-in ({code}). Open {page}, and {token}.",
            (HttpStatusCode.NotFound, "RevisionNotFound") => $"'{reference.Repository}' has no revision '{reference.Revision}'. See {page}.",
            (HttpStatusCode.NotFound, _) => $"'{reference}' was not found ({url}). Check the name at {page}.",
            (HttpStatusCode.TooManyRequests, _) => $"The server still answers 429 (too many requests) after {_settings.Options.Retries} retries. Wait some minutes, or use a token: {token}.",
            _ => $"'{url}' answered {(int)response.StatusCode} ({response.ReasonPhrase}) after {_settings.Options.Retries} retries. Try again later; what was downloaded is kept.",
        };
        return new GemmaHubException(message);
    }
}
