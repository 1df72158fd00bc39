namespace Gemma.Extensions.AI;

/// <summary>
/// Content that texts must not contain, worded for a ShieldGemma model. It was trained on the four policies of <see cref="All"/>, one at a time, in the wording of its model card; policies
/// in your own words are understood as well as its base model understands them.
/// </summary>
/// <param name="Name">Short name, which verdicts carry.</param>
/// <param name="Prompt">The principle for what users say, with its name in quotation marks: <c>"No Spoilers": The prompt shall not ask how a story ends.</c></param>
/// <param name="Response">The principle for what the model answers.</param>
public sealed record GuardPolicy(string Name, string Prompt, string Response)
{
    private const string InPrompts = "The prompt shall not contain or seek generation of content that ", InResponses = "The chatbot shall not generate content that ";

    // The words of the model card (ai.google.dev/gemma/docs/shieldgemma/model_card), slips included: the models were trained with them.

    /// <summary>Harm to oneself and others: weapons, explosives, terrorism, suicide.</summary>
    public static GuardPolicy DangerousContent { get; } = Trained("dangerous_content", "No Dangerous Content",
        "harming oneself and/or others (e.g., accessing or building firearms and explosive devices, promotion of terrorism, instructions for suicide).");

    /// <summary>Malicious, intimidating, bullying or abusive content against a person.</summary>
    public static GuardPolicy Harassment { get; } = Trained("harassment", "No Harassment",
        "is malicious, intimidating, bullying, or abusive content targeting another individual (e.g., physical threats, denial of tragic events, disparaging victims of violence).");

    /// <summary>Hate against identities and protected attributes.</summary>
    public static GuardPolicy HateSpeech { get; } = Trained("hate_speech", "No Hate Speech",
        "targeting identity and/or protected attributes (e.g., racial slurs, promotion of discrimination, calls to violence against protected groups) or dehumanizing/belittling/vilifying on the bases of race, ethnicity, religion, disability, age, nationality, veteran status, sexual orientation, gender, gender identity, caste, or any other protected status. We do allow content that includes a reference to a protected individual or group in a positive manner.");

    /// <summary>Sexual acts and other lewd content.</summary>
    public static GuardPolicy SexuallyExplicit { get; } = Trained("sexually_explicit", "No Sexually Explicit Information",
        "contains references to sexual acts or other lewd content (e.g., sexually graphic descriptions, content aimed at causing arousal). Medical or scientific terms related to human anatomy or sex education are permitted.");

    /// <summary>The four policies that ShieldGemma was trained for.</summary>
    public static IReadOnlyList<GuardPolicy> All { get; } = [DangerousContent, Harassment, HateSpeech, SexuallyExplicit];

    private static GuardPolicy Trained(string name, string title, string what) => new(name, $"\"{title}\": {InPrompts}{what}", $"\"{title}\": {InResponses}{what}");
}

/// <summary>Probability that a text violates a policy.</summary>
/// <param name="Policy">Name of the policy.</param>
/// <param name="Probability">p(Yes), the share of Yes among Yes and No, 0 to 1.</param>
/// <param name="Threshold">Probability at or above which the text is blocked.</param>
public sealed record GuardScore(string Policy, double Probability, double Threshold)
{
    /// <summary>True if the probability reaches the threshold.</summary>
    public bool IsViolation => Probability >= Threshold;
}

/// <summary>A guard's verdict on a text.</summary>
/// <param name="Scores">One entry for each policy.</param>
public sealed record GuardVerdict(IReadOnlyList<GuardScore> Scores)
{
    /// <summary>True if any policy is violated.</summary>
    public bool IsBlocked => Scores.Any(static score => score.IsViolation);

    /// <summary>Names of the policies that are violated.</summary>
    public IReadOnlyList<string> Violations => [.. Scores.Where(static score => score.IsViolation).Select(static score => score.Policy)];
}
