using System.Text.Json;
using Gemma.Extensions.AI.Evaluation.Checks;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.AI.Evaluation;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>A call that is right.</summary>
/// <param name="Name">The function's name.</param>
/// <param name="Arguments">For each argument the values that are right, at least one. One that stands here with <see cref="Optional"/> may be left out.</param>
public sealed record ExpectedCall(string Name, IReadOnlyDictionary<string, IReadOnlyList<object?>> Arguments)
{
    /// <summary>Names of arguments that may be left out.</summary>
    public IReadOnlyCollection<string> Optional { get; init; } = [];

    /// <summary>A call with one right value for each argument.</summary>
    public static ExpectedCall Of(string name, IEnumerable<KeyValuePair<string, object?>> arguments)
    {
        ArgumentNullException.ThrowIfNull(arguments);
        return new ExpectedCall(name, arguments.ToDictionary(argument => argument.Key, argument => (IReadOnlyList<object?>)[argument.Value], StringComparer.Ordinal));
    }
}

/// <summary>Tells a <see cref="FunctionCallEvaluator"/> which calls are right for a question; none: no function fits it.</summary>
public sealed class ExpectedCallsContext(IReadOnlyList<ExpectedCall> calls) : EvaluationContext(ContextName, new TextContent(JsonSerializer.Serialize(calls)))
{
    /// <summary>Name of the context.</summary>
    public const string ContextName = "Expected calls";

    /// <summary>The calls, in any order.</summary>
    public IReadOnlyList<ExpectedCall> Calls { get; } = calls;
}

/// <summary>
/// Checks a model's function calls as the Berkeley leaderboard does: one function, one among several, several at once in any order, or none where none fits. Names must be equal, and
/// arguments equal as values: 1 and 1.0 are, the order of properties does not matter, texts and lists must be the same. Arguments that nobody expects are wrong.
/// </summary>
public sealed class FunctionCallEvaluator : IEvaluator
{
    /// <summary>Metric: true if exactly the expected calls were made.</summary>
    public const string CallsMetric = "Calls right";

    /// <summary>Metric: true if the expected functions were called, whatever the arguments.</summary>
    public const string NamesMetric = "Functions right";

    /// <inheritdoc/>
    public IReadOnlyCollection<string> EvaluationMetricNames => [CallsMetric, NamesMetric];

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">There is no <see cref="ExpectedCallsContext"/>.</exception>
    public ValueTask<EvaluationResult> EvaluateAsync(
        IEnumerable<ChatMessage> messages, ChatResponse modelResponse, ChatConfiguration? chatConfiguration = null, IEnumerable<EvaluationContext>? additionalContext = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(modelResponse);
        ExpectedCallsContext context = additionalContext?.OfType<ExpectedCallsContext>().FirstOrDefault()
            ?? throw new InvalidOperationException($"Nobody said which calls are right: pass an {nameof(ExpectedCallsContext)} among the additional contexts, one without calls where none is.");
        FunctionCallContent[] calls = [.. modelResponse.Messages.SelectMany(message => message.Contents).OfType<FunctionCallContent>()];
        bool names = CallMatching.NamesAreRight(context.Calls, calls);
        string? problem = CallMatching.Problem(context.Calls, calls);
        return ValueTask.FromResult(new EvaluationResult(Metric(CallsMetric, problem is null, problem), Metric(NamesMetric, names, names ? null : $"called: {CallMatching.NamesOf(calls)}")));

        static BooleanMetric Metric(string name, bool value, string? reason) => new(name, value, reason)
        {
            Interpretation = new EvaluationMetricInterpretation(value ? EvaluationRating.Exceptional : EvaluationRating.Unacceptable, failed: !value, reason),
        };
    }
}
