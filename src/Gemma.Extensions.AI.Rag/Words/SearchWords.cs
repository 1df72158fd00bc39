using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Rag.Words;

/// <summary>A word as it is searched.</summary>
/// <param name="Text">The folded letters.</param>
/// <param name="First">Length of the first letter in a script without spaces; 0 for a word of other scripts.</param>
internal readonly record struct SearchWord(string Text, int First)
{
    /// <summary>A single letter of a script without spaces; it stands at the end of every row of them, so that each letter begins a word.</summary>
    public bool IsLetter => First > 0 && First == Text.Length;

    /// <summary>Two letters that follow each other in a script without spaces.</summary>
    public bool IsPair => First > 0 && First < Text.Length;
}

/// <summary>
/// The words of a text, in one way for what is indexed, what is asked and what weighs the two. Where a script parts words by spaces, a word is what stands between
/// them; where it doesn't (Chinese, Japanese, Thai, Lao, Khmer, Burmese and others) or where endings are written to the word (Korean), it is every pair of letters.
/// </summary>
internal static class SearchWords
{
    /// <summary>Fills up words of fewer than three characters for the tokenizer 'trigram', which does not see them. No word holds it.</summary>
    private const char Filler = '_';

    /// <summary>Scripts by their code points. Pairs don't reach from one group into another.</summary>
    private static readonly (int First, int Last, int Group)[] s_unspaced =
    [
        (0x0E00, 0x0E7F, 1), // Thai
        (0x0E80, 0x0EFF, 2), // Lao
        (0x1000, 0x109F, 3), // Burmese
        (0x1100, 0x11FF, 4), // Korean, letters of old syllables
        (0x1780, 0x17FF, 5), // Khmer
        (0x1950, 0x19DF, 6), // Tai Le, New Tai Lue
        (0x1A20, 0x1AAF, 7), // Tai Tham
        (0x1B00, 0x1B7F, 8), // Balinese
        (0x2E80, 0x312F, 9), // Chinese radicals, Japanese, Bopomofo
        (0x31A0, 0x31FF, 9),
        (0x3400, 0x4DBF, 9), // Chinese
        (0x4E00, 0x9FFF, 9),
        (0xA000, 0xA48F, 10), // Yi
        (0xA960, 0xA97F, 4),
        (0xA980, 0xA9DF, 11), // Javanese
        (0xA9E0, 0xA9FF, 3),
        (0xAA60, 0xAA7F, 3),
        (0xAA80, 0xAADF, 12), // Tai Viet
        (0xAC00, 0xD7FF, 4), // Korean
        (0xF900, 0xFAFF, 9),
        (0x17000, 0x18DFF, 13), // Tangut, Khitan
        (0x1AFF0, 0x1B2FF, 9), // Japanese, Nushu
        (0x20000, 0x3347F, 9), // Chinese
    ];

    /// <summary>The words of a text in their order. Behind each row of letters without spaces stands its last letter alone.</summary>
    public static IEnumerable<SearchWord> Of(string text)
    {
        string folded = CharacterFolding.Fold(text);
        for (int at = 0; at < folded.Length;)
        {
            if (folded[at] == ' ')
            {
                at++;
                continue;
            }

            int group = Group(folded, at), end = at;
            if (group == 0)
            {
                end = EndOfWord(folded, at);
                yield return new SearchWord(folded[at..end], 0);
                at = end;
                continue;
            }

            int letter = EndOfLetter(folded, at);
            while (letter < folded.Length && folded[letter] != ' ' && Group(folded, letter) == group)
            {
                end = EndOfLetter(folded, letter);
                yield return new SearchWord(folded[at..end], letter - at);
                (at, letter) = (letter, end);
            }

            yield return new SearchWord(folded[at..letter], letter - at);
            at = letter;
        }
    }

    /// <summary>The search words of a question: as <see cref="Of"/>, without the letters that only repeat the end of a pair.</summary>
    public static IEnumerable<SearchWord> Asked(string text)
    {
        SearchWord before = default;
        foreach (SearchWord word in Of(text))
        {
            if (!word.IsLetter || !before.IsPair || !before.Text.AsSpan(before.First).SequenceEqual(word.Text))
            {
                yield return word;
            }

            before = word;
        }
    }

