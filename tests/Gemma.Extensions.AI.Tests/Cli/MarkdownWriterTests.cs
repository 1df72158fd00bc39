using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Cli.Terminal;
using Spectre.Console;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Markdown at a terminal, whatever pieces it comes in.</summary>
public sealed partial class MarkdownWriterTests
{
    private const string Sample =
        """
        # A heading

        Some **bold words** and *one* `code span` with a_b and 2 * 3.

        - first item that is rather long and goes over the edge of the terminal
        - second
          1. nested

        > quoted

        ```csharp
        int x = **y;
        ```

        | name | value |
        |---|--:|
        | a **b** | 1 |
        | c \| d | 22 | more |

        ---
        The end\*
        """;

    [Fact]
    public void ItIsShownAsATerminalCan()
    {
        string[] lines = Plain(Show(Sample, 40)).Split('\n');
        Assert.Equal("A heading", lines[0]);
        Assert.Contains("Some bold words and one code span with", lines);
        Assert.Contains("a_b and 2 * 3.", lines);
        Assert.Contains("• first item that is rather long and", lines);
        Assert.Contains("  goes over the edge of the terminal", lines);
        Assert.Contains("  1. nested", lines);
        Assert.Contains("│ quoted", lines);
        Assert.Contains("  int x = **y;", lines);
        Assert.Contains(lines, line => Regex.IsMatch(line, @"^│ a b\s+│ 1\s+│\s+│$"));
        Assert.Contains(lines, line => Regex.IsMatch(line, @"^│ c \| d\s+│ 22\s+│ more\s+│$"));
        Assert.Contains(new string('─', 40), lines);
        Assert.Contains("The end*", lines);
        Assert.DoesNotContain("```", string.Concat(lines), StringComparison.Ordinal);
    }

    [Fact]
    public void StylesAreThoseOfTheText()
    {
        string shown = Show("**a** *b* `c`\n", 40);
        Assert.Matches(@"\e\[1m" + "a", shown);
        Assert.Matches(@"\e\[3m" + "b", shown);
        Assert.Matches(@"\e\[[\d;]*m" + "c", shown);
    }

    [Fact]
    public void PiecesDoNotMatter()
    {
        string whole = Show(Sample, 40);
        for (int size = 1; size < 12; size++)
        {
            Assert.Equal(whole, Show(Sample, 40, size));
        }
    }

    /// <summary>Nothing that a model writes is lost or breaks the writer.</summary>
    [Theory]
    [InlineData("plain")]
    [InlineData("**never closed")]
    [InlineData("```\nnever closed")]
    [InlineData("| no | table |")]
    [InlineData("*")]
    [InlineData("**")]
    [InlineData("* * *x")]
    [InlineData("#hash 1.5 -5 >5")]
    [InlineData("snake_case_name and __init__ [link](https://example.org)")]
    [InlineData("[red]no markup of the console[/]")]
    public void WordsStay(string text)
    {
        string shown = Plain(Show(text, 60));
        Assert.All(Word().Matches(text).Select(match => match.Value), word => Assert.Contains(word, shown, StringComparison.Ordinal));
    }

    [Fact]
    public void RandomTextsAreShownWhole()
    {
        string[] parts = ["*", "**", "_", "`", "\n", "\n\n", " ", "  ", "# ", "- ", "1. ", "> ", "word", "日本", "👍", "\\", "---", "x"];
        Random random = new(5);
        for (int i = 0; i < 500; i++)
        {
            string text = string.Concat(Enumerable.Range(0, random.Next(30)).Select(_ => parts[random.Next(parts.Length)]));
            string shown = Show(text, 20, random.Next(1, 6));
            Assert.Equal(text.Split("word").Length, Plain(shown).Replace("\n", "", StringComparison.Ordinal).Replace(" ", "", StringComparison.Ordinal).Replace("│", "", StringComparison.Ordinal).Split("word").Length);
        }
    }

    [Theory]
    [InlineData("one two three four", 9, "one two\nthree\nfour\n")]
    [InlineData("one  two", 9, "one  two\n")]
    [InlineData("a\n\nb", 9, "a\n\nb\n")]
    [InlineData("日本語日本語", 9, "日本語日\n本語\n")]
    [InlineData("unbreakable", 5, "unbreakable\n")]
    [InlineData("one two three", 0, "one two three\n")]
    public void WordsAreNotBroken(string text, int width, string expected)
    {
        foreach (int size in (int[])[1, 2, 100])
        {
            StringWriter output = new();
            WordWrap wrap = new((piece, _) => output.Write(piece), width);
            foreach (char[] piece in text.Chunk(size))
            {
                wrap.Write(new string(piece));
            }

            wrap.EndLine();
            Assert.Equal(expected, output.ToString());
        }
    }

    private static string Show(string text, int width, int size = int.MaxValue)
    {
        StringWriter output = new();
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(output), Ansi = AnsiSupport.Yes, ColorSystem = ColorSystemSupport.Standard });
        console.Profile.Width = width;
        MarkdownWriter writer = new(console);
        foreach (string piece in text.ReplaceLineEndings("\n").Chunk(Math.Min(size, Math.Max(1, text.Length))).Select(chars => new string(chars)))
        {
            writer.Write(piece);
        }

        writer.End();
        return output.ToString().ReplaceLineEndings("\n");
    }

    private static string Plain(string shown) => string.Join('\n', Sequence().Replace(shown, "").Split('\n').Select(line => line.TrimEnd()));

    [GeneratedRegex(@"\e\[[0-9;]*m")]
    private static partial Regex Sequence();

    [GeneratedRegex(@"[\p{L}\d]+")]
    private static partial Regex Word();
}
