namespace Gemma.Extensions.AI;

/// <summary>Source and cache of downloaded models. Options that are not set come from the environment variables of the hub's other tools.</summary>
public sealed class GemmaHubOptions
{
    /// <summary>
    /// Attempts after the first one at a hub that never answered because its name is unknown or nothing listens there: without a network nothing is gained by waiting.
    /// </summary>
    internal const int UnreachableRetries = 2;

    private IProgress<GemmaHubRetry>? _retries;

    /// <summary>Directory of the cache. Default: <c>HF_HUB_CACHE</c>, else <c>HF_HOME</c>/hub, else ~/.cache/huggingface/hub.</summary>
    public string? CacheDirectory { get; set; }

    /// <summary>Base address of the hub. Default: <c>HF_ENDPOINT</c>, else Hugging Face.</summary>
    public Uri? Endpoint { get; set; }

    /// <summary>Access token. Default: <c>HF_TOKEN</c>, else the file <c>HF_TOKEN_PATH</c> or <c>HF_HOME</c>/token.</summary>
    public string? Token { get; set; }

    /// <summary>Uses only what is in the cache. Default: <c>HF_HUB_OFFLINE</c>.</summary>
    public bool? Offline { get; set; }

    /// <summary>Asks the hub for the newest revision even where the model is in the cache.</summary>
    public bool Refresh { get; set; }

    /// <summary>Ranges of one file that are downloaded at the same time.</summary>
    public int Connections { get; set; } = 8;

    /// <summary>Attempts after the first one, for each request and each range; waits grow exponentially, and follow Retry-After up to <see cref="StallWindow"/>.</summary>
    public int Retries { get; set; } = 8;

    /// <summary>First wait between attempts.</summary>
    public TimeSpan RetryDelay { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>
    /// A connection that brings no answer, or of a list or file less than <see cref="MinimumBytesPerWindow"/>, in this time is given up and opened again, as often as
    /// <see cref="Retries"/> says.
    /// </summary>
    public TimeSpan StallWindow { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>See <see cref="StallWindow"/>.</summary>
    public int MinimumBytesPerWindow { get; set; } = 16 << 10;

    /// <summary>Bytes of one range; what a killed download may have to fetch again, a connection.</summary>
    public int RangeBytes { get; set; } = 4 << 20;

    /// <summary>A copy that tells of its retries.</summary>
    internal GemmaHubOptions Telling(IProgress<GemmaHubRetry>? retries)
    {
        GemmaHubOptions copy = (GemmaHubOptions)MemberwiseClone();
        copy._retries = retries;
        return copy;
    }

    /// <summary>Tells of an attempt that failed and is made again.</summary>
    internal void Tell(GemmaHubRetry retry) => _retries?.Report(retry);
}

/// <summary>An attempt that failed and is made again.</summary>
/// <param name="Reason">Why it failed.</param>
/// <param name="Attempt">Number of the attempt that follows, from 1.</param>
/// <param name="Attempts">Most attempts that follow.</param>
/// <param name="Delay">Wait before it.</param>
public readonly record struct GemmaHubRetry(string Reason, int Attempt, int Attempts, TimeSpan Delay);

/// <summary>Progress of a download.</summary>
/// <param name="File">File that is being downloaded.</param>
/// <param name="CompletedBytes">Bytes of all files that are there.</param>
/// <param name="TotalBytes">Bytes of all files.</param>
public readonly record struct GemmaDownloadProgress(string File, long CompletedBytes, long TotalBytes)
{
    /// <summary>Bytes of <see cref="File"/> that are there.</summary>
    public long FileCompletedBytes { get; init; }

    /// <summary>Bytes of <see cref="File"/>.</summary>
    public long FileTotalBytes { get; init; }

    /// <summary>
    /// True where nothing tells what the bytes have to be: the server of a URL names no SHA-256 (as <c>X-Linked-ETag</c> or ETag). Then the file's size and that it did not change
    /// in between are checked, its content is not.
    /// </summary>
    public bool HasNoHash { get; init; }
}