    /// <summary>The words of a text as the full-text index stores them.</summary>
    /// <param name="text">The text.</param>
    /// <param name="tokenizer">The FTS5 tokenizer that reads it.</param>
    public static string Indexed(string text, string tokenizer)
    {
        if (!IsTrigram(tokenizer))
        {
            return string.Join(' ', Of(text).Select(w => w.Text));
        }

        // Letters are behind the text: it cannot be asked for words that begin with one.
        SearchWord[] words = [.. Of(text)];
        return string.Join(' ', words.Where(w => !w.IsLetter).Select(w => w.Text).Concat(words.Where(w => w.First > 0).Select(w => w.Text[..w.First])).Select(Filled));
    }

    /// <summary>The FTS5 expression that finds a word or a phrase; null where it holds no word.</summary>
    /// <param name="keyword">The word or phrase.</param>
    /// <param name="tokenizer">The FTS5 tokenizer of the index.</param>
    public static string? Expression(string keyword, string tokenizer)
    {
        List<SearchWord> words = [.. Of(keyword)];
        if (words.Count == 0)
        {
            return null;
        }

        // What follows the last letter of the phrase is open, as is what follows the last pair.
        bool letter = words[^1].IsLetter;
        bool repeats = letter && words.Count > 1 && words[^2].IsPair && words[^2].Text.AsSpan(words[^2].First).SequenceEqual(words[^1].Text);
        if (repeats)
        {
            words.RemoveAt(words.Count - 1);
        }

        if (!IsTrigram(tokenizer))
        {
            return $"\"{string.Join(' ', words.Select(w => w.Text))}\"{(letter && !repeats ? "*" : "")}";
        }

        IEnumerable<SearchWord> found = words.Count > 1 ? words.Where(w => !w.IsLetter) : words;
        return found.Any() ? $"\"{string.Join(' ', found.Select(w => Filled(w.Text)))}\"" : Expression(words[0].Text, tokenizer);
    }

    private static bool IsTrigram(string tokenizer) => tokenizer.Contains("trigram", StringComparison.OrdinalIgnoreCase);

    private static string Filled(string word)
    {
        int missing = 3 - word.EnumerateRunes().Count();
        return missing > 0 ? word + new string(Filler, missing) : word;
    }

    private static int EndOfWord(string folded, int at)
    {
        while (at < folded.Length && folded[at] != ' ' && (Group(folded, at) == 0 || IsMark(folded, at)))
        {
            at += Length(folded, at);
        }

        return at;
    }

    /// <summary>The end of a letter with the marks and vowel signs that are written around it: it is not parted from them.</summary>
    private static int EndOfLetter(string folded, int at)
    {
        bool open = IsLeadingVowel(folded[at]);
        at += Length(folded, at);
        while (at < folded.Length && folded[at] != ' ')
        {
            bool joins = JoinsNext(folded[at - 1]);
            if (!(IsMark(folded, at) || IsFollowingVowel(folded[at]) || ((open || joins) && Group(folded, at) > 0)))
            {
                break;
            }

            open &= IsMark(folded, at);
            at += Length(folded, at);
        }

        return at;
    }

    /// <summary>Thai and Lao write these before the consonant that they are spoken after.</summary>
    private static bool IsLeadingVowel(char c) => c is (>= '\u0E40' and <= '\u0E44') or (>= '\u0EC0' and <= '\u0EC4');

    private static bool IsFollowingVowel(char c) => c is '\u0E30' or '\u0E32' or '\u0E45' or '\u0EB0' or '\u0EB2';

    /// <summary>Khmer, Burmese and Tai Tham write the next consonant below this sign.</summary>
    private static bool JoinsNext(char c) => c is '\u17D2' or '\u1039' or '\u1A60';

    private static bool IsMark(string folded, int at) =>
        CharUnicodeInfo.GetUnicodeCategory(folded, at) is UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark;

    private static int Length(string folded, int at) => char.IsHighSurrogate(folded[at]) ? 2 : 1;

    private static int Group(string folded, int at)
    {
        int c = char.IsHighSurrogate(folded[at]) ? char.ConvertToUtf32(folded[at], folded[at + 1]) : folded[at];
        if (c < s_unspaced[0].First)
        {
            return 0;
        }

        foreach ((int first, int last, int group) in s_unspaced)
        {
            if (c <= last)
            {
                return c >= first ? group : 0;
            }
        }

        return 0;
    }
}
