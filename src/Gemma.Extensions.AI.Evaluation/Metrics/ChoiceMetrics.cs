using System.Text;

namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>Which of some choices a model takes for the likeliest. Of equal ones the first counts.</summary>
internal static class ChoiceMetrics
{
    /// <param name="metric">One of the metrics of choices.</param>
    /// <param name="logLikelihoods">Natural logarithms, one a choice.</param>
    /// <param name="choices">The choices, without the delimiter before them.</param>
    /// <param name="right">Places of the right ones.</param>
    public static double Value(string metric, IReadOnlyList<double> logLikelihoods, IReadOnlyList<string> choices, IReadOnlyList<int> right)
    {
        int best = 0;
        double most = double.NegativeInfinity;
        for (int i = 0; i < logLikelihoods.Count; i++)
        {
            double score = logLikelihoods[i] / Length(metric, choices[i]);
            if (score > most)
            {
                (best, most) = (i, score);
            }
        }

        return right.Contains(best) ? 1 : 0;
    }

    /// <summary>Characters are Unicode scalar values, as Python counts them.</summary>
    private static double Length(string metric, string choice) => Math.Max(1, metric switch
    {
        MetricNames.AccuracyByCharacter => choice.EnumerateRunes().Count(),
        MetricNames.AccuracyByByte => Encoding.UTF8.GetByteCount(choice),
        _ => 1,
    });
}
