using System.Globalization;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>
/// Exact match and F1 as DROP defines them: words without case, articles and punctuation, numbers by value; a written answer is one span, a right one may have several, and a number in the
/// right span must be in the written one.
/// </summary>
internal static partial class DropMetrics
{
    public static double ExactMatch(string written, string[] right) => right.Length == 1 && Normalize(written) == Normalize(right[0]) ? 1 : 0;

    /// <summary>The best span's F1, over the number of spans, to two digits.</summary>
    public static double F1(string written, string[] right)
    {
        HashSet<string> said = Bag(written);
        double best = right.Max(span => Bag(span) is var bag && NumbersAgree(bag, said) ? SetF1(said, bag) : 0);
        return Math.Round(best / right.Length, 2, MidpointRounding.ToEven);
    }

    private static string Normalize(string text) => string.Join(' ', Separators().Split(text).Select(Word).Where(static word => word.Length > 0));

    private static string Word(string token)
    {
        string word = token.ToLowerInvariant();
        word = IsNumber(word, out _) ? word : string.Concat(word.Where(static c => !(char.IsAscii(c) && (char.IsPunctuation(c) || char.IsSymbol(c)))));
        word = IsNumber(word, out double number) ? number.ToString(CultureInfo.InvariantCulture) : word;
        return string.Join(' ', Articles().Replace(word, " ").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries));
    }

    private static HashSet<string> Bag(string text) => new(Normalize(text).Split(' ', StringSplitOptions.RemoveEmptyEntries), StringComparer.Ordinal);

    private static bool NumbersAgree(HashSet<string> right, HashSet<string> said) => right.Where(IsNumber).ToList() is not { Count: > 0 } numbers || numbers.Exists(said.Contains);

    private static double SetF1(HashSet<string> said, HashSet<string> right)
    {
        double common = right.Count(said.Contains), precision = said.Count == 0 ? 1 : common / said.Count, recall = right.Count == 0 ? 1 : common / right.Count;
        return precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall);
    }

    private static bool IsNumber(string text) => IsNumber(text, out _);

    private static bool IsNumber(string text, out double number) => double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number);

    [GeneratedRegex(@"\b(a|an|the)\b", RegexOptions.CultureInvariant)]
    private static partial Regex Articles();

    [GeneratedRegex("[ -]", RegexOptions.CultureInvariant)]
    private static partial Regex Separators();
}
