using System.Globalization;
using System.Text;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Columns of the terminal, and of characters in it.</summary>
internal static class TerminalSize
{
    private const int Usual = 80;

    /// <summary>Columns of the terminal; 80 where there is none.</summary>
    public static int Columns
    {
        get
        {
            try
            {
                return Console.WindowWidth is > 8 and var columns ? columns : Usual;
            }
            catch (IOException)
            {
                return Usual; // not a console after all
            }
        }
    }

    /// <summary>0 for marks on the character before, 2 for wide ones (East Asian scripts, emoji), else 1.</summary>
    public static int WidthOf(Rune rune) =>
        Rune.GetUnicodeCategory(rune) is UnicodeCategory.NonSpacingMark or UnicodeCategory.EnclosingMark or UnicodeCategory.Format or UnicodeCategory.Control ? 0
        : rune.Value is >= 0x1100 and <= 0x115F or >= 0x2E80 and <= 0x303E or >= 0x3041 and <= 0xA4CF or >= 0xAC00 and <= 0xD7A3 or >= 0xF900 and <= 0xFAFF
            or >= 0xFE30 and <= 0xFE6F or >= 0xFF00 and <= 0xFF60 or >= 0xFFE0 and <= 0xFFE6 or >= 0x1F300 and <= 0x1F64F or >= 0x1F680 and <= 0x1F6FF or >= 0x1F900 and <= 0x1FAFF or >= 0x20000 and <= 0x3FFFD ? 2
        : 1;

    /// <summary>Columns of a text.</summary>
    public static int WidthOf(string text)
    {
        int width = 0;
        foreach (Rune rune in text.EnumerateRunes())
        {
            width += WidthOf(rune);
        }

        return width;
    }
}
