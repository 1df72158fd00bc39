using System.Text;
using System.Text.RegularExpressions;
using Spectre.Console;
using SpectreText = Spectre.Console.Text;

namespace Gemma.Extensions.AI.Cli.Terminal;

/// <summary>Shows Markdown that comes in pieces: words appear as they are complete, tables as a whole. Only what a terminal can show is interpreted; everything else stays as it was written.</summary>
/// <param name="console">The terminal.</param>
internal sealed partial class MarkdownWriter(IAnsiConsole console)
{
    private static readonly Style s_heading = new(decoration: Decoration.Bold | Decoration.Underline), s_quote = new(decoration: Decoration.Italic | Decoration.Dim), s_code = new(foreground: Color.Aqua);
    private readonly WordWrap _wrap = new((text, style) => Emit(console, text, style), console.Profile.Width);
    private readonly StringBuilder _line = new();
    private readonly StringBuilder _word = new();
    private readonly List<string> _table = [];
    private Style _base = Style.Plain;
    private bool _isBold;
    private bool _isItalic;
    private bool _isCode;
    private bool _isInLine;
    private string? _fence;

    /// <summary>The next piece.</summary>
    public void Write(string text)
    {
        foreach (char c in text)
        {
            if (c == '\n')
            {
                EndLine();
            }
            else if (c == '\r')
            {
                // Ends of lines are \n here.
            }
            else if (_isInLine)
            {
                Add(c);
            }
            else
            {
                _line.Append(c);
                if (_fence is null && !CouldBeMore().IsMatch(_line.ToString()))
                {
                    BeginLine();
                }
            }
        }
    }

    /// <summary>The end of the text.</summary>
    public void End()
    {
        if (_isInLine || _line.Length > 0)
        {
            EndLine();
        }

        EndTable();
        (_fence, _isBold, _isItalic, _isCode) = (null, false, false, false);
    }

    private static void Emit(IAnsiConsole console, string text, Style? style)
    {
        if (style is null || text == "\n" || text.All(char.IsWhiteSpace))
        {
            console.Profile.Out.Writer.Write(text);
        }
        else
        {
            console.Write(new SpectreText(text, style));
        }
    }

    /// <summary>Decides what kind of line it is by its beginning, and shows that.</summary>
    private void BeginLine()
    {
        string start = _line.ToString();
        _line.Clear();
        EndTable();
        _isInLine = true;
        (_base, _wrap.Indent) = (Style.Plain, 0);
        if (Heading().Match(start) is { Success: true } heading)
        {
            _base = s_heading;
            start = start[heading.Length..];
        }
        else if (Quote().Match(start) is { Success: true } quote)
        {
            _base = s_quote;
            _wrap.WriteWord(("│", s_quote));
            _wrap.Space();
            _wrap.Indent = 2;
            start = start[quote.Length..];
        }
        else if (Item().Match(start) is { Success: true } item)
        {
            int depth = item.Groups["indent"].Length;
            string mark = item.Groups["mark"].Value;
            _wrap.WriteWord((new string(' ', depth) + (mark.Length == 1 ? "•" : mark), Style.Plain));
            _wrap.Space();
            _wrap.Indent = depth + (mark.Length == 1 ? 1 : mark.Length) + 1;
            start = start[item.Length..];
        }

        foreach (char c in start)
        {
            Add(c);
        }
    }

    private void Add(char c)
    {
        if (c is ' ' or '\t')
        {
            EndWord();
            _wrap.Space();
            return;
        }

        _word.Append(c);
        if (!char.IsHighSurrogate(c) && Rune.TryGetRuneAt(_word.ToString(), char.IsLowSurrogate(c) && _word.Length > 1 ? _word.Length - 2 : _word.Length - 1, out Rune rune) && WordWrap.IsBreak(rune))
        {
            EndWord();
        }
    }

    private void EndLine()
    {
        string line = _line.ToString();
        if (!_isInLine && line.TrimStart().StartsWith("```", StringComparison.Ordinal) && (_fence is null || line.Trim() == _fence))
        {
            EndTable();
            _line.Clear();
            _fence = _fence is null ? "```" : null;
            return;
        }

        if (_fence is not null)
        {
            Emit(console, line.Length > 0 ? $"  {line}" : "", s_code);
            console.Profile.Out.Writer.Write('\n');
            _line.Clear();
            return;
        }

        if (!_isInLine && line.TrimStart().StartsWith('|'))
        {
            _table.Add(line.Trim());
            _line.Clear();
            return;
        }

        if (!_isInLine && RuleLine().IsMatch(line))
        {
            EndTable();
            console.Write(new Rule().RuleStyle("dim"));
            _line.Clear();
            return;
        }

        if (!_isInLine)
        {
            BeginLine();
        }

        EndWord();
        _wrap.NewLine();
        (_isInLine, _isBold, _isItalic, _isCode) = (false, false, false, false);
    }

