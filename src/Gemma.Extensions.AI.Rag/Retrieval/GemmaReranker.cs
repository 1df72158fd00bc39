using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Rag;

/// <summary>Re-ranks by asking the chat model whether a passage answers the question and comparing its Yes with its No.</summary>
/// <param name="model">The model, shared with the chat client.</param>
public sealed class GemmaReranker(GemmaModel model) : IPassageReranker
{
    private static readonly string[] s_answers = ["Yes", "No"];

    private readonly GemmaModel _model = model ?? throw new ArgumentNullException(nameof(model));

    /// <inheritdoc/>
    public async Task<IReadOnlyList<double>> ScoreAsync(string question, IReadOnlyList<string> passages, CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(question);
        ArgumentNullException.ThrowIfNull(passages);

        // The passages are computed side by side; the question comes first, so that all of them share it.
        IReadOnlyList<GemmaScore>[] scores = await Task.WhenAll(passages.Select(passage => _model.ScoreAsync(
            [new ChatMessage(ChatRole.User, $"Question: {question}\n\nPassage: {passage}\n\nDoes the passage answer the question? Reply Yes or No.")], s_answers, cancellationToken: cancellationToken))).ConfigureAwait(false);
        return [.. scores.Select(s => s[0].Probability)];
    }
}
