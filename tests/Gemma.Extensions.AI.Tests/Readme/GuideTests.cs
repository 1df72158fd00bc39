using System.Text.RegularExpressions;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.CSharp.Syntax;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Readme;

/// <summary>The guides in src/docs: their code runs, their links lead somewhere, the messages that they explain exist.</summary>
public partial class GuideTests
{
    private static readonly string s_folder = Path.Combine(TestData.Repository, "src", "docs");

    /// <summary>What nano is known to answer: a guide's question that it cannot answer would look as if the engine were broken.</summary>
    private static readonly Dictionary<string, string> s_printed = new()
    {
        ["getting-started.md"] = "I am gemma2-nano",
        ["gpu.md"] = "I am gemma2-nano",
        ["guard.md"] = "I am gemma2-nano",
        ["tuning.md"] = "36 tokens, 0 of them from the cache",
        ["tools-and-agents.md"] = "The weather in Paris is sunny, 20 degrees.",
        ["structured-output.md"] = "Person { Name = Anna Berg, Age = 31, City = Oslo }",
        ["documents.md"] = "24 months [1]",
        ["ahead-of-time.md"] = "sunny in Paris.\n{\"name\":\"Paris\",\"population\":2102650}",
        ["aspire.md"] = "512",
        ["server.md"] = "gemma2-nano",
    };

    public static TheoryData<string> Pages() => [.. Directory.EnumerateFiles(s_folder, "*.md").Select(page => Path.GetFileName(page)).Order()];

    public static TheoryData<string> Programs() => [.. Pages().Select(row => row.Data).Where(page => CSharp().IsMatch(Read(page)))];

