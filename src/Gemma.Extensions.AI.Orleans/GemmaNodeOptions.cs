namespace Gemma.Extensions.AI.Orleans;

/// <summary>Options of a silo's node.</summary>
public sealed class GemmaNodeOptions
{
    /// <summary>The models that are loaded with the silo, by their names in the cluster. Without any, the silo only routes.</summary>
    public IDictionary<string, GemmaOptions> Models { get; } = new Dictionary<string, GemmaOptions>(StringComparer.OrdinalIgnoreCase);

    /// <summary>Time between two summaries that a node sends to each other node; 0.5 s unless set.</summary>
    public TimeSpan SummaryInterval { get; set; } = TimeSpan.FromMilliseconds(500);

    /// <summary>Time for which a summary counts; a node that is silent for longer is asked nothing new. 2 s unless set.</summary>
    public TimeSpan SummaryLifetime { get; set; } = TimeSpan.FromSeconds(2);

    /// <summary>Time that running calls have to end where no other node can take them over; 30 s unless set.</summary>
    public TimeSpan DrainTimeout { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Adds a model under a name, with default options.</summary>
    /// <param name="name">Name in the cluster.</param>
    /// <param name="modelPath">A GGUF file, a Hugging Face directory or an alias; see <see cref="GemmaOptions.ModelPath"/>.</param>
    /// <returns>The model's options, to be changed.</returns>
    public GemmaOptions AddModel(string name, string modelPath)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return Models[name] = new GemmaOptions { ModelPath = modelPath };
    }

    internal IEnumerable<string> Validate()
    {
        if (SummaryInterval <= TimeSpan.Zero || SummaryLifetime < 2 * SummaryInterval)
        {
            yield return $"SummaryInterval is {SummaryInterval} and SummaryLifetime {SummaryLifetime}, expected more than no time, and a lifetime of at least two intervals.";
        }

        if (DrainTimeout < TimeSpan.Zero)
        {
            yield return $"DrainTimeout is {DrainTimeout}, expected no negative time.";
        }

        foreach ((string name, GemmaOptions model) in Models)
        {
            if (string.IsNullOrWhiteSpace(model.ModelPath))
            {
                yield return $"The model '{name}' has no path. Set GemmaOptions.ModelPath.";
            }
        }
    }
}
