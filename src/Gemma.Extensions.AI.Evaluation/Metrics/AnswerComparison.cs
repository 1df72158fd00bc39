using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Evaluation.Tasks;

namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>Compares what a model wrote with what is right.</summary>
internal sealed class AnswerComparison
{
    /// <summary>The answer if nothing could be extracted.</summary>
    public const string Invalid = "[invalid]";

    private readonly EvaluationTask _task;
    private readonly Regex[] _ignored;
    private readonly (AnswerExtraction Extraction, Regex Pattern)[] _extractions;

    public AnswerComparison(EvaluationTask task)
    {
        _task = task;
        _ignored = [.. task.Normalize.Ignore.Select(pattern => Patterns.Compile(pattern, "normalize"))];
        _extractions = [.. task.Extract.Select(extraction => (extraction, Patterns.Compile(extraction.Pattern, extraction.Name)))];
    }

    /// <summary>The right answers, each of one span or several.</summary>
    /// <exception cref="FormatException">The row names none.</exception>
    public static string[][] Right(JsonNode? answer)
    {
        string[][] right = answer is JsonArray list ? [.. list.Select(item => item is JsonArray spans ? (string[])[.. spans.Select(Text)] : [Text(item)]).Where(spans => spans.Length > 0)] : [[Text(answer)]];
        return right.Length > 0 ? right : throw new FormatException("A row names no right answer.");

        static string Text(JsonNode? node) => node is null ? throw new FormatException("The answer of a row is null.")
            : node.GetValueKind() == JsonValueKind.String ? node.GetValue<string>() : node.ToJsonString();
    }

    /// <summary>The values of every metric, by name; of the best right answer where there are several.</summary>
    public IEnumerable<KeyValuePair<string, double>> Values(string written, JsonNode? answer)
    {
        string[][] right = Right(answer);
        if (_extractions.Length == 0)
        {
            foreach (string metric in _task.Metrics)
            {
                yield return new(metric, right.Max(spans => Value(metric, written, spans)));
            }
        }

        foreach ((AnswerExtraction extraction, Regex pattern) in _extractions)
        {
            string taken = Take(written, pattern, extraction.Last);
            foreach (string metric in _task.Metrics)
            {
                yield return new($"{metric},{extraction.Name}", right.Max(spans => Value(metric, taken, spans)));
            }
        }
    }

    /// <summary>A text as it is compared.</summary>
    public string Normalize(string text)
    {
        foreach (Regex pattern in _ignored)
        {
            text = pattern.Replace(text, "");
        }

        AnswerNormalization rules = _task.Normalize;
        text = rules.IgnoreCase ? text.ToLowerInvariant() : text;
        text = rules.IgnorePunctuation ? string.Concat(text.Where(static c => !(char.IsAscii(c) && (char.IsPunctuation(c) || char.IsSymbol(c))))) : text;
        return rules.Trim ? text.Trim() : text;
    }

    private static string Take(string written, Regex pattern, bool last)
    {
        Match? match = last ? pattern.Matches(written).LastOrDefault() : pattern.Match(written) is { Success: true } first ? first : null;
        return match is null ? Invalid : (match.Groups.Cast<Group>().Skip(1).FirstOrDefault(static group => group.Success && group.Length > 0) ?? match).Value.Trim();
    }

    private double Value(string metric, string written, string[] right) => metric switch
    {
        MetricNames.ExactMatch => Normalize(written) == Normalize(right[0]) ? 1 : 0,
        MetricNames.F1 => TokenF1.Value(Normalize(written), Normalize(right[0])),
        MetricNames.DropExactMatch => DropMetrics.ExactMatch(written, right),
        MetricNames.DropF1 => DropMetrics.F1(written, right),
        MetricNames.CitationPrecision => Citations.Precision(Citations.Of(written), Citations.Of(right[0])),
        MetricNames.CitationRecall => Citations.Recall(Citations.Of(written), Citations.Of(right[0])),
        MetricNames.Refusal => (Citations.Of(written).Count == 0) == (Citations.Of(right[0]).Count == 0) ? 1 : 0,
        _ => MathText.AreEqual(written, right[0]) ? 1 : 0,
    };
}
