namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>A token with its log probability, as OpenAI's API and Ollama's have it.</summary>
internal sealed class TokenLogProbability
{
    public required string Token { get; init; }

    public required double Logprob { get; init; }

    public required IReadOnlyList<int> Bytes { get; init; }

    public IReadOnlyList<TokenLogProbability>? TopLogprobs { get; init; }

    public static IReadOnlyList<TokenLogProbability> From(IReadOnlyList<GemmaLogProbabilities> tokens) =>
        [.. tokens.Select(static token => From(token.Token, [.. token.Top.Select(static top => From(top, null))]))];

    /// <summary>JSON has no infinity; OpenAI writes this number for what cannot come.</summary>
    public static double Finite(double logProbability) => Math.Max(logProbability, -9999);

    private static TokenLogProbability From(GemmaTokenLogProbability token, IReadOnlyList<TokenLogProbability>? top) => new()
    {
        Token = token.Text,
        Logprob = Finite(token.LogProbability),
        Bytes = [.. token.Utf8.Span],
        TopLogprobs = top,
    };
}
