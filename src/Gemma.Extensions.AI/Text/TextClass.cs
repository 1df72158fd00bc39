using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Text;

/// <summary>White space and words around a place in UTF-8 text, as regular expressions of Unicode mean <c>\s</c> and <c>\w</c>.</summary>
internal static class TextClass
{
    /// <summary>The start of the white space that ends at a position.</summary>
    /// <param name="text">Valid UTF-8; a space stands for U+2581 too.</param>
    /// <param name="at">The place.</param>
    /// <param name="isNormalized">True if spaces are U+2581, which is not white space.</param>
    public static int SpaceBefore(ReadOnlySpan<byte> text, int at, bool isNormalized)
    {
        while (at > 0)
        {
            Rune.DecodeLastFromUtf8(text[..at], out Rune rune, out int length);
            if (!IsSpace(rune, isNormalized))
            {
                break;
            }

            at -= length;
        }

        return at;
    }

    /// <summary>The end of the white space that begins at a position.</summary>
    /// <inheritdoc cref="SpaceBefore"/>
    public static int SpaceAfter(ReadOnlySpan<byte> text, int at, bool isNormalized)
    {
        while (at < text.Length)
        {
            Rune.DecodeFromUtf8(text[at..], out Rune rune, out int length);
            if (!IsSpace(rune, isNormalized))
            {
                break;
            }

            at += length;
        }

        return at;
    }

    /// <summary>True if a word continues before or after a stretch of text.</summary>
    public static bool IsWithinWord(ReadOnlySpan<byte> text, int start, int end)
    {
        Rune.DecodeLastFromUtf8(text[..start], out Rune before, out _);
        Rune.DecodeFromUtf8(text[end..], out Rune after, out _);
        return (start > 0 && IsWord(before)) || (end < text.Length && IsWord(after));
    }

    private static bool IsSpace(Rune rune, bool isNormalized) => Rune.IsWhiteSpace(rune) && !(isNormalized && rune.Value == ' ');

    /// <summary>Alphabetic, marks, decimal digits, connectors and joiners (Unicode's annex 18).</summary>
    private static bool IsWord(Rune rune) => Rune.GetUnicodeCategory(rune) switch
    {
        UnicodeCategory.UppercaseLetter or UnicodeCategory.LowercaseLetter or UnicodeCategory.TitlecaseLetter or UnicodeCategory.ModifierLetter or UnicodeCategory.OtherLetter
            or UnicodeCategory.LetterNumber or UnicodeCategory.DecimalDigitNumber or UnicodeCategory.ConnectorPunctuation
            or UnicodeCategory.NonSpacingMark or UnicodeCategory.SpacingCombiningMark or UnicodeCategory.EnclosingMark => true,
        _ => rune.Value is 0x200C or 0x200D or (>= 0x24B6 and <= 0x24E9) or (>= 0x1F130 and <= 0x1F149) or (>= 0x1F150 and <= 0x1F169) or (>= 0x1F170 and <= 0x1F189),
    };
}
