namespace Gemma.Extensions.AI;

/// <summary>The reason why a structured answer has no result.</summary>
/// <param name="IsCut">Whether the answer was cut, by <c>MaxOutputTokens</c> or the end of the context: more room or shorter texts help. Otherwise the client did not keep to the schema, or a stop sequence ended the answer.</param>
/// <param name="Path">JSON pointer (RFC 6901) of the value at which the answer ends or stops being JSON; empty at the top.</param>
/// <param name="Length">Characters of the answer.</param>
/// <param name="Message">What happened and what to do.</param>
public sealed record GemmaAnswerProblem(bool IsCut, string Path, int Length, string Message);
