namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>Standard errors by drawing the items again, with replacement; the same seed gives the same error.</summary>
internal static class Bootstrap
{
    public static double StandardError<T>(IReadOnlyList<T> items, Func<IReadOnlyList<T>, double> statistic, int samples, int seed)
    {
        if (items.Count < 2 || samples < 2)
        {
            return 0;
        }

        Random random = new(seed);
        T[] drawn = new T[items.Count];
        double[] values = new double[samples];
        for (int sample = 0; sample < samples; sample++)
        {
            for (int i = 0; i < drawn.Length; i++)
            {
                drawn[i] = items[random.Next(items.Count)];
            }

            values[sample] = statistic(drawn);
        }

        double mean = values.Average();
        return Math.Sqrt(values.Sum(value => (value - mean) * (value - mean)) / (samples - 1));
    }
}
