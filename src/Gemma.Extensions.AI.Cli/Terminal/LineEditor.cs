using System.Text;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>
/// Reads what a person writes, with the keys of the shell: arrows, Home, End, Ctrl+A, E, B, F, words with Ctrl or Alt, Ctrl+W, U, K, Delete, the lines before with the
/// arrows up and down, Tab for what can be completed. Text that is pasted stays one message, its line breaks included; Alt+Enter makes one.
/// </summary>
/// <param name="keys">The keyboard.</param>
/// <param name="output">The terminal, which understands ANSI's sequences.</param>
/// <param name="columns">Columns of the terminal now.</param>
/// <param name="complete">What a text at the beginning of the line can be completed to.</param>
internal sealed class LineEditor(IKeyReader keys, TextWriter output, Func<int> columns, Func<string, IReadOnlyList<string>> complete)
{
    private readonly List<string> _history = [];
    private readonly StringBuilder _text = new();
    private int _cursor;
    private int _row;
    private int _place;
    private string _draft = "";

    /// <summary>The line; null at the end of the input (Ctrl+D on an empty line).</summary>
    /// <param name="prompt">Shown before it: text that is seen, and how it is written.</param>
    public string? Read((string Plain, string Ansi) prompt)
    {
        _text.Clear();
        (_cursor, _row, _place, _draft) = (0, 0, _history.Count, "");
        Draw(prompt);
        while (true)
        {
            ConsoleKeyInfo? pressed = keys.ReadKey();
            if (pressed is not { } key || (IsControl(key, ConsoleKey.D) && _text.Length == 0))
            {
                Leave(prompt);
                return pressed is null && _text.Length > 0 ? Remember() : null;
            }

            bool isEnter = key.Key == ConsoleKey.Enter || key.KeyChar is '\r' or '\n';
            if (isEnter && !keys.HasKey && !key.Modifiers.HasFlag(ConsoleModifiers.Alt))
            {
                Leave(prompt);
                return Remember();
            }

            if (isEnter)
            {
                Insert("\n");
            }
            else
            {
                Apply(key);
            }

            if (!keys.HasKey)
            {
                Draw(prompt); // once for all that was pasted
            }
        }
    }

    private static bool IsControl(ConsoleKeyInfo key, ConsoleKey letter) => key.Modifiers.HasFlag(ConsoleModifiers.Control) && key.Key == letter;

    private string Remember()
    {
        string line = _text.ToString();
        if (line.Trim().Length > 0 && _history.LastOrDefault() != line)
        {
            _history.Add(line);
        }

        return line;
    }

    private void Apply(ConsoleKeyInfo key)
    {
        bool byWord = (key.Modifiers & (ConsoleModifiers.Control | ConsoleModifiers.Alt)) != 0;
        switch (key.Key)
        {
            case ConsoleKey.LeftArrow:
                _cursor = byWord ? WordBefore() : Before(_cursor);
                break;
            case ConsoleKey.RightArrow:
                _cursor = byWord ? WordAfter() : After(_cursor);
                break;
            case ConsoleKey.UpArrow:
                Recall(_place - 1);
                break;
            case ConsoleKey.DownArrow:
                Recall(_place + 1);
                break;
            case ConsoleKey.Home:
                _cursor = 0;
                break;
            case ConsoleKey.End:
                _cursor = _text.Length;
                break;
            case ConsoleKey.Backspace:
                Remove(byWord ? WordBefore() : Before(_cursor), _cursor);
                break;
            case ConsoleKey.Delete:
                Remove(_cursor, After(_cursor));
                break;
            case ConsoleKey.Tab:
                Complete();
                break;
            case ConsoleKey.Escape:
                break;
            default:
                ApplyLetter(key, byWord);
                break;
        }
    }

    private void ApplyLetter(ConsoleKeyInfo key, bool isCommand)
    {
        switch (isCommand ? key.Key : ConsoleKey.None)
        {
            case ConsoleKey.A:
                _cursor = 0;
                break;
            case ConsoleKey.E:
                _cursor = _text.Length;
                break;
            case ConsoleKey.B:
                _cursor = key.Modifiers.HasFlag(ConsoleModifiers.Alt) ? WordBefore() : Before(_cursor);
                break;
            case ConsoleKey.F:
                _cursor = key.Modifiers.HasFlag(ConsoleModifiers.Alt) ? WordAfter() : After(_cursor);
                break;
            case ConsoleKey.P:
                Recall(_place - 1);
                break;
            case ConsoleKey.N:
                Recall(_place + 1);
                break;
            case ConsoleKey.H:
                Remove(Before(_cursor), _cursor);
                break;
            case ConsoleKey.D:
                Remove(_cursor, key.Modifiers.HasFlag(ConsoleModifiers.Alt) ? WordAfter() : After(_cursor));
                break;
            case ConsoleKey.W:
                Remove(WordBefore(), _cursor);
                break;
            case ConsoleKey.U:
                Remove(0, _cursor);
                break;
            case ConsoleKey.K:
                Remove(_cursor, _text.Length);
                break;
            case ConsoleKey.L:
                output.Write("\e[H\e[2J");
                _row = 0;
                break;
            default:
                if (key.KeyChar >= ' ' && key.KeyChar != '\x7f')
                {
                    Insert(key.KeyChar.ToString());
                }

                break;
        }
    }

