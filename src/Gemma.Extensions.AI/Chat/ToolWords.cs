using System.Text;

namespace Gemma.Extensions.AI.Chat;

/// <summary>Words of texts and of names in any spelling (snake_case, camelCase), without case and English endings, as they are searched.</summary>
internal static class ToolWords
{
    private static readonly string[] s_endings = ["ings", "ing", "ies", "ied", "es", "ed", "s", "e", "y"];
    private static readonly HashSet<string> s_common = new("a an and are at be by can do for from get given has have how i in is it me my of on or please tell that the this to up was what when where which who with you your".Split(' '), StringComparer.Ordinal);

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
        return text.Length == 0 || s_common.Contains(text) ? null : Stem(text);
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
