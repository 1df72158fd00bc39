using System.Text.RegularExpressions;
using Gemma.Extensions.AI.Cli;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Readme;

/// <summary>The README's code is compiled, run and compared.</summary>
public partial class ReadmeTests
{
    private static readonly string s_readme = File.ReadAllText(Path.Combine(TestData.Repository, "README.md")).ReplaceLineEndings("\n");

    [Fact]
    public void ItLeadsWithTenLinesOfCodeThatRun()
    {
        string code = CSharp().Match(s_readme).Groups[1].Value;
        Assert.InRange(code.Split('\n').Count(line => line.Length > 0), 3, 10);
        Assert.DoesNotContain("## ", s_readme[..s_readme.IndexOf("```csharp", StringComparison.Ordinal)], StringComparison.Ordinal);

        string output = MarkdownProgram.Run(code);
        Assert.Contains("I am gemma2-nano", output, StringComparison.Ordinal);
    }

    [Fact]
    public void ItGivesExactlyTwoCommandsToSetUp()
    {
        string[] commands = [.. Command().Matches(s_readme).Select(match => match.Groups[1].Value)];
        Assert.Equal(["dotnet run --project src/Gemma.Extensions.AI.Cli -c Release -- chat", "dotnet test -c Release"], commands);
        Assert.True(Directory.Exists(Path.Combine(TestData.Repository, "src", "Gemma.Extensions.AI.Cli")));
    }

    [Fact]
    public void EveryOptionAndEveryCommandIsListedInTheGuidesAndNothingElse()
    {
        string options = Guide("configuration.md");
        string table = options[options.IndexOf("| option |", StringComparison.Ordinal)..];
        table = table[..table.IndexOf("\n\n", StringComparison.Ordinal)];
        IEnumerable<string> listed = Name().Matches(string.Join('\n', table.Split('\n').Skip(2).Select(row => row.Split('|')[1]))).Select(match => match.Groups[1].Value);
        Assert.Equal(typeof(GemmaOptions).GetProperties().Select(property => property.Name).Order(), listed.Order());

        IEnumerable<string> commands = ToolRow().Matches(Guide("tool.md")).SelectMany(row => ToolName().Matches(row.Value).Select(match => match.Groups[1].Value));
        Assert.Equal(GemmaCli.CreateRoot().Subcommands.Select(command => command.Name).Order(), commands.Order());
    }

    private static string Guide(string page) => File.ReadAllText(Path.Combine(TestData.Repository, "src", "docs", page)).ReplaceLineEndings("\n");

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharp();

    [GeneratedRegex("^(dotnet .*)$", RegexOptions.Multiline)]
    private static partial Regex Command();

    [GeneratedRegex("`([A-Za-z]+)`")]
    private static partial Regex Name();

    [GeneratedRegex("^\\| `gemma [^|]*\\|", RegexOptions.Multiline)]
    private static partial Regex ToolRow();

    [GeneratedRegex("`gemma ([a-z]+)")]
    private static partial Regex ToolName();
}
