namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>F1 of the words of two texts, as bags: 2·common / (words of one + words of the other).</summary>
internal static class TokenF1
{
    public static double Value(string written, string right)
    {
        string[] a = Words(written), b = Words(right);
        if (a.Length == 0 || b.Length == 0)
        {
            return a.Length == b.Length ? 1 : 0;
        }

        Dictionary<string, int> left = a.GroupBy(word => word, StringComparer.Ordinal).ToDictionary(group => group.Key, group => group.Count(), StringComparer.Ordinal);
        int common = b.Count(word => left.TryGetValue(word, out int count) && (left[word] = count - 1) >= 0);
        return 2.0 * common / (a.Length + b.Length);
    }

    private static string[] Words(string text) => text.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
}
