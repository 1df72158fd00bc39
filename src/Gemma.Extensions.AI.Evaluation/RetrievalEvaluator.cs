using System.Text.Json;
using Gemma.Extensions.AI.Evaluation.Metrics;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.AI.Evaluation;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>Tells a <see cref="RetrievalEvaluator"/> what was found for a question, and what should have been.</summary>
/// <param name="retrieved">Names of the passages that the answer was written from, in the order of their numbers.</param>
/// <param name="relevant">Names of the passages that hold the answer; none: the documents don't hold one.</param>
public sealed class RetrievalContext(IReadOnlyList<string> retrieved, IReadOnlyCollection<string> relevant)
    : EvaluationContext(ContextName, new TextContent(JsonSerializer.Serialize(new { retrieved, relevant })))
{
    /// <summary>Name of the context.</summary>
    public const string ContextName = "Retrieved passages";

    /// <summary>Passages that the answer was written from; the first is cited as [1].</summary>
    public IReadOnlyList<string> Retrieved { get; } = retrieved;

    /// <summary>Passages that hold the answer.</summary>
    public IReadOnlyCollection<string> Relevant { get; } = relevant;
}

/// <summary>
/// Answers from documents: how much of what is relevant was found, how many citations are of relevant passages, and whether the model refuses exactly where the documents don't hold the answer.
/// Citations are numbers in brackets, [2] being the second passage.
/// </summary>
public sealed class RetrievalEvaluator : IEvaluator
{
    /// <summary>Share of the relevant passages that were found, 0 to 1; no value where none is relevant.</summary>
    public const string RecallMetric = "Retrieval recall";

    /// <summary>Share of the citations that are of relevant passages, 0 to 1; no value where nothing is cited.</summary>
    public const string PrecisionMetric = "Citation precision";

    /// <summary>Metric: true if the model refused exactly when the documents hold no answer.</summary>
    public const string RefusalMetric = "Refusal right";

    private readonly string[] _refusals;

    /// <summary>An evaluator.</summary>
    /// <param name="refusals">What an answer begins with, whatever the case, that says that the documents don't hold it; unless given, the words of Gemma.Extensions.AI.Rag.</param>
    public RetrievalEvaluator(params IEnumerable<string> refusals)
    {
        ArgumentNullException.ThrowIfNull(refusals);
        _refusals = [.. refusals.DefaultIfEmpty("That is not in the documents")];
    }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> EvaluationMetricNames => [RecallMetric, PrecisionMetric, RefusalMetric];

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">There is no <see cref="RetrievalContext"/>.</exception>
    public ValueTask<EvaluationResult> EvaluateAsync(
        IEnumerable<ChatMessage> messages, ChatResponse modelResponse, ChatConfiguration? chatConfiguration = null, IEnumerable<EvaluationContext>? additionalContext = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(modelResponse);
        RetrievalContext context = additionalContext?.OfType<RetrievalContext>().FirstOrDefault()
            ?? throw new InvalidOperationException($"Nobody said what was found: pass a {nameof(RetrievalContext)} among the additional contexts.");
        string answer = modelResponse.Text.Trim();
        IReadOnlySet<int> cited = Citations.Of(answer);
        double? recall = context.Relevant.Count == 0 ? null : (double)context.Relevant.Count(context.Retrieved.Contains) / context.Relevant.Count;
        double? precision = cited.Count == 0 ? null : (double)cited.Count(number => number >= 1 && number <= context.Retrieved.Count && context.Relevant.Contains(context.Retrieved[number - 1])) / cited.Count;
        bool refuses = answer.Length == 0 || _refusals.Any(refusal => answer.StartsWith(refusal, StringComparison.OrdinalIgnoreCase)), right = refuses == (context.Relevant.Count == 0);
        BooleanMetric refusal = new(RefusalMetric, right, refuses ? "it refuses" : "it answers")
        {
            Interpretation = new EvaluationMetricInterpretation(right ? EvaluationRating.Exceptional : EvaluationRating.Unacceptable, failed: !right),
        };
        return ValueTask.FromResult(new EvaluationResult(new NumericMetric(RecallMetric, recall), new NumericMetric(PrecisionMetric, precision), refusal));
    }
}