    private void Insert(string text)
    {
        _text.Insert(_cursor, text);
        _cursor += text.Length;
    }

    private void Remove(int from, int to)
    {
        _text.Remove(from, to - from);
        _cursor = from;
    }

    /// <summary>Goes to another line of the history; what was being written is behind the last.</summary>
    private void Recall(int place)
    {
        if (place < 0 || place > _history.Count)
        {
            return;
        }

        if (_place == _history.Count)
        {
            _draft = _text.ToString();
        }

        _place = place;
        _text.Clear().Append(place == _history.Count ? _draft : _history[place]);
        _cursor = _text.Length;
    }

    /// <summary>Completes as far as all candidates agree.</summary>
    private void Complete()
    {
        string begun = _text.ToString(0, _cursor);
        IReadOnlyList<string> candidates = complete(begun);
        if (candidates.Count == 0)
        {
            return;
        }

        int common = candidates[0].Length;
        foreach (string candidate in candidates)
        {
            int same = 0;
            while (same < Math.Min(common, candidate.Length) && candidate[same] == candidates[0][same])
            {
                same++;
            }

            common = same;
        }

        if (common > begun.Length)
        {
            Insert(candidates[0][begun.Length..common] + (candidates.Count == 1 ? " " : ""));
        }
    }

    // A letter outside the basic plane is two characters, and marks belong to the letter before.
    private int Before(int at)
    {
        do
        {
            at = Math.Max(0, at - 1);
        }
        while (at > 0 && IsInside(at));
        return at;
    }

    private int After(int at)
    {
        do
        {
            at = Math.Min(_text.Length, at + 1);
        }
        while (at < _text.Length && IsInside(at));
        return at;
    }

    private bool IsInside(int at) => char.IsLowSurrogate(_text[at]) || _text[at] == '\u200d' || _text[at - 1] == '\u200d'
        || char.GetUnicodeCategory(_text[at]) is System.Globalization.UnicodeCategory.NonSpacingMark or System.Globalization.UnicodeCategory.EnclosingMark;

    private int WordBefore()
    {
        int at = _cursor;
        while (at > 0 && char.IsWhiteSpace(_text[at - 1]))
        {
            at--;
        }

        while (at > 0 && !char.IsWhiteSpace(_text[at - 1]))
        {
            at--;
        }

        return at;
    }

    private int WordAfter()
    {
        int at = _cursor;
        while (at < _text.Length && char.IsWhiteSpace(_text[at]))
        {
            at++;
        }

        while (at < _text.Length && !char.IsWhiteSpace(_text[at]))
        {
            at++;
        }

        return at;
    }

    /// <summary>Leaves the cursor below what was written.</summary>
    private void Leave((string Plain, string Ansi) prompt)
    {
        _cursor = _text.Length;
        Draw(prompt);
        output.Write("\r\n");
        output.Flush();
    }

    /// <summary>Writes prompt and text anew, from the row where they began, and puts the cursor where it is in the text.</summary>
    private void Draw((string Plain, string Ansi) prompt)
    {
        int width = Math.Max(2, columns()), row = 0, column = TerminalSize.WidthOf(prompt.Plain);
        StringBuilder shown = new(_row > 0 ? $"\e[{_row}A" : "");
        shown.Append("\r\e[J").Append(prompt.Ansi);
        (int Row, int Column) at = (row, column);
        string text = _text.ToString();
        for (int i = 0; i <= text.Length; i++)
        {
            if (i == _cursor)
            {
                at = (row, column);
            }

            if (i == text.Length)
            {
                break;
            }

            if (text[i] == '\n')
            {
                shown.Append("\r\n");
                (row, column) = (row + 1, 0);
                continue;
            }

            Rune rune = Rune.TryGetRuneAt(text, i, out Rune whole) ? whole : Rune.ReplacementChar;
            int wide = TerminalSize.WidthOf(rune);
            if (column + wide > width)
            {
                shown.Append("\r\n");
                (row, column) = (row + 1, 0);
                at = i == _cursor ? (row, column) : at;
            }

            shown.Append(rune);
            column += wide;
            i += rune.Utf16SequenceLength > 1 && i + 1 < text.Length ? 1 : 0;
        }

        if (column == width && _cursor == _text.Length)
        {
            shown.Append("\r\n"); // the terminal itself waits for another letter before it goes to the next row
            at = (row, column) = (row + 1, 0);
        }

        shown.Append(row > at.Row ? $"\e[{row - at.Row}A" : "").Append('\r').Append(at.Column > 0 ? $"\e[{at.Column}C" : "");
        _row = at.Row;
        output.Write(shown);
        output.Flush();
    }
}
