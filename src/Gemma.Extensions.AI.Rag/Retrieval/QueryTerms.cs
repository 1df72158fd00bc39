using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Rag.Words;

namespace Gemma.Extensions.AI.Rag.Retrieval;

/// <summary>The words of a question.</summary>
internal static partial class QueryTerms
{
    /// <summary>A question pasted from a document must not become a query of thousands of terms.</summary>
    private const int MaxWords = 128;

    /// <summary>
    /// Weights of a pair of letters and of a single letter in a script without spaces, relative to a word: words have two or more letters, so pairs
    /// repeat most letters. A word of one letter counts as a pair; a term that is the whole query counts 1.
    /// </summary>
    private const double PairWeight = 0.5, LetterWeight = 0.25;

    /// <summary>Words that questions are made of and that say nothing about their subject: English ones, and pairs of letters of other languages.</summary>
    private static readonly HashSet<string> s_function = new(StringComparer.Ordinal)
    {
        "a", "about", "after", "all", "also", "an", "and", "any", "are", "as", "at", "be", "because", "been", "before", "but", "by", "can", "could", "did", "do", "does", "done", "during",
        "each", "for", "from", "had", "has", "have", "he", "her", "his", "how", "i", "if", "in", "into", "is", "it", "its", "like", "make", "many", "me", "more", "most", "much", "must", "my", "no",
        "not", "of", "on", "one", "only", "or", "other", "our", "out", "over", "own", "s", "shall", "she", "should", "so", "some", "such", "t", "than", "that", "the", "their", "them", "then",
        "there", "these", "they", "this", "those", "to", "up", "us", "was", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with", "would",
        "you", "your",
    };

    /// <summary>The same of languages without spaces between words, and of Korean: question words, particles and endings.</summary>
    private static readonly string[] s_unspaced =
    [
        "的 了 是 在 有 和 与 與 吗 嗎 呢 要 会 會 不 我 你 他 它 这 這 那 个 個 几 幾 多 什 么 麼 哪 何 谁 誰 怎 の は が を に へ と も や か で 은 는 이 가 을 를 의 에 什么 什麼 怎么 怎麼 怎样 怎樣 么样 麼樣 多少 哪里 哪裡 哪儿 哪个 哪個 哪些 为什么 為什麼 什么时候 什麼時候 何时 何時 是否 如何 几个 幾個 多久 多长 多長 可以 能否 是什 多大 多高 多远 应该 應該 需要",
        "です ですか ます ますか ました ません でしょうか ください いくら いくつ いつ どこ だれ なに なぜ どう どの どんな とは には では のは のが のを からの までの という ている ていますか ありますか ですが されて される されます しますか 何ですか どのくらい どれくらい",
        "무엇 무엇인가요 인가요 하나요 나요 입니까 합니까 습니까 됩니까 입니다 합니다 됩니다 언제 어디 어디에 누가 얼마 얼마나 어떻게 어떤 있나요 있습니까 되나요 에서 으로 까지",
        "อะไร เมื่อไหร่ เมื่อไร ที่ไหน อย่างไร เท่าไร เท่าไหร่ ใคร ทำไม หรือ หรือไม่ เป็น ของ และ ได้ ที่",
    ];

    static QueryTerms() => s_function.UnionWith(s_unspaced.SelectMany(SearchWords.Asked).Select(w => w.Text));

    /// <summary>The words as a collection of <see cref="SqliteVectorStore"/> indexes them.</summary>
    public static string[] Words(string text)
    {
        SearchWord[] words = [.. SearchWords.Asked(text).Where(w => !w.IsLetter || !s_function.Contains(w.Text))];

        // Chinese verbs have one letter: "how long is it boiled" shares no pair with "boil it for an hour".
        IEnumerable<string> letters = words.Where(w => w.IsPair && !s_function.Contains(w.Text)).SelectMany(w => (string[])[w.Text[..w.First], w.Text[w.First..]]).Where(IsIdeograph);
        return [.. words.Select(w => w.Text).Concat(letters).Concat(Alone(text)).Distinct(StringComparer.Ordinal).Take(MaxWords)];
    }

