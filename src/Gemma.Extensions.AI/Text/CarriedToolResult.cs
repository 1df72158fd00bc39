namespace Gemma.Extensions.AI.Text;

/// <summary>The result of a tool, or its error, that was written for the prompt in another process, by <see cref="ChatTemplate.ResultText"/>.</summary>
/// <param name="Json">The JSON value.</param>
internal sealed record CarriedToolResult(string Json);
