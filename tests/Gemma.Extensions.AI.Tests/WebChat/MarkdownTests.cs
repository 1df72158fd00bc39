using System.Diagnostics;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Gemma.Extensions.AI.Tests.WebChat;

/// <summary>What the page's Markdown costs, in node, or in a Chromium where there is no node.</summary>
public sealed class MarkdownTests(BrowserFixture browser) : IClassFixture<BrowserFixture>
{
    private static string Script => Path.Combine(TestData.Repository, "src", "Gemma.Extensions.AI.AspNetCore", "Web", "page", "markdown.js");

    private static string Checks => Path.Combine(TestData.Repository, "tests", "Gemma.Extensions.AI.Tests", "WebChat", "markdown-checks.js");

    private static string? Node { get; } = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
        .SelectMany(directory => new[] { "node", "node.exe" }.Select(name => Path.Combine(directory, name))).FirstOrDefault(File.Exists);

    [Fact]
    public async Task EveryTextCostsStepsInProportionToItsLength()
    {
        JsonElement found = JsonElement.Parse(Node is null ? await RunInBrowserAsync() : await RunInNodeAsync(Node));
        Assert.True(found.GetProperty("inputs").GetInt32() >= 1000);
        Assert.InRange(found.GetProperty("dearest").GetProperty("steps").GetDouble(), 0, 40);
        double factor = found.GetProperty("growth").GetProperty("factor").GetDouble(); // steps a character at 100 kB to those at 10 kB
        Assert.True(factor < 1.2, found.GetProperty("growth").GetRawText());
        Assert.Equal("[]", found.GetProperty("different").GetRawText());

        // A text that streams in 20 characters at a time: each piece costs the block it goes on with, not the text before it.
        JsonElement streamed = found.GetProperty("streamed");
        double once = streamed.GetProperty("once").GetDouble(), little = streamed.GetProperty("short").GetDouble(), much = streamed.GetProperty("long").GetDouble();
        Assert.InRange(little / once, 1, 10);
        Assert.InRange(much / little, 1.9, 2.1);
    }

    /// <summary>Steps are counted in loops, so nothing else may hide any: expressions of one character cannot go back.</summary>
    [Fact]
    public void ExpressionsAreOfOneCharacter()
    {
        string[] code = [.. File.ReadLines(Script).Where(line => !line.TrimStart().StartsWith("//", StringComparison.Ordinal))];
        Match[] expressions = [.. code.Select(line => Regex.Match(line, @"^const (\w+) = /(.*)/;$")).Where(match => match.Success)];
        Assert.NotEmpty(expressions);
        Assert.All(expressions, expression => Assert.Matches(@"^(\\[swd]|\[(\\.|[^\]\\])+\])$", expression.Groups[2].Value));
        HashSet<string> names = [.. expressions.Select(expression => expression.Groups[1].Value)];
        string all = string.Join('\n', code);
        Assert.All(Regex.Matches(all, @"([^\s(!]+)\.test\("), use => Assert.Contains(use.Groups[1].Value, names));
        Assert.DoesNotMatch(@"\.(exec|match|matchAll|replace|replaceAll|search)\(|RegExp|\.split\(/", all);
    }

    private static async Task<string> RunInNodeAsync(string node)
    {
        (int exit, string output, string complaints) = await ProgramRun.ToEndAsync(
            new ProcessStartInfo(node, [Path.ChangeExtension(Checks.Replace("-checks", "-node"), ".mjs"), Script, Checks]), TimeSpan.FromMinutes(5));
        Assert.True(exit == 0, complaints);
        return output;
    }

    private async Task<string> RunInBrowserAsync()
    {
        await using WebChatServer server = await WebChatServer.StartAsync(_ => new ScriptedClient(_ => ["ok"]));
        Tab page = await browser.OpenAsync(server.Address);
        return await page.EvaluateAsync<string>($"import('/markdown.js').then(module => JSON.stringify(({await File.ReadAllTextAsync(Checks)})(module, () => document.createElement('div'))))");
    }
}
