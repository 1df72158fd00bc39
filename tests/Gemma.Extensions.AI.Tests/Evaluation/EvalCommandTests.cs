using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Xml.Linq;
using Gemma.Extensions.AI.Tests.Cli;

namespace Gemma.Extensions.AI.Tests.Evaluation;

/// <summary><c>gemma eval</c> from data to picture.</summary>
public sealed class EvalCommandTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task TasksAreMeasuredReportedAndDrawn()
    {
        Directory.CreateDirectory(_directory.File("data/piqa"));
        File.WriteAllLines(_directory.File("data/piqa/validation.jsonl"), Enumerable.Range(0, 6).Select(i => $$"""{"goal":"Count {{i}}","sol1":"one, two","sol2":"x","label":{{i % 2}}}"""));
        File.WriteAllText(_directory.File("data/mine.csv"), "q,a\nHello,Hi\n");
        File.WriteAllText(_directory.File("mine.json"), """{"name":"mine","kind":"generate","prompt":"{{q}}","answer":"a","maxTokens":4,"metrics":["f1"],"split":"mine"}""");
        string output = await CliRun.SucceedAsync("eval", "--model", TestData.Local("tiny"), "--kernel", "reference", "--task", "piqa", "--task", _directory.File("mine.json"), "--data", _directory.File("data"), "--output", _directory.File("out"));
        Assert.Contains("| piqa | 0 | 6 | acc_norm |", output, StringComparison.Ordinal);
        Assert.Contains("| mine | 0 | 1 | f1 |", output, StringComparison.Ordinal);
        Assert.Contains("sha256", output, StringComparison.Ordinal);
        Assert.Equal(7, File.ReadAllLines(_directory.File("out/piqa.items.jsonl")).Length);

        JsonArray reports = (JsonArray)JsonNode.Parse(await CliRun.SucceedAsync("eval", "report", _directory.File("out/piqa.json"), _directory.File("out/mine.json"), "--plot", _directory.File("all.svg"), "--json"))!;
        Assert.Equal(["piqa", "mine"], reports.Select(report => report!["task"]!.GetValue<string>()));
        XDocument picture = XDocument.Load(_directory.File("all.svg"));
        string[] texts = [.. picture.Descendants().Where(element => element.Name.LocalName == "text").Select(element => element.Value)];
        Assert.Contains("piqa: acc_norm", texts);
        Assert.Contains("mine: f1", texts);
        Assert.Contains(texts, text => text.StartsWith("tiny", StringComparison.Ordinal));
    }

    [Fact]
    public async Task TheTasksAreListedAndPrinted()
    {
        Assert.Contains("hellaswag", await CliRun.SucceedAsync("eval", "tasks"), StringComparison.Ordinal);
        Assert.Equal("hellaswag", JsonNode.Parse(await CliRun.SucceedAsync("eval", "tasks", "hellaswag"))!["name"]!.GetValue<string>());
    }

    /// <summary>A process that is killed when three rows are in the file: the next one measures what is missing, and the end is that of a run that was left alone.</summary>
    [Fact]
    public async Task AKilledRunEndsLikeOneThatWasLeftAlone()
    {
        const int Rows = 100;
        Directory.CreateDirectory(_directory.File("data/piqa"));
        File.WriteAllLines(_directory.File("data/piqa/validation.jsonl"), Enumerable.Range(0, Rows).Select(i => $$"""{"goal":"Count from {{i}} to {{i * 7}}","sol1":"say one number after another","sol2":"{{i}}, and so on","label":{{i % 2}}}"""));
        await CliRun.SucceedAsync(Command("whole"));
        string items = _directory.File("killed/piqa.items.jsonl");
        using (Process process = CliProcess.Start(Command("killed")))
        {
            bool killed = await process.KillWhenAsync(() => File.Exists(items) && Lines(items).Length > 3);
            Assert.True(killed, await process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
        }

        string[] kept = Lines(items);
        Assert.InRange(kept.Length - 1, 3, Rows - 1);
        Assert.False(File.Exists(_directory.File("killed/piqa.json")));
        await CliRun.SucceedAsync(Command("killed"));
        Assert.Equal(kept, Lines(items)[..kept.Length]); // nothing that was there is measured again
        Assert.Equal(Lines(_directory.File("whole/piqa.items.jsonl")).Order(StringComparer.Ordinal), Lines(items).Order(StringComparer.Ordinal));
        Assert.Equal(File.ReadAllText(_directory.File("whole/piqa.json")), File.ReadAllText(_directory.File("killed/piqa.json")));

        string[] Command(string output) => ["eval", "--model", TestData.Local("tiny"), "--kernel", "reference", "--threads", "1", "--task", "piqa", "--data", _directory.File("data"), "--output", _directory.File(output)];
    }

    /// <summary>The whole lines of a file that may still be written.</summary>
    private static string[] Lines(string path)
    {
        using StreamReader reader = new(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        return reader.ReadToEnd().Split('\n')[..^1];
    }
}
