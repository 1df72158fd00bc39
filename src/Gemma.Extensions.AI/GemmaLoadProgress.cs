namespace Gemma.Extensions.AI;

/// <summary>How far loading a model has come.</summary>
/// <param name="Stage">What is being done, for people: <c>weights</c>.</param>
/// <param name="Completed">Units done of this stage.</param>
/// <param name="Total">Units of this stage.</param>
public readonly record struct GemmaLoadProgress(string Stage, long Completed, long Total);
