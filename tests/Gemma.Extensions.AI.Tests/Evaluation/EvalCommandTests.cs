using System.Text.Json.Nodes;
using System.Xml.Linq;
using Gemma.Extensions.AI.Cli;

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
        string output = await Run("eval", "--model", TestData.Local("tiny"), "--kernel", "reference", "--task", "piqa", "--task", _directory.File("mine.json"), "--data", _directory.File("data"), "--output", _directory.File("out"));
        Assert.Contains("| piqa | 0 | 6 | acc_norm |", output, StringComparison.Ordinal);
        Assert.Contains("| mine | 0 | 1 | f1 |", output, StringComparison.Ordinal);
        Assert.Contains("sha256", output, StringComparison.Ordinal);
        Assert.Equal(7, File.ReadAllLines(_directory.File("out/piqa.items.jsonl")).Length);

        JsonArray reports = (JsonArray)JsonNode.Parse(await Run("eval", "report", _directory.File("out/piqa.json"), _directory.File("out/mine.json"), "--plot", _directory.File("all.svg"), "--json"))!;
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
        Assert.Contains("hellaswag", await Run("eval", "tasks"), StringComparison.Ordinal);
        Assert.Equal("hellaswag", JsonNode.Parse(await Run("eval", "tasks", "hellaswag"))!["name"]!.GetValue<string>());
    }

    private static async Task<string> Run(params string[] args)
    {
        StringWriter output = new(), error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(args, new CliInvocation(interrupts) { Output = output, Error = error, Input = new StringReader(""), IsInteractive = false });
        Assert.Equal("", error.ToString());
        Assert.Equal(0, exit);
        return output.ToString();
    }
}
