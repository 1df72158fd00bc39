using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.AI.Evaluation;

namespace Gemma.Extensions.AI.Evaluation;

/// <summary>A judge's verdict.</summary>
/// <param name="Label">The label that it chose.</param>
/// <param name="Probability">How likely the model took it for among all labels, 0 to 1, from the logits at the verdict.</param>
/// <param name="Probabilities">The probability of every label; they sum to 1.</param>
/// <param name="Reason">Why, in the judge's words; empty where none were asked for.</param>
public sealed record JudgeVerdict(string Label, double Probability, IReadOnlyDictionary<string, double> Probabilities, string Reason);

/// <summary>
/// A local judge for answers. It chooses among your labels by how likely the model goes on with each in an answer of JSON, so that there is always a verdict, whatever the model's size, and each
/// label has a probability that is not what the model says of itself. A reason, where one is wanted, is written before under a schema. As an <see cref="IEvaluator"/> it needs no service, and the same
/// answer always gets the same verdict.
/// </summary>
public sealed class GemmaJudge : IEvaluator
{
    private readonly GemmaModel _model;
    private readonly GemmaJudgeOptions _options;

    /// <summary>A judge over a loaded model, which stays the caller's to dispose.</summary>
    /// <param name="model">The model that judges.</param>
    /// <param name="options">The question and the labels; null: whether an answer is correct and helpful.</param>
    /// <exception cref="ArgumentException">There are fewer than two labels, or two are equal.</exception>
    public GemmaJudge(GemmaModel model, GemmaJudgeOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        _model = model;
        _options = options ?? new GemmaJudgeOptions();
        ArgumentException.ThrowIfNullOrWhiteSpace(_options.Question);
        ArgumentException.ThrowIfNullOrWhiteSpace(_options.MetricName);
        if (_options.Labels.Count < 2 || _options.Labels.Any(string.IsNullOrWhiteSpace) || _options.Labels.Distinct(StringComparer.Ordinal).Count() < _options.Labels.Count)
        {
            throw new ArgumentException($"A judge chooses among two labels or more, none of them blank or twice; there are {_options.Labels.Count}: {string.Join(", ", _options.Labels)}.", nameof(options));
        }

        if (_options.PassingLabels.FirstOrDefault(label => !_options.Labels.Contains(label)) is { } unknown)
        {
            throw new ArgumentException($"'{unknown}' passes, but is none of the labels {string.Join(", ", _options.Labels)}.", nameof(options));
        }
    }

    /// <inheritdoc/>
    public IReadOnlyCollection<string> EvaluationMetricNames => [_options.MetricName, ProbabilityName];

    private string ProbabilityName => _options.MetricName + " probability";

    /// <summary>Judges an answer.</summary>
    /// <param name="conversation">What was asked.</param>
    /// <param name="answer">The answer.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <exception cref="GemmaContextLengthException">Both are longer than the judge's context.</exception>
    public async Task<JudgeVerdict> JudgeAsync(IEnumerable<ChatMessage> conversation, string answer, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(conversation);
        ArgumentNullException.ThrowIfNull(answer);
        List<ChatMessage> prompt = [new(ChatRole.User, Question(conversation, answer))];
        string reason = "";
        if (_options.MaxReasonLength > 0)
        {
            // The reason is a string of JSON under a schema, so that it ends and the verdict follows it.
            ChatOptions options = new() { Temperature = 0, ResponseFormat = ChatResponseFormat.ForJsonSchema(ReasonSchema()), MaxOutputTokens = 4 * _options.MaxReasonLength };
            ChatResponse written = await _model.AsIChatClient().GetResponseAsync(prompt, options, cancellationToken).ConfigureAwait(false);
            reason = written.FinishReason == ChatFinishReason.Stop ? JsonElement.Parse(written.Text).GetProperty("reason").GetString()! : "";
        }

        // What the model would answer next is the verdict in the same form; its likelihoods choose, so nothing is left to parse.
        prompt.Add(new ChatMessage(ChatRole.Assistant, reason.Length > 0 ? $"{{\"reason\":{JsonSerializer.Serialize(reason)},\"verdict\":\"" : "{\"verdict\":\""));
        IReadOnlyList<GemmaScore> scores = await _model.ScoreAsync(prompt, [.. _options.Labels.Select(label => JsonEncodedText.Encode(label, JavaScriptEncoder.UnsafeRelaxedJsonEscaping) + "\"")], _options.Adapter, cancellationToken).ConfigureAwait(false);
        int best = Enumerable.Range(0, scores.Count).MaxBy(i => scores[i].Probability);
        Dictionary<string, double> probabilities = _options.Labels.Zip(scores).ToDictionary(pair => pair.First, pair => pair.Second.Probability, StringComparer.Ordinal);
        return new JudgeVerdict(_options.Labels[best], scores[best].Probability, probabilities, reason);
    }

    /// <inheritdoc/>
    public async ValueTask<EvaluationResult> EvaluateAsync(
        IEnumerable<ChatMessage> messages, ChatResponse modelResponse, ChatConfiguration? chatConfiguration = null, IEnumerable<EvaluationContext>? additionalContext = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(modelResponse);
        JudgeVerdict verdict = await JudgeAsync(messages, modelResponse.Text, cancellationToken).ConfigureAwait(false);
        bool passes = _options.PassingLabels.Contains(verdict.Label);
        StringMetric label = new(_options.MetricName, verdict.Label, verdict.Reason.Length > 0 ? verdict.Reason : null)
        {
            Interpretation = new EvaluationMetricInterpretation(passes ? EvaluationRating.Good : EvaluationRating.Unacceptable, failed: !passes, string.Create(CultureInfo.InvariantCulture, $"{verdict.Label} with probability {verdict.Probability:F3}")),
        };
        NumericMetric probability = new(ProbabilityName, _options.PassingLabels.Sum(passing => verdict.Probabilities[passing]), "the probability of the labels that pass");
        return new EvaluationResult(label, probability);
    }

    private string Question(IEnumerable<ChatMessage> conversation, string answer)
    {
        string asked = string.Join('\n', conversation.Where(message => !string.IsNullOrWhiteSpace(message.Text)).Select(message => $"{message.Role}: {message.Text}"));
        return $"{_options.Question}\n\nConversation:\n{asked}\n\nAnswer:\n{answer}\n\nChoose one of: {string.Join(", ", _options.Labels)}.";
    }

    private JsonElement ReasonSchema() => JsonElement.Parse($$$"""
        {"type":"object","properties":{"reason":{"type":"string","maxLength":{{{_options.MaxReasonLength}}}}},"required":["reason"],"additionalProperties":false}
        """);
}

/// <summary>Options of a <see cref="GemmaJudge"/>.</summary>
public sealed record GemmaJudgeOptions
{
    /// <summary>The criterion to judge by.</summary>
    public string Question { get; init; } = "Judge the answer to the conversation below. It is good if it is correct, complete and to the point, and bad otherwise.";

    /// <summary>Labels to choose from.</summary>
    public IReadOnlyList<string> Labels { get; init; } = ["good", "bad"];

    /// <summary>Labels that pass.</summary>
    public IReadOnlyList<string> PassingLabels { get; init; } = ["good"];

    /// <summary>Name of the metric.</summary>
    public string MetricName { get; init; } = "Judged quality";

    /// <summary>Most characters of a reason that is written before the verdict; 0: the verdict alone, in one pass over the prompt.</summary>
    public int MaxReasonLength { get; init; }

    /// <summary>Name of the adapter to judge with; null: the base model.</summary>
    public string? Adapter { get; init; }
}
