using Gemma.Extensions.AI.Cli.Terminal;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Lines as they are edited, and what a terminal shows of them.</summary>
public sealed class LineEditorTests
{
    private const string Family = "👨‍👩‍👧";

    [Theory]
    [InlineData("hello<Enter>", "hello")]
    [InlineData("hllo<Left><Left><Left>e<Enter>", "hello")]
    [InlineData("world<Home>hello <Enter>", "hello world")]
    [InlineData("hello<Ctrl+A>x<Ctrl+E>y<Enter>", "xhelloy")]
    [InlineData("hellox<Backspace><Enter>", "hello")]
    [InlineData("xhello<Home><Delete><Enter>", "hello")]
    [InlineData("one two three<Ctrl+W><Enter>", "one two ")]
    [InlineData("one two<Alt+Backspace><Enter>", "one ")]
    [InlineData("one two<Ctrl+Left>x<Enter>", "one xtwo")]
    [InlineData("one two<Home><Ctrl+Right>x<Enter>", "onex two")]
    [InlineData("one two<Alt+B><Ctrl+U><Enter>", "two")]
    [InlineData("one two<Alt+B><Ctrl+K><Enter>", "one ")]
    [InlineData("one<Ctrl+B><Ctrl+F><Ctrl+B><Ctrl+D><Enter>", "on")]
    [InlineData("a<Left><Left><Backspace><Right><Right><Delete>b<Enter>", "ab")]
    [InlineData("one<Alt+Enter>two<Enter>", "one\ntwo")]
    [InlineData("a👍<Backspace>b<Enter>", "ab")]
    [InlineData("a👍<Left>b<Enter>", "ab👍")]
    [InlineData("e\u0301<Backspace>x<Enter>", "x")]
    [InlineData(Family + "<Left>x<Enter>", "x" + Family)]
    [InlineData("/sy<Tab>x<Enter>", "/system x")]
    [InlineData("/s<Tab><Enter>", "/s")]
    [InlineData("/nothing<Tab><Enter>", "/nothing")]
    [InlineData("half a line", "half a line")]
    public void KeysEditALine(string keys, string expected) => Assert.Equal(expected, Read(new ScriptedKeys().Type(keys), out _)[0]);

    [Fact]
    public void LinesBeforeComeBack() => Assert.Equal(
        ["first", "second", "first", "second!", "draft", null],
        Read(new ScriptedKeys().Type("first<Enter>second<Enter><Up><Up><Enter>" + "<Up><Up>!<Enter>" + "draft<Up><Up><Up><Up><Up><Down><Down><Down><Down><Enter><Ctrl+D>"), out _));

    [Fact]
    public void TextThatIsPastedStaysOneMessage() => Assert.Equal(["one\ntwo\n", null], Read(new ScriptedKeys().Paste("one\ntwo\n").Paste("x").Type("<Backspace><Enter>"), out _));

    /// <summary>Whatever is typed, a terminal shows the prompt and the text, broken at its edge, with the cursor where the next letter goes.</summary>
    [Theory]
    [InlineData("hello world", 80)]
    [InlineData("hello world", 8)]
    [InlineData("hello w", 9)]
    [InlineData("hello world<Left><Left><Left>", 8)]
    [InlineData("hello<Alt+Enter>world<Up>", 20)]
    [InlineData("日本語テキスト<Left>", 9)]
    [InlineData("a rather long line that goes over several rows<Home>x<End>y<Ctrl+Left><Ctrl+W>", 10)]
    public void ATerminalShowsWhatWasWritten(string keys, int columns)
    {
        Screen screen = new(columns);
        List<string?> lines = Read(new ScriptedKeys().Type(keys), out string shown, columns);
        screen.Write("before\r\n" + shown);
        Assert.StartsWith("before\n> ", screen.Text, StringComparison.Ordinal);
        Assert.Equal(Letters("> " + lines[0]), Letters(screen.Text["before\n".Length..]));
        static string Letters(string text) => string.Concat(text.Where(c => !char.IsWhiteSpace(c)));
    }

    private static List<string?> Read(ScriptedKeys keys, out string shown, int columns = 80)
    {
        StringWriter output = new();
        string[] names = ["/system", "/save", "/stats"];
        LineEditor editor = new(keys, output, () => columns, begun => begun.StartsWith('/') ? [.. names.Where(name => name.StartsWith(begun, StringComparison.Ordinal))] : []);
        List<string?> lines = [];
        do
        {
            lines.Add(editor.Read(("> ", "> ")));
        }
        while (lines[^1] is not null);
        shown = output.ToString();
        shown = shown[..(shown.IndexOf("\r\n\r\e[J> ", StringComparison.Ordinal) is > 0 and int end ? end : shown.Length)];
        return lines;
    }

    /// <summary>As much of a terminal as the editor uses: line ends, cursor up and right, erasing to the end.</summary>
    private sealed class Screen(int columns)
    {
        private readonly List<string> _cells = [];
        private int _row;
        private int _column;

        public string Text => string.Join('\n', _cells.Chunk(columns).Select(row => string.Concat(row).TrimEnd(' '))).TrimEnd('\n');

        public void Write(string text)
        {
            for (int i = 0; i < text.Length; i++)
            {
                if (text[i] == '\r')
                {
                    _column = 0;
                }
                else if (text[i] == '\n')
                {
                    _row++;
                }
                else if (text[i] == '\e')
                {
                    int end = i + 2;
                    while (char.IsDigit(text[end]))
                    {
                        end++;
                    }

                    int count = end > i + 2 ? int.Parse(text.AsSpan(i + 2, end - i - 2)) : 0;
                    switch (text[end])
                    {
                        case 'A':
                            _row -= count;
                            break;
                        case 'C':
                            _column += count;
                            break;
                        case 'J':
                            _cells.RemoveRange(Math.Min(_cells.Count, _row * columns + _column), Math.Max(0, _cells.Count - (_row * columns + _column)));
                            break;
                        default:
                            Assert.Fail($"The sequence ESC{text[(i + 1)..(end + 1)]} is unknown here.");
                            break;
                    }

                    i = end;
                }
                else
                {
                    Put(text, ref i);
                }
            }
        }

        private void Put(string text, ref int i)
        {
            System.Text.Rune rune = System.Text.Rune.GetRuneAt(text, i);
            i += rune.Utf16SequenceLength - 1;
            int width = TerminalSize.WidthOf(rune);
            Assert.True(_column + width <= columns, "A letter is written over the edge.");
            while (_cells.Count < (_row + 1) * columns)
            {
                _cells.Add(" ");
            }

            _cells[_row * columns + _column] = rune.ToString();
            if (width == 2)
            {
                _cells[_row * columns + _column + 1] = "";
            }

            _column += width;
        }
    }
}
