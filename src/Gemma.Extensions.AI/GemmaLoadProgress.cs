namespace Gemma.Extensions.AI;

/// <summary>Progress of loading a model.</summary>
/// <param name="Stage">What is being done, for people: <c>weights</c>.</param>
/// <param name="Completed">Units done of this stage.</param>
/// <param name="Total">Units of this stage.</param>
public readonly record struct GemmaLoadProgress(string Stage, long Completed, long Total);
