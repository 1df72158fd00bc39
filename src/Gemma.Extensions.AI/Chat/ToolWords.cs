using System.Text;

namespace Gemma.Extensions.AI.Chat;

/// <summary>Words of texts and of names in any spelling (snake_case, camelCase), without case and English endings, as they are searched.</summary>
internal static class ToolWords
{
    private static readonly string[] s_endings = ["ings", "ing", "ies", "ied", "es", "ed", "s", "e", "y"];
    private static readonly HashSet<string> s_common = new("a about an and any are at be by can check could do does find for from get give given has have how i in is it know look me my need of on or please show so some tell that the their there this to up us want was what when where which who will with would you your".Split(' ').Select(Stem), StringComparer.Ordinal);

    public static IEnumerable<string> Of(string text)
    {
        StringBuilder word = new();
        for (int i = 0; i < text.Length; i++)
        {
            bool letter = char.IsLetterOrDigit(text[i]);
            bool begins = letter && i > 0 && char.IsUpper(text[i]) && (char.IsLower(text[i - 1]) || (char.IsUpper(text[i - 1]) && i + 1 < text.Length && char.IsLower(text[i + 1])));
            if ((!letter || begins) && Take(word) is { } whole)
            {
                yield return whole;
            }

            if (letter)
            {
                word.Append(char.ToLowerInvariant(text[i]));
            }
        }

        if (Take(word) is { } last)
        {
            yield return last;
        }
    }

    private static string? Take(StringBuilder word)
    {
        string text = word.ToString();
        word.Clear();
        string stem = Stem(text);
        return stem.Length == 0 || s_common.Contains(stem) ? null : stem;
    }

    /// <summary>A word of four letters or more without its ending, so that "cities" finds "city" and "booking" finds "book".</summary>
    private static string Stem(string word)
    {
        foreach (string ending in s_endings)
        {
            if (word.EndsWith(ending, StringComparison.Ordinal) && word.Length - ending.Length >= 3)
            {
                return word[..^ending.Length];
            }
        }

        return word;
    }
}