    /// <summary>Shows a word, whose stars and backticks are styles where they touch it as Markdown's do.</summary>
    private void EndWord()
    {
        string word = _word.ToString();
        _word.Clear();
        List<(string Text, Style? Style)> parts = [];
        StringBuilder part = new();
        for (int i = 0; i < word.Length; i++)
        {
            bool isStart = i == 0 || !char.IsLetterOrDigit(word[i - 1]);
            if (word[i] == '`')
            {
                Next();
                _isCode = !_isCode;
            }
            else if (_isCode)
            {
                part.Append(word[i]);
            }
            else if (word[i] == '\\' && i + 1 < word.Length && char.IsPunctuation(word[i + 1]))
            {
                part.Append(word[++i]);
            }
            else if (word.AsSpan(i).StartsWith("**") && (_isBold ? i > 0 : i + 2 < word.Length))
            {
                Next();
                _isBold = !_isBold;
                i++;
            }
            else if ((word[i] == '*' && (_isItalic ? i > 0 : i + 1 < word.Length)) || (word[i] == '_' && (_isItalic ? i > 0 && (i + 1 == word.Length || !char.IsLetterOrDigit(word[i + 1])) : isStart && i + 1 < word.Length)))
            {
                Next();
                _isItalic = !_isItalic;
            }
            else
            {
                part.Append(word[i]);
            }
        }

        Next();
        _wrap.WriteWord([.. parts]);

        void Next()
        {
            if (part.Length > 0)
            {
                parts.Add((part.ToString(), Current()));
                part.Clear();
            }
        }
    }

    private Style Current() => _isCode ? s_code : new Style(_base.Foreground, _base.Background, _base.Decoration | (_isBold ? Decoration.Bold : 0) | (_isItalic ? Decoration.Italic : 0));

    /// <summary>Shows the rows that were collected: as a table where the second one says that it is one.</summary>
    private void EndTable()
    {
        if (_table.Count == 0)
        {
            return;
        }

        if (_table.Count < 2 || !Divider().IsMatch(_table[1]))
        {
            _table.ForEach(row => console.Profile.Out.Writer.Write(row + "\n"));
            _table.Clear();
            return;
        }

        string[][] rows = [.. _table.Where((_, i) => i != 1).Select(Cells)];
        int columns = rows.Max(row => row.Length); // a row may have more cells than the head
        rows = [.. rows.Select(row => row.Concat(Enumerable.Repeat("", columns)).Take(columns).ToArray())];
        Table table = new Table().Border(TableBorder.Rounded).AddColumns([.. rows[0].Select(cell => new TableColumn(new SpectreText(cell, new Style(decoration: Decoration.Bold))))]);
        foreach (string[] row in rows.Skip(1))
        {
            table.AddRow(row.Select(cell => new SpectreText(cell)));
        }

        console.Write(table);
        _table.Clear();
    }

    private static string[] Cells(string row) =>
        [.. CellBorder().Split(row.Trim('|', ' ')).Select(cell => cell.Trim().Replace(@"\|", "|", StringComparison.Ordinal).Replace("**", "", StringComparison.Ordinal).Replace("`", "", StringComparison.Ordinal))];

    /// <summary>Beginnings of lines that do not tell yet what the line is.</summary>
    [GeneratedRegex(@"^\s*(?:$|#{1,6}$|[*+-]$|[*_-]{1,}[*_\s-]*$|[0-9]{1,3}[.)]?$|>$|`{1,2}$|```.*|\|.*)")]
    private static partial Regex CouldBeMore();

    [GeneratedRegex(@"^ {0,3}#{1,6} +")]
    private static partial Regex Heading();

    [GeneratedRegex(@"^ {0,3}> ?")]
    private static partial Regex Quote();

    [GeneratedRegex(@"^(?<indent>\s*)(?<mark>[*+-]|[0-9]{1,3}[.)]) +")]
    private static partial Regex Item();

    [GeneratedRegex(@"^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$")]
    private static partial Regex RuleLine();

    [GeneratedRegex(@"^\|?[ :|-]*-[ :|-]*$")]
    private static partial Regex Divider();

    [GeneratedRegex(@"(?<!\\)\|")]
    private static partial Regex CellBorder();
}