    [Theory]
    [MemberData(nameof(Programs))]
    public void TheBlocksOfAPageAreOneProgram(string page)
    {
        string output = MarkdownProgram.Run(string.Join('\n', CSharp().Matches(Read(page)).Select(match => match.Groups[1].Value)));
        Assert.True(output.Trim().Length > 0, $"The program of '{page}' prints nothing.");
        if (s_printed.TryGetValue(page, out string? printed))
        {
            Assert.Contains(printed, output, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("Exception", output, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Pages))]
    public void LinksLeadToFilesAndHeadings(string page)
    {
        foreach (Match link in Link().Matches(Read(page)))
        {
            string target = Path.GetFullPath(Path.Combine(s_folder, link.Groups[1].Value.Length > 0 ? link.Groups[1].Value : page));
            Assert.True(Path.Exists(target), $"'{page}' links to '{link.Groups[1].Value}', which does not exist.");
            if (link.Groups[2].Value is { Length: > 0 } anchor)
            {
                IEnumerable<string> headings = Heading().Matches(File.ReadAllText(target)).Select(match => NotInAnchor().Replace(match.Groups[1].Value.ToLowerInvariant(), "").Replace(' ', '-'));
                Assert.Contains(anchor, headings);
            }
        }
    }

    /// <summary>What others print at the same time is not taken for a page's own.</summary>
    [Fact]
    public async Task AProgramsOutputIsItsOwn()
    {
        using SemaphoreSlim begun = new(0), ended = new(0);
        Task<string> program = Task.Run(() => ConsoleOfCaller.Capture(() =>
        {
            begun.Release();
            ended.Wait();
            Task.Run(() => Console.Write("its own")).Wait();
        }));
        await begun.WaitAsync();
        string other = ConsoleOfCaller.Capture(() => Console.WriteLine("of another"));
        ended.Release();
        Assert.Equal("its own", await program);
        Assert.Equal("of another", other.Trim());
    }

    [Fact]
    public void TheIndexNamesEveryPage()
    {
        string index = Read("README.md");
        Assert.All(Pages().Where(row => row.Data != "README.md"), row => Assert.Contains($"({row.Data})", index, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("CONTRIBUTING.md")]
    [InlineData("SECURITY.md")]
    public void LinksOfThePagesForContributorsLeadToFiles(string page)
    {
        string folder = Path.Combine(TestData.Repository, ".github");
        Assert.All(Link().Matches(File.ReadAllText(Path.Combine(folder, page))), link => Assert.True(Path.Exists(Path.Combine(folder, link.Groups[1].Value)), $"'{page}' links to '{link.Groups[1].Value}', which does not exist."));
    }

    [Fact]
    public void EverySampleIsNamed()
    {
        string page = Read("samples.md");
        Assert.All(Directory.GetDirectories(Path.Combine(TestData.Repository, "samples")).Select(Path.GetFileName), sample => Assert.Contains($"| [{sample}](../../samples/{sample}/", page, StringComparison.Ordinal));
    }

    [Fact]
    public void MessagesThatAreExplainedStandInTheCode()
    {
        string code = string.Concat(Directory.EnumerateFiles(Path.Combine(TestData.Repository, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal)).Select(File.ReadAllText));
        string[] messages = [.. Message().Matches(Read("troubleshooting.md")).Select(match => match.Groups[1].Value)];
        Assert.True(messages.Length >= 15);
        Assert.All(messages.SelectMany(message => message.Split('…', StringSplitOptions.RemoveEmptyEntries)), part => Assert.Contains(part, code, StringComparison.Ordinal));
    }

    /// <summary>What goes wrong outside of a program (a file, a network, a disk, a GPU, a document) has messages for people who did not write it: each has its row, or the row of its kind.</summary>
    [Theory]
    [InlineData(nameof(GemmaModelFormatException), 100)]
    [InlineData(nameof(GemmaHubException), 15)]
    [InlineData(nameof(GemmaMemoryException), 4)]
    [InlineData(nameof(GemmaDeviceException), 7)]
    [InlineData(nameof(GemmaOverloadedException), 2)]
    [InlineData(nameof(global::Gemma.Extensions.AI.Rag.GemmaRagException), 12)]
    public void EveryMessageOfTheseHasItsRow(string exception, int least)
    {
        string[][] rows = [.. Message().Matches(Read("troubleshooting.md")).Select(match => match.Groups[1].Value.Split('…', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))];
        string[] thrown = [.. Directory.EnumerateFiles(Path.Combine(TestData.Repository, "src"), "*.cs", SearchOption.AllDirectories)
            .Where(file => !file.Contains($"{Path.DirectorySeparatorChar}obj{Path.DirectorySeparatorChar}", StringComparison.Ordinal))
            .Select(File.ReadAllText).Where(code => code.Contains($"new {exception}(", StringComparison.Ordinal))
            .SelectMany(code => CSharpSyntaxTree.ParseText(code, cancellationToken: TestContext.Current.CancellationToken).GetRoot(TestContext.Current.CancellationToken).DescendantNodes().OfType<ObjectCreationExpressionSyntax>())
            .Where(creation => creation.Type.ToString() == exception).Select(Text).Where(text => text.Length > 0)];
        Assert.True(thrown.Length >= least, $"Only {thrown.Length} places throw a {exception}.");
        Assert.All(thrown, text => Assert.True(rows.Any(parts => parts.All(part => text.Contains(part, StringComparison.Ordinal))), $"troubleshooting.md has no row for: {text}"));

        // What stands in quotes, with … for what is put in.
        static string Text(ObjectCreationExpressionSyntax creation) => string.Join('…', creation.DescendantTokens()
            .Where(token => token.IsKind(SyntaxKind.StringLiteralToken) || token.IsKind(SyntaxKind.InterpolatedStringTextToken)).Select(token => token.ValueText));
    }

    private static string Read(string page) => File.ReadAllText(Path.Combine(s_folder, page)).ReplaceLineEndings("\n");

    [GeneratedRegex("```csharp\n(.*?)```", RegexOptions.Singleline)]
    private static partial Regex CSharp();

    [GeneratedRegex(@"\]\((?!http)([^)#]*)(?:#([^)]*))?\)")]
    private static partial Regex Link();

    [GeneratedRegex("^#+ (.*)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex("[^a-z0-9 -]")]
    private static partial Regex NotInAnchor();

    [GeneratedRegex("^\\| `([^`]*)` \\|", RegexOptions.Multiline)]
    private static partial Regex Message();
}
