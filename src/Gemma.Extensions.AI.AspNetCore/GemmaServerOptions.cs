namespace Gemma.Extensions.AI.AspNetCore;

/// <summary>Limits and habits of the HTTP endpoints, whichever API they speak. Also read from the configuration section <c>GemmaServer</c>.</summary>
public sealed class GemmaServerOptions
{
    /// <summary>Configuration section that these options are read from.</summary>
    public const string SectionName = "GemmaServer";

    /// <summary>Largest body of a request, in bytes; more is answered with 413.</summary>
    public long MaxRequestBodySize { get; set; } = 16 << 20;

    /// <summary>Interval at which a silent stream sends a comment, so that neither client nor proxy closes it.</summary>
    public TimeSpan HeartbeatInterval { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>Time that a client may take to accept written data before its connection is closed.</summary>
    public TimeSpan SlowClientTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Time that a client may take to send a request body; after that the answer is 408.</summary>
    public TimeSpan RequestBodyTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Time after which an answer is given up, waiting included; null: none.</summary>
    public TimeSpan? RequestTimeout { get; set; }

    /// <summary>Most answers to one request (<c>n</c>).</summary>
    public int MaxChoices { get; set; } = 16;

    /// <summary>
    /// Let clients have models of the hub downloaded into the cache of this machine (Ollama's <c>/api/pull</c>). They fill its disk with whatever they like: only for clients that may.
    /// </summary>
    public bool AllowPull { get; set; }

    /// <summary>Source and target of downloads with <see cref="AllowPull"/>.</summary>
    public GemmaHubOptions Hub { get; set; } = new();

    /// <summary>Time that a response (<c>/v1/responses</c>) is kept after its last use, so that another can follow it.</summary>
    public TimeSpan StoredResponseLifetime { get; set; } = TimeSpan.FromHours(24);

    /// <summary>
    /// Most bytes that kept responses take in memory; those not used for the longest time make room. The application's <c>IDistributedCache</c>, where it has one, is used instead and has limits of
    /// its own.
    /// </summary>
    public long StoredResponsesBytes { get; set; } = 64 << 20;

    internal IEnumerable<string> Validate()
    {
        if (MaxRequestBodySize < 1)
        {
            yield return $"{nameof(MaxRequestBodySize)} is {MaxRequestBodySize}, expected at least 1.";
        }

        foreach ((string name, TimeSpan time) in new[] { (nameof(HeartbeatInterval), HeartbeatInterval), (nameof(SlowClientTimeout), SlowClientTimeout), (nameof(RequestBodyTimeout), RequestBodyTimeout), (nameof(StoredResponseLifetime), StoredResponseLifetime), (nameof(RequestTimeout), RequestTimeout ?? TimeSpan.MaxValue) })
        {
            if (time <= TimeSpan.Zero)
            {
                yield return $"{name} is {time}, expected more than no time.";
            }
        }

        if (StoredResponsesBytes < 1)
        {
            yield return $"{nameof(StoredResponsesBytes)} is {StoredResponsesBytes}, expected at least 1.";
        }

        if (MaxChoices < 1)
        {
            yield return $"{nameof(MaxChoices)} is {MaxChoices}, expected at least 1.";
        }
    }
}
