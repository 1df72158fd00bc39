using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Rag.Words;

/// <summary>
/// Writes a text as it is searched: Unicode's compatibility decomposition (NFKD) with full case folding, without accents, vowel points and characters that
/// only format, digits of all scripts as ASCII. Letters, marks and digits remain, parted by single spaces.
/// </summary>
/// <remarks>
/// From a table of the project's own (Folding.txt, by the properties of Unicode 17), since <see cref="string.Normalize()"/> does nothing in processes that run with invariant
/// globalization: an index must not depend on the settings of the process that wrote it.
/// </remarks>
internal static class CharacterFolding
{
    private const char SoftHyphen = '\u00AD';

    /// <summary>Marks that are swapped are a handful; text of nothing but marks must not cost the square of its length.</summary>
    private const int LongestReordering = 8;

    /// <summary>Foldings by the upper bits of a code point and its lower eight; null stays as it is.</summary>
    private static readonly string?[]?[] s_pages = Load();

    /// <summary>The text as it is searched.</summary>
    public static string Fold(ReadOnlySpan<char> text)
    {
        StringBuilder folded = new(text.Length);
        for (int i = 0; i < text.Length;)
        {
            char c = text[i];
            if (c < 0x80)
            {
                Append(folded, char.IsAsciiLetterOrDigit(c) ? char.ToLowerInvariant(c) : ' ');
                i++;
                continue;
            }

            if (c == SoftHyphen)
            {
                i = EndOfSoftHyphen(text, i + 1);
                continue;
            }

            // A half of a pair that stands alone is no letter.
            if (Rune.DecodeFromUtf16(text[i..], out Rune rune, out int length) != System.Buffers.OperationStatus.Done)
            {
                Append(folded, ' ');
            }
            else if (s_pages[rune.Value >> 8]?[rune.Value & 0xFF] is { } folding)
            {
                foreach (Rune part in folding.EnumerateRunes())
                {
                    Append(folded, part);
                }
            }
            else
            {
                Append(folded, IsWord(rune) ? rune : new Rune(' '));
            }

            i += length;
        }

        return folded.ToString();
    }

    /// <summary>True for letters, marks and numbers, and for characters that the runtime doesn't know yet, which are most often letters.</summary>
    private static bool IsWord(Rune rune) => CharUnicodeInfo.GetUnicodeCategory(rune.Value) is <= UnicodeCategory.OtherNumber or UnicodeCategory.OtherNotAssigned;

    /// <summary>A soft hyphen that a line ends with holds its word together over the end of the line.</summary>
    private static int EndOfSoftHyphen(ReadOnlySpan<char> text, int start)
    {
        int i = start;
        while (i < text.Length && text[i] is ' ' or '\t')
        {
            i++;
        }

        if (i == text.Length || text[i] is not ('\r' or '\n'))
        {
            return start;
        }

        i += text[i..].StartsWith("\r\n") ? 2 : 1;
        while (i < text.Length && text[i] is ' ' or '\t')
        {
            i++;
        }

        return i;
    }

    private static void Append(StringBuilder folded, char c)
    {
        if (c != ' ' || (folded.Length > 0 && folded[^1] != ' '))
        {
            folded.Append(c);
        }
    }

    private static void Append(StringBuilder folded, Rune rune)
    {
        if (!rune.IsBmp)
        {
            Span<char> pair = stackalloc char[2];
            folded.Append(pair[..rune.EncodeToUtf16(pair)]);
            return;
        }

        char c = (char)rune.Value;
        if (c is >= '\u1161' and <= '\u11C2' && folded.Length > 0 && ComposeHangul(folded[^1], c) is { } syllable)
        {
            folded[^1] = syllable;
            return;
        }

        int order = Order(c), at = folded.Length;
        for (; order > 0 && at > 0 && folded.Length - at < LongestReordering && Order(folded[at - 1]) > order; at--)
        {
        }

        if (at < folded.Length)
        {
            folded.Insert(at, c);
        }
        else
        {
            Append(folded, c);
        }
    }

    /// <summary>The syllable of a leading consonant and a vowel, or of such a syllable and a trailing consonant (Unicode, section 3.12).</summary>
    private static char? ComposeHangul(char before, char jamo) =>
        before is >= '\u1100' and <= '\u1112' && jamo is >= '\u1161' and <= '\u1175' ? (char)(0xAC00 + (before - 0x1100) * 588 + (jamo - 0x1161) * 28)
        : before is >= '\uAC00' and <= '\uD7A3' && (before - 0xAC00) % 28 == 0 && jamo is >= '\u11A8' and <= '\u11C2' ? (char)(before + (jamo - 0x11A7))
        : null;

    /// <summary>
    /// Order of the marks of one letter, 0 for all else: Unicode's canonical one for Thai, Lao and Tibetan, and the nikhahit behind the tone, since people type the vowel am in
    /// either order.
    /// </summary>
    private static int Order(char c) => c switch
    {
        '\u0E3A' or '\u0F71' => 1,
        '\u0E38' or '\u0E39' or '\u0EB8' or '\u0EB9' or '\u0F72' or (>= '\u0F7A' and <= '\u0F7D') or '\u0F80' => 2,
        (>= '\u0E48' and <= '\u0E4B') or (>= '\u0EC8' and <= '\u0ECB') or '\u0F74' => 3,
        '\u0E4D' or '\u0ECD' => 4,
        _ => 0,
    };

    /// <summary>Lines of a first code point or a range, and what it and those after it are searched as; '-' is nothing and '_' parts words.</summary>
    private static string?[]?[] Load()
    {
        string?[]?[] pages = new string?[]?[0x1100];
        using StreamReader reader = new(typeof(CharacterFolding).Assembly.GetManifestResourceStream("Gemma.Extensions.AI.Rag.Words.Folding.txt")!, Encoding.UTF8);
        while (reader.ReadLine() is { } line)
        {
            string[] parts = line.Split(' ');
            string[] range = parts[0].Split('-');
            int first = int.Parse(range[0], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
            int last = range.Length > 1 ? int.Parse(range[1], NumberStyles.HexNumber, CultureInfo.InvariantCulture) : first + parts.Length - 2;
            for (int c = first; c <= last; c++)
            {
                string folding = range.Length > 1 ? parts[1] : parts[1 + c - first];
                (pages[c >> 8] ??= new string?[256])[c & 0xFF] = folding == "-" ? "" : folding.Replace('_', ' ');
            }
        }

        return pages;
    }
}
