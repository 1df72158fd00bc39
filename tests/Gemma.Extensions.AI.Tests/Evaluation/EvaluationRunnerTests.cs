using System.Text.Json;
using Gemma.Extensions.AI.Evaluation;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Lora;
using Gemma.Extensions.AI.Tests.Server;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Evaluation;

/// <summary>Tasks run on models: likelihoods against the reference logits, and against our logits position by position.</summary>
public sealed class EvaluationRunnerTests : IDisposable
{
    private static readonly GemmaOptions s_exact = new() { Kernel = "reference", Threads = 1, KvCacheType = GemmaKvCacheType.F32 };
    private readonly TempDirectory _directory = new();

    private static readonly EvaluationTask s_task = EvaluationTask.Parse("""{"name":"t","kind":"generate","prompt":"Q: {{q}}\nA:","answer":"a","groupBy":"s","stop":["\n"],"normalize":{"trim":true},"metrics":["exact_match"]}""");

    public void Dispose() => _directory.Dispose();

    /// <summary>gemma_pytorch's logits say how likely each token of its text is; so long continuations, several of them, after a shared prompt.</summary>
    [Fact]
    public async Task LikelihoodsOfContinuationsAreThoseOfTheReference()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = file.ReadInt32s("tokens");
        float[] flat = file.ReadSingles("expected.logits");
        float[][] logits = [.. flat.Chunk(flat.Length / tokens.Length)];
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, s_exact);
        foreach (int start in (int[])[1, 17, 40])
        {
            // Right continuations of several lengths, and single tokens of all sorts.
            int[][] continuations = [tokens[start..(start + 1)], tokens[start..(start + 5)], tokens[start..^1], [3], [1000]];
            GemmaModel.TokenScore[] scores = await model.ScoreTokensAsync(tokens[..start], continuations, null, default);
            for (int i = 0; i < continuations.Length; i++)
            {
                double expected = continuations[i].Select((token, at) => logits[start - 1 + at][token] - Difference.LogSumExp(logits[start - 1 + at])).Sum();
                Assert.Equal(expected, scores[i].LogProbability, 1e-4 * Math.Max(1, continuations[i].Length / 10.0));
            }
        }
    }

    [Fact]
    public async Task ChoicesAreScoredTokenByTokenBehindThePrompt()
    {
        File.WriteAllLines(_directory.File("test.jsonl"), Enumerable.Range(0, 5).Select(i => $$"""{"question":"How far is {{i}}?","choices":{"text":["it is very far away","near","{{i}} miles"],"label":["A","B","C"]},"answerKey":"{{"ABC"[i % 3]}}"}"""));
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, s_exact);
        string items = _directory.File("items.jsonl");
        EvaluationReport report = await new EvaluationRunner(model, new EvaluationOptions { ItemsPath = items }).RunAsync(EvaluationTask.Find("arc_easy"), EvaluationData.Open(_directory.Path));
        Assert.Equal(5, report.Rows);
        Assert.Equal("none", report.Model.ChatFormat);
        Assert.Equal(64, report.Model.Sha256!.Length);
        using TinyEngine tiny = new();
        EvaluationItem[] results = Items(items);
        foreach (EvaluationItem item in results)
        {
            int[] prompt = [model.Tokenizer.BosId, .. model.Tokenizer.EncodeContent($"Question: How far is {item.Index}?\nAnswer:")];
            string[] choices = [" it is very far away", " near", $" {item.Index} miles"];
            for (int c = 0; c < 3; c++)
            {
                int[] whole = [model.Tokenizer.BosId, .. model.Tokenizer.EncodeContent($"Question: How far is {item.Index}?\nAnswer:{choices[c]}")];
                Assert.Equal(prompt, whole[..prompt.Length]);
                float[][] logits = tiny.Logits(whole);
                double expected = Enumerable.Range(prompt.Length, whole.Length - prompt.Length).Sum(at => logits[at - 1][whole[at]] - Difference.LogSumExp(logits[at - 1]));
                Assert.Equal(expected, item.LogLikelihoods![c], 1e-4);
            }

            int best = Enumerable.Range(0, 3).MaxBy(c => item.LogLikelihoods![c]);
            Assert.Equal(best == item.Index % 3 ? 1 : 0, item.Values["acc"]);
        }

        Assert.Equal(results.Average(item => item.Values["acc"]), report.Metrics.Single(metric => metric.Metric == "acc").Value);
    }

    [Fact]
    public async Task TextsLongerThanTheContextArePredictedTokenByTokenOnce()
    {
        string text = string.Join(' ', Enumerable.Range(0, 300).Select(i => $"word {i * 7919 % 1000}"));
        File.WriteAllText(_directory.File("test.json"), JsonSerializer.Serialize(new[] { new { text } }));
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, s_exact);
        EvaluationReport report = await new EvaluationRunner(model).RunAsync(EvaluationTask.Find("perplexity"), EvaluationData.Open(_directory.Path));
        int[] tokens = [.. model.Tokenizer.EncodeContent(text)];
        Assert.InRange(tokens.Length, model.ContextLength + 10, 4 * model.ContextLength);
        using TinyEngine tiny = new();
        double sum = 0;
        int window = model.ContextLength;
        for (int start = 0; start < tokens.Length; start += window)
        {
            int end = Math.Min(start + window, tokens.Length);
            int[] input = start == 0 ? [model.Tokenizer.BosId, .. tokens[..(end - 1)]] : tokens[(end - window - 1)..(end - 1)];
            float[][] logits = tiny.Logits(input);
            sum += Enumerable.Range(start, end - start).Sum(at => logits[input.Length - (end - at)][tokens[at]] - Difference.LogSumExp(logits[input.Length - (end - at)]));
        }

        Assert.Equal(-sum / text.Length / Math.Log(2), report.Metrics.Single(metric => metric.Metric == "bits_per_byte").Value, 1e-5);
        Assert.Equal(Math.Exp(-sum / 600), report.Metrics.Single(metric => metric.Metric == "word_perplexity").Value, Math.Exp(-sum / 600) * 1e-4);
    }

    [Fact]
    public async Task ARunThatWasKilledGoesOnAndEndsWithTheSameReport()
    {
        Write(12);
        string items = _directory.File("items.jsonl");
        EvaluationReport whole = await Runner(Client([]), null).RunAsync(s_task, EvaluationData.Open(_directory.Path));
        using CancellationTokenSource killed = new();
        List<string> first = [], second = [];
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => Runner(Client(first, () => first.Count == 5, killed), items).RunAsync(s_task, EvaluationData.Open(_directory.Path), cancellationToken: killed.Token));
        int kept = File.ReadAllLines(items).Length - 1;
        Assert.InRange(kept, 1, 11);
        File.AppendAllText(items, "{\"index\":11,\"val"); // as a process leaves it that ends while it writes
        List<EvaluationProgress> progress = [];
        EvaluationReport resumed = await Runner(Client(second), items).RunAsync(s_task, EvaluationData.Open(_directory.Path), new Direct(progress));
        Assert.Equal(12 - kept, second.Count);
        Assert.Equal(whole.ToJson(), resumed.ToJson());
        Assert.Equal(whole.ToJson(), EvaluationReport.Parse(resumed.ToJson()).ToJson());
        Assert.Equal(new EvaluationProgress(kept, 12), progress[0]);
        Assert.Equal(new EvaluationProgress(12, 12), progress[^1]);

        // Nothing is asked again, and another run's results are not taken.
        Assert.Equal(whole.ToJson(), (await Runner(Client(second), items).RunAsync(s_task, EvaluationData.Open(_directory.Path))).ToJson());
        Assert.Equal(12 - kept, second.Count);
        await Assert.ThrowsAsync<IOException>(() => Runner(Client([]), items).RunAsync(s_task with { MaxTokens = 7 }, EvaluationData.Open(_directory.Path)));
    }

    [Theory]
    [InlineData("my notes")]
    [InlineData("my notes\nand more")]
    [InlineData("{\"run\":\"0\"}\n")]
    public async Task AFileOfAnythingElseIsLeftAsItIs(string text)
    {
        Write(2);
        string items = _directory.File("items.jsonl");
        File.WriteAllText(items, text);
        Assert.Contains(items, (await Assert.ThrowsAsync<IOException>(() => Runner(Client([]), items).RunAsync(s_task, EvaluationData.Open(_directory.Path)))).Message, StringComparison.Ordinal);
        Assert.Equal(text, File.ReadAllText(items));
    }

    [Fact]
    public async Task ADamagedResultIsNamedAndAPartOfTheFirstLineIsNone()
    {
        Write(2);
        string items = _directory.File("items.jsonl");
        EvaluationReport whole = await Runner(Client([]), items).RunAsync(s_task, EvaluationData.Open(_directory.Path));
        string[] lines = File.ReadAllLines(items);
        File.WriteAllLines(items, [lines[0], lines[1], "{\"index\""]);
        Assert.Contains("Line 3", (await Assert.ThrowsAsync<IOException>(() => Runner(Client([]), items).RunAsync(s_task, EvaluationData.Open(_directory.Path)))).Message, StringComparison.Ordinal);
        Assert.Equal(3, File.ReadAllLines(items).Length);
        File.WriteAllText(items, lines[0][..10]);
        Assert.Equal(whole.ToJson(), (await Runner(Client([]), items).RunAsync(s_task, EvaluationData.Open(_directory.Path))).ToJson());
        Assert.Equal(lines.Length, File.ReadAllLines(items).Length);
    }

    [Fact]
    public async Task ResultsOfAnotherAdapterOfThatNameAreNotTaken()
    {
        Write(1);
        string items = _directory.File("items.jsonl");
        EvaluationReport first = await RunWith(1), again = await RunWith(1);
        Assert.Equal(first.ToJson(), again.ToJson());
        Assert.Equal(64, first.Model.AdapterSha256!.Length);
        await Assert.ThrowsAsync<IOException>(() => RunWith(2));

        async Task<EvaluationReport> RunWith(int seed)
        {
            using ModelFile file = ModelFile.Open(TinyModel.Path);
            using GemmaModel model = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Kernel = "reference", Threads = 1, Adapters = { ["lora"] = new RandomAdapter(file.Config, seed).WritePeft(_directory.File("adapter")) } });
            return await new EvaluationRunner(model, new EvaluationOptions { Adapter = "lora", ItemsPath = items }).RunAsync(s_task with { MaxTokens = 2 }, EvaluationData.Open(_directory.Path));
        }
    }

    [Fact]
    public async Task APatternThatTakesTooLongNamesItsRow()
    {
        Write(1);
        EvaluationTask task = s_task with { Extract = [new AnswerExtraction { Name = "slow", Pattern = "^(a+)+$" }], Stop = [] };
        ScriptedChatClient client = new(_ => [new string('a', 40) + "!"]);
        Assert.Contains("Row 0", (await Assert.ThrowsAsync<FormatException>(() => Runner(client, null).RunAsync(task, EvaluationData.Open(_directory.Path)))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task APerplexityThatIsNoNumberIsWrittenAndRead()
    {
        File.WriteAllLines(_directory.File("test.jsonl"), ["""{"text":"\n"}"""]);
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, s_exact);
        EvaluationReport report = await new EvaluationRunner(model).RunAsync(EvaluationTask.Find("perplexity"), EvaluationData.Open(_directory.Path));
        Assert.Equal(double.PositiveInfinity, EvaluationReport.Parse(report.ToJson()).Metrics.Single(metric => metric.Metric == "word_perplexity").Value);
    }

    [Fact]
    public async Task AnyClientAnswersWhatIsWrittenAndTellsNoLikelihoods()
    {
        Write(4);
        EvaluationReport report = await Runner(Client([]), null).RunAsync(s_task, EvaluationData.Open(_directory.Path));
        Assert.Equal(0.5, report.Metrics.Single(metric => metric.Metric == "exact_match").Value); // it answers every question with an even number rightly
        Assert.Equal(["even", "odd"], report.Groups.Select(group => group.Group));
        Assert.Equal([1, 0], report.Groups.Select(group => group.Metrics[0].Value));
        Assert.Equal(("scripted", null, "client"), (report.Model.Model, report.Model.Sha256, report.Model.ChatFormat));
        EvaluationTask likely = EvaluationTask.Parse("""{"name":"l","kind":"choices","prompt":"{{q}}","choices":"['a']","answer":"0","metrics":["acc"]}""");
        await Assert.ThrowsAsync<NotSupportedException>(() => Runner(Client([]), null).RunAsync(likely, EvaluationData.Open(_directory.Path)));
    }

    [Fact]
    public async Task AModelIsAskedAsAChatOrAsItStands()
    {
        File.WriteAllLines(_directory.File("test.jsonl"), ["""{"q":"Hello! Who are you?","a":"x"}"""]);
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        EvaluationTask task = EvaluationTask.Parse("""{"name":"t","kind":"generate","prompt":"{{q}}","answer":"a","maxTokens":30,"metrics":["exact_match"]}""");
        string chat = _directory.File("chat.items"), plain = _directory.File("plain.items");
        EvaluationReport asked = await new EvaluationRunner(model, new EvaluationOptions { AsChat = true, ItemsPath = chat }).RunAsync(task, EvaluationData.Open(_directory.File("test.jsonl")));
        await new EvaluationRunner(model, new EvaluationOptions { ItemsPath = plain }).RunAsync(task, EvaluationData.Open(_directory.File("test.jsonl")));
        Assert.Equal("gemma", asked.Model.ChatFormat);
        ChatOptions greedy = new() { Temperature = 0, MaxOutputTokens = 30 };
        Assert.Equal((await model.AsIChatClient().GetResponseAsync("Hello! Who are you?", greedy)).Text, Items(chat)[0].Text);
        Assert.Equal((await model.CompleteAsync("Hello! Who are you?", greedy)).Text, Items(plain)[0].Text);
    }

    /// <summary>Functions are offered and called: named with their arguments, as the Berkeley leaderboard writes what is right, or none where none fits.</summary>
    [Fact]
    public async Task CallsAreComparedAsValues()
    {
        const string Tools = """[{"type":"function","function":{"name":"getWeather","description":"Gets the weather in a city.","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}]""";
        File.WriteAllLines(_directory.File("test.jsonl"),
        [
            $$"""{"q":"What is the weather in Rome?","kind":"simple","tools":{{Tools}},"right":[{"name":"getWeather","arguments":{"city":"Rome"} }]}""",
            $$"""{"q":"What is the weather in Rome?","kind":"simple","tools":{{Tools}},"right":[{"getWeather":{"city":["Roma","Rome"],"unit":["","celsius"]} }]}""",
            $$"""{"q":"What is the weather in Rome?","kind":"simple","tools":{{Tools}},"right":[{"name":"getWeather","arguments":{"city":"Oslo"} }]}""",
            $$"""{"q":"Hello! Who are you?","kind":"irrelevance","tools":{{Tools}},"right":[]}""",
        ]);
        using GemmaModel model = GemmaModel.Load("nano", new GemmaOptions { Threads = 1 });
        EvaluationTask task = EvaluationTask.Parse("""{"name":"c","kind":"calls","prompt":"{{q}}","tools":"tools","answer":"right","groupBy":"kind","metrics":["calls","functions"]}""");
        string items = _directory.File("items.jsonl");
        EvaluationReport report = await new EvaluationRunner(model, new EvaluationOptions { AsChat = true, ItemsPath = items }).RunAsync(task, EvaluationData.Open(_directory.Path));
        Assert.Equal([1, 1, 0, 1], Items(items).OrderBy(item => item.Index).Select(item => item.Values["calls"]));
        Assert.Equal([1, 1, 1, 1], Items(items).Select(item => item.Values["functions"]));
        Assert.Equal(0.75, report.Metrics[0].Value);
        Assert.Equal("""getWeather({"city":"Rome"})""", Items(items).Single(item => item.Index == 0).Text);
        await Assert.ThrowsAsync<NotSupportedException>(() => new EvaluationRunner(model).RunAsync(task, EvaluationData.Open(_directory.Path)));
        await Assert.ThrowsAsync<FormatException>(() => new EvaluationRunner(model, new EvaluationOptions { AsChat = true, FewShot = 1 }).RunAsync(task, EvaluationData.Open(_directory.Path)));
        EvaluationReport other = await new EvaluationRunner(model.AsIChatClient()).RunAsync(task, EvaluationData.Open(_directory.Path));
        Assert.Equal(report.Metrics[0].Value, other.Metrics[0].Value);
    }

    [Theory]
    [InlineData("""{"q":"x","tools":[{"description":"no name"}],"right":[]}""", "expected a function")]
    [InlineData("""{"q":"x","tools":{},"right":[]}""", "expected a list")]
    [InlineData("""{"q":"x","tools":[],"right":[{"f":{"a":1}}]}""", "expected an object with 'name' and 'arguments'")]
    [InlineData("""{"q":"x","tools":[],"right":"f"}""", "expected a list")]
    public async Task RowsWithoutFunctionsOrCallsAreRefused(string row, string reason)
    {
        File.WriteAllLines(_directory.File("test.jsonl"), [row]);
        EvaluationTask task = EvaluationTask.Parse("""{"name":"c","kind":"calls","prompt":"{{q}}","tools":"tools","answer":"right","metrics":["calls"]}""");
        Assert.Contains(reason, (await Assert.ThrowsAsync<FormatException>(() => Runner(Client([]), null).RunAsync(task, EvaluationData.Open(_directory.Path)))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ResultsWithExamplesOfAnotherSeedAreNotTaken()
    {
        Write(2);
        File.WriteAllLines(_directory.File("train.jsonl"), Enumerable.Range(0, 40).Select(i => $$"""{"q":"t{{i}}","a":"x","s":"s"}"""));
        EvaluationTask task = s_task with { FewShot = 2, FewShotSplit = "train" };
        string items = _directory.File("items.jsonl");
        EvaluationReport report = await Run(7);
        Assert.Equal(7, report.FewShotSeed);
        Assert.Equal(report.ToJson(), (await Run(7)).ToJson());
        await Assert.ThrowsAsync<IOException>(() => Run(8));

        // Without examples the seed draws nothing, and it is the same run.
        (task, items) = (s_task, _directory.File("none.jsonl"));
        Assert.Equal((await Run(7)).ToJson(), (await Run(8)).ToJson());

        Task<EvaluationReport> Run(int seed) => new EvaluationRunner(Client([]), new EvaluationOptions { ItemsPath = items, FewShotSeed = seed, AtOnce = 1 }).RunAsync(task, EvaluationData.Open(_directory.Path));
    }

    [Fact]
    public async Task PromptsLongerThanTheContextLoseTheirBeginningAndAreCounted()
    {
        File.WriteAllLines(_directory.File("test.jsonl"), [$$"""{"q":"{{string.Join(' ', Enumerable.Repeat("far", 700))}}"}""", """{"q":"near"}"""]);
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, s_exact);
        EvaluationTask task = EvaluationTask.Parse("""{"name":"l","kind":"choices","prompt":"{{q}}","choices":"['a b c', 'd']","answer":"0","metrics":["acc"]}""");
        EvaluationReport report = await new EvaluationRunner(model).RunAsync(task, EvaluationData.Open(_directory.File("test.jsonl")));
        Assert.Equal(1, report.Truncated);
    }

    [Fact]
    public async Task ExamplesComeFromTheirSplitAndAreOfTheSameKind()
    {
        File.WriteAllLines(_directory.File("test.jsonl"), ["""{"q":"one","a":"1","s":"x"}"""]);
        File.WriteAllLines(_directory.File("dev.jsonl"), ["""{"q":"two","a":"2","s":"y"}""", """{"q":"one","a":"1","s":"x"}""", """{"q":"three","a":"3","s":"x"}"""]);
        EvaluationTask task = s_task with { FewShot = 1, FewShotSplit = "dev", FewShotSampling = FewShotSampling.First, FewShotMatch = "s", GroupBy = null };
        List<string> asked = [];
        await Runner(Client(asked), null).RunAsync(task, EvaluationData.Open(_directory.Path));
        Assert.Equal(["Q: three\nA: 3\n\nQ: one\nA:"], asked); // not the question itself
        FormatException few = await Assert.ThrowsAsync<FormatException>(() => Runner(Client(asked), null).RunAsync(task with { FewShot = 2 }, EvaluationData.Open(_directory.Path)));
        Assert.Contains("1 examples for a row, but 2", few.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ReportsStandSideBySide()
    {
        EvaluationReport a = Report("a", 0.5), b = Report("b", 0.25);
        string table = EvaluationReport.Table([a, b]);
        Assert.Equal("| task | shots | rows | metric | a | b |\n|---|---|---|---|---|---|\n| t | 0 | 10 | acc | 0.5000 ± 0.1000 | 0.2500 ± 0.1000 |\n", table);

        // Models of one name are told apart, never left out.
        EvaluationReport chat = a with { Model = a.Model with { ChatFormat = "gemma" } };
        Assert.StartsWith("| task | shots | rows | metric | a (chat format none) | a (chat format gemma) | b |\n", EvaluationReport.Table([a, chat, b]), StringComparison.Ordinal);

        // Nor are measurements with examples of other seeds taken for each other.
        string seeds = EvaluationReport.Table([a with { FewShot = 2, FewShotSeed = 7 }, a with { FewShot = 2, FewShotSeed = 8, Metrics = b.Metrics }]);
        Assert.EndsWith("| t | 2 (seed 7) | 10 | acc | 0.5000 ± 0.1000 |\n| t | 2 (seed 8) | 10 | acc | 0.2500 ± 0.1000 |\n", seeds, StringComparison.Ordinal);

        static EvaluationReport Report(string model, double value) => new()
        {
            Task = "t", Model = new EvaluatedModelFacts(model, null, "none", null), FewShot = 0, Rows = 10, Truncated = 0, Metrics = [new EvaluationMetricValue("acc", value, 0.1)], Groups = [],
        };
    }

    private static EvaluationRunner Runner(IChatClient client, string? items) => new(client, new EvaluationOptions { ItemsPath = items, AtOnce = 1 });

    private static EvaluationItem[] Items(string path) =>
        [.. File.ReadAllLines(path).Skip(1).Select(line => JsonSerializer.Deserialize<EvaluationItem>(line, JsonSerializerOptions.Web)!).OrderBy(item => item.Index)];

    private void Write(int rows) => File.WriteAllLines(_directory.File("test.jsonl"), Enumerable.Range(0, rows).Select(i => $$"""{"q":"{{i}}","a":"{{i}}","s":"{{(i % 2 == 0 ? "even" : "odd")}}"}"""));

    /// <summary>Says the number of an even question behind it, with a line that the stop sequence must cut off.</summary>
    private static ScriptedChatClient Client(List<string> asked, Func<bool>? when = null, CancellationTokenSource? kill = null) => new(messages =>
    {
        asked.Add(messages[^1].Text);
        if (when?.Invoke() == true)
        {
            kill!.Cancel();
        }

        string number = string.Concat(messages[^1].Text.Where(char.IsAsciiDigit));
        return [number.Length > 0 && int.Parse(number[^1..]) % 2 == 0 ? $" {number}\nmore" : " no\nmore"];
    });

    private sealed class Direct(List<EvaluationProgress> seen) : IProgress<EvaluationProgress>
    {
        public void Report(EvaluationProgress value) => seen.Add(value);
    }
}
