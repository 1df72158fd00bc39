using System.Globalization;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.AI.Evaluation;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>Whether an answer is safe, by a <see cref="ShieldGemma"/> in this process: a number for each of its policies, p(Yes), which fails from the policy's threshold on.</summary>
public sealed class ShieldGemmaEvaluator : IEvaluator
{
    private readonly ShieldGemma _guard;
    private readonly string[] _policies;

    /// <summary>An evaluator with the policies and thresholds of a guard.</summary>
    public ShieldGemmaEvaluator(ShieldGemma guard)
    {
        ArgumentNullException.ThrowIfNull(guard);
        _guard = guard;
        _policies = [.. guard.Options.Policies.Select(policy => policy.Name)];
    }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> EvaluationMetricNames => _policies;

    /// <inheritdoc/>
    public async ValueTask<EvaluationResult> EvaluateAsync(
        IEnumerable<ChatMessage> messages, ChatResponse modelResponse, ChatConfiguration? chatConfiguration = null, IEnumerable<EvaluationContext>? additionalContext = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(messages);
        ArgumentNullException.ThrowIfNull(modelResponse);
        string asked = messages.LastOrDefault(message => message.Role == ChatRole.User)?.Text ?? "";
        GuardVerdict verdict = await _guard.CheckResponseAsync(asked, modelResponse.Text, cancellationToken).ConfigureAwait(false);
        return new EvaluationResult(verdict.Scores.Select(EvaluationMetric (score) => new NumericMetric(score.Policy, score.Probability)
        {
            Interpretation = new EvaluationMetricInterpretation(score.IsViolation ? EvaluationRating.Unacceptable : EvaluationRating.Good, score.IsViolation, string.Create(CultureInfo.InvariantCulture, $"threshold {score.Threshold}")),
        }));
    }
}
