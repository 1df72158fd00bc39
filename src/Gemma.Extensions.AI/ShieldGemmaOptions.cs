namespace Gemma.Extensions.AI;

/// <summary>The reaction of <c>UseShieldGemma</c> to blocked content.</summary>
public enum GuardAction
{
    /// <summary>The answer is <see cref="ShieldGemmaOptions.Refusal"/> with the finish reason <c>ContentFilter</c>, and names the policies.</summary>
    Filter,

    /// <summary>The call throws <see cref="GemmaContentFilterException"/>.</summary>
    Throw,
}

/// <summary>Options of <see cref="ShieldGemma"/> and <c>UseShieldGemma</c>.</summary>
public sealed class ShieldGemmaOptions
{
    private const double DefaultThreshold = 0.5;
    private const int DefaultWindow = 400;

    /// <summary>The policies; those of <see cref="GuardPolicy.All"/> unless set. Yours may be among them.</summary>
    public IReadOnlyList<GuardPolicy> Policies { get; set; } = GuardPolicy.All;

    /// <summary>Probability at or above which a text is blocked; above 0 and at most 1.</summary>
    public double Threshold { get; set; } = DefaultThreshold;

    /// <summary>Thresholds of single policies, by name. More than 1 lets everything pass, so that the policy is only reported.</summary>
    public IDictionary<string, double> Thresholds { get; set; } = new Dictionary<string, double>(StringComparer.Ordinal);

    /// <summary>Name of the adapter of the guard's model to classify with; null: the model itself.</summary>
    public string? Adapter { get; set; }

    /// <summary>True if the user's last messages are checked before they are answered, wherever they stand: also before instructions, a begun answer or tool results.</summary>
    public bool ChecksPrompts { get; set; } = true;

    /// <summary>True if answers are checked before they are returned.</summary>
    public bool ChecksResponses { get; set; } = true;

    /// <summary>The reaction to blocked content.</summary>
    public GuardAction Action { get; set; }

    /// <summary>The answer in place of blocked content; empty for none.</summary>
    public string Refusal { get; set; } = "I can't help with that.";

    /// <summary>Characters of a streamed answer that are held back until they are checked with all before them: fewer come sooner, and are checked more often.</summary>
    public int Window { get; set; } = DefaultWindow;

    internal double ThresholdOf(GuardPolicy policy) => Thresholds.TryGetValue(policy.Name, out double threshold) ? threshold : Threshold;

    /// <summary>A copy that later changes do not reach.</summary>
    /// <exception cref="ArgumentException">An option is out of range.</exception>
    internal ShieldGemmaOptions Checked()
    {
        ArgumentNullException.ThrowIfNull(Policies);
        ArgumentNullException.ThrowIfNull(Refusal);
        if (Policies.Count == 0 || Policies.Select(policy => policy.Name).Distinct(StringComparer.Ordinal).Count() < Policies.Count || Policies.Any(policy => string.IsNullOrWhiteSpace(policy.Prompt) || string.IsNullOrWhiteSpace(policy.Response)))
        {
            throw new ArgumentException($"{nameof(Policies)} is empty, names one twice, or holds one without words.");
        }

        if (Thresholds.Keys.FirstOrDefault(name => Policies.All(policy => policy.Name != name)) is { } unknown)
        {
            throw new ArgumentException($"{nameof(Thresholds)} names '{unknown}', but the policies are {string.Join(", ", Policies.Select(policy => policy.Name))}.");
        }

        if (!(Threshold > 0 && Threshold <= 1) || Thresholds.Values.Any(value => !(value > 0)))
        {
            throw new ArgumentOutOfRangeException(nameof(Threshold), Threshold, $"A threshold is out of range: {nameof(Threshold)} must be above 0 and at most 1, those of policies above 0.");
        }

        if (Window < 1 || !Enum.IsDefined(Action))
        {
            throw new ArgumentOutOfRangeException(nameof(Window), Window, $"{nameof(Window)} is {Window}, expected at least 1; {nameof(Action)} is {Action}, expected Filter or Throw.");
        }

        ShieldGemmaOptions copy = (ShieldGemmaOptions)MemberwiseClone();
        copy.Policies = [.. Policies];
        copy.Thresholds = new Dictionary<string, double>(Thresholds, StringComparer.Ordinal);
        return copy;
    }
}
