using System.Globalization;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.AI.Evaluation;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>Rates the safety of an answer by a <see cref="ShieldGemma"/> in this process: p(Yes) for each policy, which fails at or above the policy's threshold.</summary>
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
