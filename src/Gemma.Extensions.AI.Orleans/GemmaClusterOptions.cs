namespace Gemma.Extensions.AI.Orleans;

/// <summary>Options of the clients of a cluster.</summary>
public sealed class GemmaClusterOptions
{
    /// <summary>
    /// Time within which a node must say something, if only that it still works; else the answer goes on at another. Nodes do so every 0.25 s, so this covers the network and
    /// pauses of the runtime. 2 s unless set, at least 0.5.
    /// </summary>
    public TimeSpan HeartbeatTimeout { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Time for which a call without any progress is tried again and again, before it fails. 30 s unless set. A call that no node has begun yet gives up after 10 s.</summary>
    public TimeSpan FailoverTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>The options that a client was given, or the defaults.</summary>
    /// <exception cref="ArgumentException">One is out of range.</exception>
    internal static GemmaClusterOptions Check(GemmaClusterOptions? options)
    {
        options ??= new GemmaClusterOptions();
        return string.Join(" ", options.Validate()) is { Length: > 0 } problems ? throw new ArgumentException(problems, nameof(options)) : options;
    }

    private IEnumerable<string> Validate()
    {
        if (HeartbeatTimeout < TimeSpan.FromSeconds(0.5))
        {
            yield return $"HeartbeatTimeout is {HeartbeatTimeout}, expected at least 0.5 s.";
        }

        if (FailoverTimeout < HeartbeatTimeout)
        {
            yield return $"FailoverTimeout is {FailoverTimeout}, expected at least HeartbeatTimeout, {HeartbeatTimeout}.";
        }
    }
}
