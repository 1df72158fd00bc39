using System.Text;
using Spectre.Console;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Writes words, and breaks lines between them where they would run over the edge of the terminal.</summary>
/// <param name="write">Writes text in a style; null: as everything else.</param>
/// <param name="width">Columns; 0: lines are left as they are.</param>
internal sealed class WordWrap(Action<string, Style?> write, int width)
{
    private readonly StringBuilder _word = new();
    private int _spaces;

    /// <summary>Columns that lines after a break begin with.</summary>
    public int Indent { get; set; }

    /// <summary>The column of what comes next.</summary>
    public int Column { get; private set; }

    /// <summary>For a terminal where a person reads; programs get the text as it is.</summary>
    public static WordWrap For(CliInvocation host) => new((text, _) => host.Output.Write(text), host.IsInteractive ? TerminalSize.Columns : 0);

    /// <summary>Text that comes in pieces: a word is written once it has ended.</summary>
    public void Write(string text)
    {
        if (width <= 0)
        {
            write(text, null);
            Column = text.Length == 0 ? Column : text.EndsWith('\n') ? 0 : 1;
            return;
        }

        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.Value is '\n')
            {
                EndWord();
                NewLine();
            }
            else if (Rune.IsWhiteSpace(rune) && rune.Value != 0xA0)
            {
                EndWord();
                Space();
            }
            else
            {
                _word.Append(rune);
                if (IsBreak(rune))
                {
                    EndWord();
                }
            }
        }
    }

    /// <summary>A word of one or more styles, on the next line where this one has no room for it.</summary>
    public void WriteWord(params ReadOnlySpan<(string Text, Style? Style)> parts)
    {
        int columns = 0;
        foreach ((string text, _) in parts)
        {
            columns += TerminalSize.WidthOf(text);
        }

        if (columns == 0)
        {
            return;
        }

        if (width > 0 && Column > Indent && Column + _spaces + columns > width)
        {
            NewLine();
            write(new string(' ', Indent), null);
            Column = Indent;
        }

        if (_spaces > 0)
        {
            write(new string(' ', _spaces), null);
        }

        foreach ((string text, Style? style) in parts)
        {
            write(text, style);
        }

        Column += _spaces + columns;
        if (width > 0 && Column > width)
        {
            Column %= width; // a word longer than the line: the terminal broke it
        }

        _spaces = 0;
    }

    /// <summary>A space before the next word, unless that begins a line.</summary>
    public void Space() => _spaces++;

    public void NewLine()
    {
        write("\n", null);
        (Column, _spaces) = (0, 0);
    }

    /// <summary>Writes what is held back and ends the line, unless it has just ended.</summary>
    public void EndLine()
    {
        EndWord();
        if (Column > 0)
        {
            NewLine();
        }
    }

    /// <summary>Scripts that are written without spaces may be broken behind any character.</summary>
    public static bool IsBreak(Rune rune) => rune.Value is >= 0x2E80 and < 0xA4D0 or >= 0xF900 and < 0xFB00 or >= 0x20000 and < 0x32000;

    private void EndWord()
    {
        if (_word.Length > 0)
        {
            string word = _word.ToString();
            _word.Clear();
            WriteWord((word, null));
        }
    }
}
