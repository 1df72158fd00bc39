using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Evaluation;
using Parquet.Serialization;

namespace Gemma.Extensions.AI.Tests.Evaluation;

/// <summary>Rows of the files that users have.</summary>
public sealed class EvaluationDataTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task CsvHasQuotesLineEndsAndAMarkAtItsBeginning()
    {
        JsonObject[] rows = await Read("a.csv", "\uFEFFq,a\r\n\"He said \"\"no\"\", twice\",1\r\n\"two\nlines\",\r\n\r\nlast,2");
        Assert.Equal(["""{"q":"He said \u0022no\u0022, twice","a":"1"}""", """{"q":"two\nlines","a":""}""", """{"q":"last","a":"2"}"""], rows.Select(row => row.ToJsonString()));
    }

    [Theory]
    [InlineData("a.csv", "q,a\nx", "line 2: 1 fields, expected 2")]
    [InlineData("a.csv", "q\n\"x", "line 2: a quote is not closed")]
    [InlineData("a.csv", "q\n\"x\"y", "line 2: expected a comma")]
    [InlineData("a.csv", "q,q\n1,2", "a column twice")]
    [InlineData("a.jsonl", "{\"q\":1}\n{\"q\":", "line 2")]
    [InlineData("a.jsonl", "[1]", "line 1: expected an object")]
    [InlineData("a.jsonl", "{\"q\":1}\n{\"q\":1,\"q\":2}", "line 2")]
    [InlineData("a.json", "{}", "expected a list")]
    [InlineData("a.parquet", "PAR1 no", "cannot be read")]
    public async Task DamageIsNamedWithItsPlace(string name, string text, string reason) =>
        Assert.Contains(reason, (await Assert.ThrowsAsync<FormatException>(() => Read(name, text))).Message, StringComparison.Ordinal);

    [Fact]
    public async Task RandomBytesAreRefusedOrRead()
    {
        Random random = new(5);
        for (int i = 0; i < 300; i++)
        {
            byte[] bytes = new byte[random.Next(200)];
            random.NextBytes(bytes);
            string name = ((string[])["a.csv", "a.jsonl", "a.json", "a.parquet"])[i % 4];
            File.WriteAllBytes(_directory.File(name), i % 8 == 7 ? [.. "PAR1"u8, .. bytes, .. "PAR1"u8] : bytes);
            Exception? exception = await Record.ExceptionAsync(() => EvaluationData.ReadAsync([_directory.File(name)], default));
            Assert.True(exception is null or FormatException, exception?.ToString());
        }
    }

    [Fact]
    public async Task ParquetHasListsAndStructures()
    {
        ArcRow[] written = [new("Which?", new ArcChoices(["x", "y"], ["A", "B"]), "B", 3, 0.5, true), new("Who?", new ArcChoices(["z"], ["A"]), "A", -1, 1, false)];
        await ParquetSerializer.SerializeAsync(written.Select(row => row.ToData()), _directory.File("test-00000-of-00001.parquet"));
        JsonObject[] rows = [.. await EvaluationData.ReadAsync(EvaluationData.Open(_directory.Path).FilesOf("test", areExamples: false), default)];
        Assert.Equal(["Which?", "Who?"], rows.Select(row => row["question"]!.GetValue<string>()));
        Assert.Equal("""["x","y"]""", rows[0]["choices"]!["text"]!.ToJsonString());
        Assert.Equal("""["A","B"]""", rows[0]["choices"]!["label"]!.ToJsonString());
        Assert.Equal(-1, (long)rows[1]["number"]!);
        Assert.True((bool)rows[0]["flag"]!);
    }

    [Fact]
    public void SplitsAreFoundWhereTheyUsuallyLie()
    {
        Directory.CreateDirectory(_directory.File("data"));
        Directory.CreateDirectory(_directory.File("dev"));
        foreach (string name in (string[])["test.csv", "testing.csv", "data/train-00001-of-00002.parquet", "data/train-00000-of-00002.parquet", "dev/anything.jsonl"])
        {
            File.WriteAllText(_directory.File(name), "");
        }

        EvaluationData data = EvaluationData.Open(_directory.Path);
        Assert.Equal(["test.csv"], Names("test"));
        Assert.Equal(["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"], Names("train"));
        Assert.Equal(["anything.jsonl"], Names("dev"));
        Assert.Contains("'validation'", Assert.Throws<FileNotFoundException>(() => Names("validation")).Message, StringComparison.Ordinal);
        EvaluationData single = EvaluationData.Open(_directory.File("test.csv"));
        Assert.Single(single.FilesOf("anything", areExamples: false));
        Assert.Throws<FileNotFoundException>(() => single.FilesOf("train", areExamples: true));
        Assert.Throws<FileNotFoundException>(() => EvaluationData.Open(_directory.File("none")));

        IEnumerable<string?> Names(string split) => data.FilesOf(split, areExamples: true).Select(Path.GetFileName);
    }

    private async Task<JsonObject[]> Read(string name, string text)
    {
        File.WriteAllText(_directory.File(name), text);
        return [.. await EvaluationData.ReadAsync([_directory.File(name)], default)];
    }

    private sealed record ArcChoices(string[] Text, string[] Label);

    private sealed record ArcRow(string Question, ArcChoices Choices, string AnswerKey, int Number, double Share, bool Flag)
    {
        public Data ToData() => new() { question = Question, choices = new Choice { text = [.. Choices.Text], label = [.. Choices.Label] }, answerKey = AnswerKey, number = Number, share = Share, flag = Flag };
    }

#pragma warning disable IDE1006 // names of columns
    public sealed class Choice
    {
        public List<string>? text { get; set; }

        public List<string>? label { get; set; }
    }

    public sealed class Data
    {
        public string? question { get; set; }

        public Choice? choices { get; set; }

        public string? answerKey { get; set; }

        public int number { get; set; }

        public double share { get; set; }

        public bool flag { get; set; }
    }
#pragma warning restore IDE1006
}
