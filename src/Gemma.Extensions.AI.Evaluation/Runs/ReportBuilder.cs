using Gemma.Extensions.AI.Evaluation.Metrics;

namespace Gemma.Extensions.AI.Evaluation.Runs;

/// <summary>Sums up the results of rows, with bootstrapped standard errors.</summary>
internal sealed class ReportBuilder(EvaluationTask task, int samples, int seed)
{
    /// <summary>The metrics of some rows, at least one.</summary>
    public IReadOnlyList<EvaluationMetricValue> Summarize(IReadOnlyList<EvaluationItem> items) => task.Kind == EvaluationKind.Perplexity
        ? [.. task.Metrics.Select(metric => Value(metric, items, drawn => Perplexity(metric, drawn)))]
        : [.. items[0].Values.Keys.Select(metric => Value(metric, items, drawn => Mean(drawn, metric)))];

    private EvaluationMetricValue Value(string metric, IReadOnlyList<EvaluationItem> items, Func<IReadOnlyList<EvaluationItem>, double> statistic) =>
        new(metric, statistic(items), Bootstrap.StandardError(items, statistic, samples, seed));

    private static double Mean(IReadOnlyList<EvaluationItem> items, string metric)
    {
        double sum = 0;
        for (int i = 0; i < items.Count; i++)
        {
            sum += items[i].Values[metric];
        }

        return sum / items.Count;
    }

    private static double Perplexity(string metric, IReadOnlyList<EvaluationItem> items)
    {
        double nats = -items.Sum(item => item.Values[PerplexityFacts.LogLikelihood]);
        double bytes = items.Sum(item => item.Values[PerplexityFacts.Bytes]), words = items.Sum(item => item.Values[PerplexityFacts.Words]);
        return metric switch
        {
            MetricNames.BytePerplexity => Math.Exp(nats / bytes),
            MetricNames.BitsPerByte => nats / bytes / Math.Log(2),
            _ => Math.Exp(nats / words),
        };
    }
}

/// <summary>Keys of the facts recorded for a predicted text.</summary>
internal static class PerplexityFacts
{
    public const string LogLikelihood = "log_likelihood", Bytes = "bytes", Words = "words";
}
