using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Rag.Retrieval;

/// <summary>The words of a question.</summary>
internal static partial class QueryTerms
{
    /// <summary>A question pasted from a document must not become a query of thousands of terms.</summary>
    private const int MostWords = 64;

    /// <summary>English words that questions are made of and that say nothing about their subject.</summary>
    private static readonly HashSet<string> s_function = new(StringComparer.Ordinal)
    {
        "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "because", "been", "before", "but", "by", "can", "could", "did", "do", "does", "done", "during",
        "each", "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in", "into", "is", "it", "its", "like", "make", "many", "me", "more", "most", "much", "must", "my", "no",
        "not", "of", "on", "one", "only", "or", "other", "our", "out", "over", "own", "s", "shall", "she", "should", "so", "some", "such", "t", "than", "that", "the", "their", "them", "then",
        "there", "these", "they", "this", "those", "to", "up", "us", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would",
        "you", "your",
    };

    public static string[] Words(string text) =>
        [.. Word().Matches(text.ToLowerInvariant()).Select(m => m.Value).Distinct(StringComparer.Ordinal).Take(MostWords)];

    /// <summary>The words that name the subject.</summary>
    public static string[] Content(string[] words) => [.. words.Where(w => !s_function.Contains(w))];

    /// <summary>The words to search for: those that name the subject, or all where there are no others.</summary>
    public static string[] Searched(string[] words) => Content(words) is { Length: > 0 } content ? content : words;

    /// <summary>Part of the words that occur in the text, in this or another ending; 0 where there are no words.</summary>
    public static double Coverage(string[] words, string text)
    {
        if (words.Length == 0)
        {
            return 0;
        }

        HashSet<string> stems = [.. Word().Matches(text.ToLowerInvariant()).Select(m => Stem(m.Value))];
        return words.Count(w => stems.Contains(Stem(w))) / (double)words.Length;
    }

    /// <summary>
    /// How much the words that a text shares with a question say: the sum of ln(passages / passages with the word), words that come again counting
    /// a little more as in BM25, over what one word brings that three passages hold. Words of every passage say nothing; where there are hardly
    /// more than three passages, every word that they do not all share is enough.
    /// </summary>
    /// <param name="words">The words of the question.</param>
    /// <param name="matches">Passages with each word.</param>
    /// <param name="passages">All passages.</param>
    /// <param name="text">The passage.</param>
    /// <param name="found">Whether the full text finds each word in the passage: it knows accents and endings that are not known here.</param>
    public static double Evidence(IReadOnlyList<string> words, IReadOnlyList<long> matches, long passages, string text, IReadOnlyList<bool> found)
    {
        Dictionary<string, int> counts = [];
        foreach (Match word in Word().Matches(text.ToLowerInvariant()))
        {
            System.Runtime.InteropServices.CollectionsMarshal.GetValueRefOrAddDefault(counts, Stem(word.Value), out _)++;
        }

        double sum = 0;
        for (int i = 0; i < words.Count; i++)
        {
            int times = Math.Max(counts.GetValueOrDefault(Stem(words[i])), found[i] ? 1 : 0);
            if (times > 0)
            {
                double rarity = Math.Log(1 + ((passages - matches[i] + 0.5) / (matches[i] + 0.5)));
                sum += rarity * 2.2 * times / (times + 1.2);
            }
        }

        return sum / Math.Max(0.1, Math.Log(passages / 3.0));
    }

    /// <summary>Cuts common English endings, enough to match singular and plural, present and past.</summary>
    private static string Stem(string word)
    {
        foreach (string ending in (ReadOnlySpan<string>)["ingly", "edly", "ing", "ies", "ied", "ed", "es", "ly", "s", "e", "y"])
        {
            if (word.Length - ending.Length >= 3 && word.EndsWith(ending, StringComparison.Ordinal))
            {
                word = word[..^ending.Length];
                break;
            }
        }

        // planned, plan
        return word.Length > 3 && word[^1] == word[^2] && word[^1] is not ('l' or 's') ? word[..^1] : word;
    }

    [GeneratedRegex(@"[\p{L}\p{M}\p{N}]+")]
    private static partial Regex Word();
}
