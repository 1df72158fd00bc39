using System.Globalization;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Evaluation.Metrics;

/// <summary>Numbers of passages in brackets, [2] being the second.</summary>
internal static partial class Citations
{
    /// <summary>The passages that a text cites, each once.</summary>
    public static IReadOnlySet<int> Of(string text) => Pattern().Matches(text).Select(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)).ToHashSet();

    /// <summary>Share of what is cited that is right. Where nothing is cited: 1 if nothing should be, else 0.</summary>
    public static double Precision(IReadOnlySet<int> cited, IReadOnlySet<int> right) => cited.Count > 0 ? (double)cited.Count(right.Contains) / cited.Count : right.Count == 0 ? 1 : 0;

    /// <summary>Share of what is right that is cited; 1 where nothing is.</summary>
    public static double Recall(IReadOnlySet<int> cited, IReadOnlySet<int> right) => right.Count > 0 ? (double)right.Count(cited.Contains) / right.Count : 1;

    [GeneratedRegex(@"\[([0-9]{1,4})\]")]
    private static partial Regex Pattern();
}