    /// <summary>
    /// Words of one letter: Chinese and Korean letters between words that questions are made of, as in "soup must boil how-long" and "island-to boat how-long". Pairs across
    /// such a border say nothing of them.
    /// </summary>
    public static HashSet<string> Alone(string text)
    {
        HashSet<string> alone = new(StringComparer.Ordinal);
        List<string> letters = [];
        List<bool> isFunction = [];
        foreach (SearchWord word in SearchWords.Of(text).Where(static word => word.First > 0))
        {
            // A pair names its first letter; the last one of a row comes by itself.
            letters.Add(word.Text[..word.First]);
            isFunction.Add(s_function.Contains(letters[^1]) || (letters.Count > 1 && s_function.Contains(letters[^2] + letters[^1])) || (word.IsPair && s_function.Contains(word.Text)));
            if (word.IsLetter)
            {
                alone.UnionWith(letters.Where((letter, i) => letters.Count > 1 && !isFunction[i] && (i == 0 || isFunction[i - 1]) && (i == letters.Count - 1 || isFunction[i + 1]) && IsWord(letter)));
                letters.Clear();
                isFunction.Clear();
            }
        }

        return alone;

        static bool IsWord(string letter) => IsIdeograph(letter) || letter[0] is >= '\uAC00' and <= '\uD7A3';
    }

    /// <summary>The words as they are written, for stores with an index of their own.</summary>
    public static string[] Written(string text) => Searched([.. Word().Matches(text.ToLowerInvariant()).Select(m => m.Value).Distinct(StringComparer.Ordinal).Take(MaxWords)]);

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

        Dictionary<string, int> counts = Counts(text);
        return words.Count(w => counts.ContainsKey(Key(w))) / (double)words.Length;
    }

    /// <summary>
    /// Evidence in the words that a text shares with a question: the sum of ln(passages / passages with the word), repeated words counting a little
    /// more as in BM25, divided by the value of one word that three passages hold. Words of every passage count nothing; with hardly more than three
    /// passages, any word that they do not all share is enough.
    /// </summary>
    /// <param name="words">The words of the question.</param>
    /// <param name="matches">Passages with each word.</param>
    /// <param name="passages">All passages.</param>
    /// <param name="text">The passage.</param>
    /// <param name="found">Whether the full text finds each word in the passage: it knows accents and endings that are not known here.</param>
    /// <param name="alone">The question's words of one letter, from <see cref="Alone"/>; null: none.</param>
    public static double Evidence(IReadOnlyList<string> words, IReadOnlyList<long> matches, long passages, string text, IReadOnlyList<bool> found, IReadOnlySet<string>? alone = null)
    {
        Dictionary<string, int> counts = Counts(text);
        SearchWord[] asked = [.. words.Select(w => SearchWords.Asked(w).First())];
        int pairs = asked.Count(w => w.IsPair);
        double sum = 0;
        for (int i = 0; i < words.Count; i++)
        {
            int times = Math.Max(counts.GetValueOrDefault(Key(words[i])), found[i] ? 1 : 0);
            if (times > 0)
            {
                double rarity = Math.Log(1 + ((passages - matches[i] + 0.5) / (matches[i] + 0.5)));
                double weight = asked[i].IsPair ? (pairs > 1 ? PairWeight : 1) : asked[i].IsLetter && pairs > 0 ? (alone?.Contains(words[i]) == true ? PairWeight : LetterWeight) : 1;
                sum += weight * rarity * 2.2 * times / (times + 1.2);
            }
        }

        return sum / Math.Max(0.1, Math.Log(passages / 3.0));
    }

    /// <summary>Counts each word of a text; in a script without spaces, each letter as well.</summary>
    private static Dictionary<string, int> Counts(string text)
    {
        Dictionary<string, int> counts = new(StringComparer.Ordinal);
        foreach (SearchWord word in SearchWords.Of(text))
        {
            if (word.First == 0 || word.IsPair)
            {
                CollectionsMarshal.GetValueRefOrAddDefault(counts, word.First == 0 ? Stem(word.Text) : word.Text, out _)++;
            }

            if (word.First > 0)
            {
                CollectionsMarshal.GetValueRefOrAddDefault(counts, word.Text[..word.First], out _)++;
            }
        }

        return counts;
    }

    private static bool IsIdeograph(string letter) => letter.Length == 2 || letter[0] is >= '\u3400' and <= '\u9FFF';

    /// <summary>True for a word that questions are made of and that says nothing about their subject.</summary>
    public static bool IsFunction(string word) => s_function.Contains(word);

    /// <summary>The part that two forms of a word have in common.</summary>
    public static string Key(SearchWord word) => word.First == 0 ? Stem(word.Text) : word.Text;

    private static string Key(string word) => SearchWords.Asked(word).First() is { First: 0 } spaced ? Key(spaced) : word;

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
