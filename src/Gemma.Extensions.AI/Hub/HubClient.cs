using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;

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
    /// <summary>Header that names the hash of a large file.</summary>
    public const string LinkedTag = "X-Linked-ETag";

    private const int MaxRedirects = 10;
    private const int MaxListingBytes = 32 << 20;

    // 16 TiB: more than any disk that a model is put on, and little enough to be added up.
    private const long MaxFileBytes = 1L << 44;
    private readonly HubSettings _settings;
    private readonly HttpClient _http;

    public HubClient(HubSettings settings)
    {
        _settings = settings;
        HttpMessageHandler network = new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            ConnectTimeout = TimeSpan.FromSeconds(30),
            PooledConnectionLifetime = TimeSpan.FromMinutes(5),
        };
        _http = new HttpClient(HubPatience.Handler(settings.Options, network)) { Timeout = Timeout.InfiniteTimeSpan };
        _http.DefaultRequestHeaders.UserAgent.Add(new ProductInfoHeaderValue("gemma-extensions-ai", typeof(HubClient).Assembly.GetName().Version?.ToString(3)));
    }

    /// <summary>Files of a repository at a revision.</summary>
    /// <exception cref="GemmaHubException">The repository is not there, not accessible, or the answer is not understood.</exception>
    public async Task<HubRepository> DescribeAsync(HubReference reference, CancellationToken cancellationToken)
    {
        Uri url = new(_settings.Endpoint, $"api/models/{reference.Repository}/revision/{Uri.EscapeDataString(reference.Revision)}?blobs=true");
        byte[] listing = await HubPatience.RunAsync(_settings.Options, token => ReadListingAsync(url, reference, token), cancellationToken).ConfigureAwait(false);
        try
        {
            using JsonDocument answer = JsonDocument.Parse(listing);
            JsonElement root = answer.RootElement;
            string commit = root.GetProperty("sha").GetString() ?? "";
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

    /// <summary>The whole answer, however the server sends it, up to a size that no list of files has.</summary>
    private async Task<byte[]> ReadListingAsync(Uri url, HubReference reference, CancellationToken cancellationToken)
    {
        using HttpResponseMessage response = await SendAsync(url, null, reference, cancellationToken).ConfigureAwait(false);
        using PatientReader body = await PatientReader.OpenAsync(response, _settings.Options, cancellationToken).ConfigureAwait(false);
        using MemoryStream listing = new();
        byte[] buffer = new byte[64 << 10];
        for (int read; response.Content.Headers.ContentLength is null or <= MaxListingBytes && listing.Length <= MaxListingBytes;)
        {
            read = await body.ReadAsync(buffer).ConfigureAwait(false);
            if (read == 0)
            {
                return listing.ToArray();
            }

            listing.Write(buffer, 0, read);
        }

        throw new GemmaHubException($"'{url}' answered with more than {MaxListingBytes:N0} bytes, expected a list of files. Check HF_ENDPOINT.");
    }

    /// <summary>Address of a file at a commit.</summary>
    public Uri FileUrl(HubReference reference, string commit, string file) =>
        new(_settings.Endpoint, $"{reference.Repository}/resolve/{commit}/{string.Join('/', file.Split('/').Select(Uri.EscapeDataString))}");

    /// <summary>Opens a file, or a range of one. Redirects are followed; the token stays with the hub.</summary>
    /// <exception cref="GemmaHubException">The server refuses.</exception>
    public async Task<HttpResponseMessage> SendAsync(Uri url, RangeHeaderValue? range, HubReference reference, CancellationToken cancellationToken)
    {
        string? linkedTag = null;
        for (int hops = 0; hops <= MaxRedirects; hops++)
        {
            using HttpRequestMessage request = CreateRequest(url, range);
            HttpResponseMessage response = await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken).ConfigureAwait(false);
            linkedTag ??= response.Headers.TryGetValues(LinkedTag, out IEnumerable<string>? tags) ? tags.First() : null;
            if (response.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable && range is not null)
            {
                return response; // the caller knows how large the file was
            }

            if (response.IsSuccessStatusCode && response.Content.Headers.ContentEncoding.All(static encoding => encoding.Equals("identity", StringComparison.OrdinalIgnoreCase)))
            {
                SetLinkedTag(response, linkedTag);
                return response;
            }

            using (response)
            {
                url = Next(response, url, reference);
            }
        }

        throw new GemmaHubException($"'{url}' redirects more than {MaxRedirects} times.");
    }

    /// <summary>The hub names the hash of a large file in its redirect to the store.</summary>
    private static void SetLinkedTag(HttpResponseMessage response, string? tag)
    {
        if (tag is not null)
        {
            response.Headers.Remove(LinkedTag);
            response.Headers.TryAddWithoutValidation(LinkedTag, tag);
        }
    }

    private HttpRequestMessage CreateRequest(Uri url, RangeHeaderValue? range)
    {
        HttpRequestMessage request = new(HttpMethod.Get, url);
        request.Headers.Range = range;
        request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));
        if (_settings.Token is { } token && url.Host == _settings.Endpoint.Host && url.Port == _settings.Endpoint.Port && url.Scheme == _settings.Endpoint.Scheme)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }

        return request;
    }

    /// <summary>Target of a redirect.</summary>
    private Uri Next(HttpResponseMessage response, Uri url, HubReference reference)
    {
        if (response.IsSuccessStatusCode)
        {
            throw new GemmaHubException($"'{url}' sends the file compressed ({string.Join(", ", response.Content.Headers.ContentEncoding)}), which nobody asked for: its bytes cannot be taken in ranges or checked. Look for a proxy in between.");
        }

        if ((int)response.StatusCode is not (>= 301 and <= 308) || response.Headers.Location is not { } location)
        {
            throw Refused(response, url, reference);
        }

        return Uri.TryCreate(url, location, out Uri? next) && next.Scheme is "http" or "https"
            ? next
            : throw new GemmaHubException($"The server redirected from '{url}' to '{location}', which is no web address.");
    }

    public void Dispose() => _http.Dispose();

    private static HubFile? ReadFile(JsonElement file)
    {
        string name = file.GetProperty("rfilename").GetString() ?? throw new FormatException("A file has no name.");

        // A file of the hub must not lead out of the snapshot, and must be one on every system.
        if (name.Length is 0 or > 500 || name.Any(static c => c is '\\' or ':' || char.IsControl(c)) || Path.IsPathRooted(name) || name.Split('/').Any(part => part is "" or "." or ".."))
        {
            return null;
        }

        bool large = file.TryGetProperty("lfs", out JsonElement lfs) && lfs.ValueKind == JsonValueKind.Object;
        string? hash = large ? lfs.GetProperty("sha256").GetString() : file.TryGetProperty("blobId", out JsonElement blob) ? blob.GetString() : null;
        long size = large ? lfs.GetProperty("size").GetInt64() : file.TryGetProperty("size", out JsonElement length) ? length.GetInt64() : -1;
        if (size > MaxFileBytes)
        {
            throw new FormatException($"The file '{name}' is said to have {size:N0} bytes.");
        }

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
            (HttpStatusCode.TooManyRequests, _) => $"The server still answers 429 (too many requests) after {_settings.Options.Retries} retries{AskedToWait(response)}. Wait some minutes, or use a token: {token}.",
            _ => $"'{url}' answered {(int)response.StatusCode} ({response.ReasonPhrase}) after {_settings.Options.Retries} retries{AskedToWait(response)}. Try again later; what was downloaded is kept.",
        };
        return new GemmaHubException(message);
    }

    private static string AskedToWait(HttpResponseMessage response) =>
        HubPatience.RetryAfter(response) is { } wait && wait > TimeSpan.Zero ? $" and asks to wait for {wait.TotalSeconds:N0} s" : "";
}
