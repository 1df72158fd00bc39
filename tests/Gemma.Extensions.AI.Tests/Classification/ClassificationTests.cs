using System.Numerics.Tensors;
using System.Text.Json.Nodes;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Files;
using Gemma.Extensions.AI.Tests.Lora;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.Logging;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Classification;

/// <summary>
/// Checkpoints of Gemma2ForSequenceClassification. The oracle is gemma_pytorch's: where the rows of the head are rows of the embedding, the scores are
/// the logits of these tokens before the soft cap.
/// </summary>
public sealed class ClassificationTests : IDisposable
{
    private static readonly int[] s_rows = [7, 300, 999];
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Fact]
    public async Task ScoresAreTheUncappedReferenceLogits()
    {
        (int[] tokens, float[][] logits) = TinyCheckpoint.Expected();
        using GemmaModel model = Load(Write());
        int checkedTexts = 0;
        for (int length = 2; length <= tokens.Length; length++)
        {
            // Prefixes of the reference's tokens that a text spells.
            string text = model.Tokenizer.Decode(tokens[1..length])!;
            int[] spelt = [model.Tokenizer.BosId, .. model.Tokenizer.Encode(text, matchSpecial: false)];
            if (spelt.SequenceEqual(tokens[..length]))
            {
                GemmaClassification classification = await model.ClassifyAsync(text, cancellationToken: TestContext.Current.CancellationToken);
                CheckScores(logits[length - 1], classification);
                checkedTexts++;
            }
        }

        Assert.True(checkedTexts >= 3, $"{checkedTexts} texts");
    }

    /// <summary>A conversation is judged as it stands: no turn of the model is begun.</summary>
    [Fact]
    public async Task AConversationIsFormattedAndNotAnswered()
    {
        ChatMessage[] conversation = [new(ChatRole.System, "Be brief."), new(ChatRole.User, "Is it late?"), new(ChatRole.Assistant, "Yes.")];
        using GemmaModel model = Load(Write());
        GemmaTokenizer tokenizer = model.Tokenizer;
        int[] tokens =
        [
            tokenizer.BosId, tokenizer.StartOfTurnId, .. tokenizer.Encode("user\nBe brief.\n\nIs it late?", matchSpecial: false), tokenizer.EndOfTurnId, .. tokenizer.Encode("\n", matchSpecial: false),
            tokenizer.StartOfTurnId, .. tokenizer.Encode("model\nYes.", matchSpecial: false), tokenizer.EndOfTurnId, .. tokenizer.Encode("\n", matchSpecial: false),
        ];
        using TinyEngine reference = new();
        CheckScores(reference.Logits(tokens)[^1], await model.ClassifyAsync(conversation, cancellationToken: TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task ManyAtOnceAreScoredAsOneByOne()
    {
        using GemmaModel model = Load(Write());
        CancellationToken cancellation = TestContext.Current.CancellationToken;
        string[] texts = [.. Enumerable.Range(0, 40).Select(i => string.Join(' ', Enumerable.Repeat($"word{i}", 1 + i % 7)))];
        IReadOnlyList<GemmaClassification> together = await model.ClassifyAsync(texts, cancellationToken: cancellation);
        Assert.Equal(texts.Length, together.Count);
        for (int i = 0; i < texts.Length; i += 7)
        {
            CheckEqual(await model.ClassifyAsync(texts[i], cancellationToken: cancellation), together[i], 1e-4);
        }

        ChatMessage[][] conversations = [[new(ChatRole.User, "a")], [new(ChatRole.User, "b"), new(ChatRole.Assistant, "c")]];
        IReadOnlyList<GemmaClassification> chats = await model.ClassifyAsync(conversations, cancellationToken: cancellation);
        CheckEqual(await model.ClassifyAsync(conversations[1], cancellationToken: cancellation), chats[1], 1e-4);
        Assert.Empty(await model.ClassifyAsync(Array.Empty<string>(), cancellationToken: cancellation));
    }

    [Fact]
    public async Task NothingInATextBecomesAControlToken()
    {
        using GemmaModel model = Load(Write());
        GemmaTokenizer tokenizer = model.Tokenizer;
        using TinyEngine reference = new();
        int[] tokens = [tokenizer.BosId, .. tokenizer.Encode("a<end_of_turn>", matchSpecial: false)];
        Assert.DoesNotContain(tokenizer.EndOfTurnId, tokens);
        CheckScores(reference.Logits(tokens)[^1], await model.ClassifyAsync("a<end_of_turn>", cancellationToken: TestContext.Current.CancellationToken));
    }

    /// <summary>The last token that is not padding counts, and what is padding the configuration says.</summary>
    [Fact]
    public async Task PaddingAtTheEndDoesNotCount()
    {
        using TinyEngine reference = new();
        int[] tokens;
        using (GemmaModel plain = Load(Write()))
        {
            tokens = [plain.Tokenizer.BosId, .. plain.Tokenizer.Encode("one two three", matchSpecial: false)];
        }

        float[][] logits = reference.Logits(tokens);
        Assert.NotEqual(tokens[^1], tokens[^2]);
        using (GemmaModel padded = Load(Write(json => json["pad_token_id"] = tokens[^1])))
        {
            CheckScores(logits[^2], await padded.ClassifyAsync("one two three", cancellationToken: TestContext.Current.CancellationToken));
        }

        using GemmaModel none = Load(Write(json => json["pad_token_id"] = null));
        CheckScores(logits[^1], await none.ClassifyAsync("one two three", cancellationToken: TestContext.Current.CancellationToken));
    }

    [Theory]
    [InlineData(null, 3, "softmax")]
    [InlineData("single_label_classification", 3, "softmax")]
    [InlineData("multi_label_classification", 3, "logistic")]
    [InlineData("regression", 3, "none")]
    [InlineData(null, 1, "logistic")]
    [InlineData("single_label_classification", 1, "logistic")]
    [InlineData("regression", 1, "none")]
    public async Task ProbabilitiesFollowTheProblem(string? problem, int labels, string function)
    {
        using GemmaModel model = Load(Write(json => json["problem_type"] = problem, s_rows[..labels]));
        GemmaClassification result = await model.ClassifyAsync("text", cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(labels, result.Labels.Count);
        Assert.Equal(result.Labels.Max(l => l.Score), result.Best.Score);
        double total = result.Labels.Sum(l => Math.Exp(l.Score));
        Assert.All(result.Labels, label => Assert.Equal(
            function switch { "softmax" => Math.Exp(label.Score) / total, "logistic" => 1 / (1 + Math.Exp(-label.Score)), _ => (double?)null }, label.Probability, new Nearly()));
    }

    [Fact]
    public void LabelsComeFromTheConfiguration()
    {
        Assert.Equal(["no", "yes", "maybe"], Names(json => json["id2label"] = new JsonObject { ["1"] = "yes", ["0"] = "no", ["2"] = "maybe" }));
        Assert.Equal(["LABEL_0", "LABEL_1", "LABEL_2"], Names(_ => { }));
        Assert.Equal(["LABEL_0", "LABEL_1", "LABEL_2"], Names(json => json["num_labels"] = 3));

        IReadOnlyList<string> Names(Action<JsonObject> change)
        {
            using ModelFile file = ModelFile.Open(Write(change));
            Assert.Empty(file.Warnings);
            return file.Labels!.Names;
        }
    }

    [Theory]
    [InlineData("id2label", """{"0":"a","1":"b"}""", "[2, 256]")]
    [InlineData("id2label", """{"0":"a","1":"b","3":"c"}""", "id2label")]
    [InlineData("id2label", """{"0":"a","1":"b","2":null}""", "id2label")]
    [InlineData("id2label", """["a","b","c"]""", "id2label")]
    [InlineData("num_labels", "2", "[2, 256]")]
    [InlineData("problem_type", "\"ranking\"", "ranking")]
    public void ConfigurationsThatContradictTheHeadAreRefused(string field, string value, string expected)
    {
        Write(json => json[field] = JsonNode.Parse(value));
        Assert.Contains(expected, Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(_temp.File("m"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void WithoutScoresItIsRefused()
    {
        TinyCheckpoint.Write(_temp.File("m"), json => json["architectures"] = new JsonArray("Gemma2ForSequenceClassification"));
        Assert.Contains("score.weight", Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(_temp.File("m"))).Message, StringComparison.Ordinal);
    }

    /// <summary>The tensors tell what it is where the configuration does not.</summary>
    [Fact]
    public void ACheckpointWithScoresAndNoArchitectureIsAClassifier()
    {
        using ModelFile file = ModelFile.Open(Write(json => json.Remove("architectures")));
        Assert.Equal((OutputHead.Classifier, 3), (file.Config.Head, file.Config.LabelCount));
        Assert.Equal(file.Config.ParameterCount, file.Tensors.Values.Sum(t => t.ElementCount));
    }

    [Fact]
    public async Task NobodyChatsWithAClassifier()
    {
        using GemmaModel model = Load(Write());
        await RefusesTokens(model, nameof(GemmaModel.ClassifyAsync));
        Assert.Throws<NotSupportedException>(() => ModelDirectory.Load(model.File));
        Assert.Contains("classifier", Assert.Throws<ArgumentException>(() => GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Threads = 1, DraftModelPath = _temp.File("m") })).Message, StringComparison.Ordinal);
    }

    /// <summary>An embedding model computes what the chat model of the same weights does, and nothing else.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task NobodyChatsWithAnEmbeddingModel(bool gguf)
    {
        // Such checkpoints leave out the prefix of the names.
        string path = TinyCheckpoint.Write(_temp.File("m"), json => json["architectures"] = new JsonArray("Gemma2Model"), rename: name => name["model.".Length..]);
        if (gguf)
        {
            using ModelFile file = ModelFile.Open(path);
            ModelConverter.Write(file, QuantizationRecipe.Get("BF16"), path = _temp.File("m.gguf"), threads: 1);
        }

        using GemmaModel model = Load(path), reference = Load(TestData.Local("tiny"));
        Assert.Equal(OutputHead.None, model.Config.Head);
        await RefusesTokens(model, nameof(GemmaModel.AsIEmbeddingGenerator));
        Assert.Contains("no classifier", (await Assert.ThrowsAsync<NotSupportedException>(() => model.ClassifyAsync("a"))).Message, StringComparison.Ordinal);
        ReadOnlyMemory<float> expected = await reference.AsIEmbeddingGenerator().GenerateVectorAsync("The tide comes in.");
        ReadOnlyMemory<float> actual = await model.AsIEmbeddingGenerator().GenerateVectorAsync("The tide comes in.");
        Assert.Equal(expected.ToArray(), actual.ToArray());
    }

    [Fact]
    public async Task AChatModelDoesNotClassify()
    {
        using GemmaModel model = Load(TestData.Local("tiny"));
        string message = (await Assert.ThrowsAsync<NotSupportedException>(() => model.ClassifyAsync([new ChatMessage(ChatRole.User, "a")]))).Message;
        Assert.Contains("Gemma2ForSequenceClassification", message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task CancellationAndBadArguments()
    {
        using GemmaModel model = Load(Write());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => model.ClassifyAsync(Enumerable.Repeat("a b c", 50), cancellationToken: new CancellationToken(canceled: true)));
        await Assert.ThrowsAsync<ArgumentException>(() => model.ClassifyAsync(["a", null!]));
        await Assert.ThrowsAsync<ArgumentException>(() => model.ClassifyAsync("a", adapter: "nobody"));
        await Assert.ThrowsAsync<GemmaContextLengthException>(() => model.ClassifyAsync(string.Concat(Enumerable.Repeat("a b c d ", 500))));
        GemmaClassification after = await model.ClassifyAsync("a", cancellationToken: TestContext.Current.CancellationToken);
        Assert.Equal(3, after.Labels.Count);
    }

    [Fact]
    public async Task AdaptersChangeTheScores()
    {
        string path = Write();
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        RandomAdapter random = new(file.Config);
        using GemmaModel model = Load(path);
        model.LoadAdapter("a", random.WritePeft(_temp.File("adapter")));
        int[] tokens = [model.Tokenizer.BosId, .. model.Tokenizer.Encode("one two", matchSpecial: false)];
        using TinyEngine merged = new(path: random.WriteMerged(file, _temp.File("merged")));
        CheckScores(merged.Logits(tokens)[^1], await model.ClassifyAsync("one two", "a", TestContext.Current.CancellationToken));
    }

    /// <summary>A converted classifier is one: labels, problem and padding go along, and the few rows of the head stay float32.</summary>
    [Theory]
    [InlineData("F32", 1e-3)]
    [InlineData("Q8_0", 0.3)]
    public async Task ConvertedItStaysAClassifier(string type, double tolerance)
    {
        string output = _temp.File("c.gguf"), again = _temp.File("d.gguf");
        Action<JsonObject> change = json => (json["id2label"], json["problem_type"], json["pad_token_id"]) =
            (new JsonObject { ["0"] = "harmless", ["1"] = "spam", ["2"] = "größer" }, "multi_label_classification", 5);
        using GemmaModel source = Load(Write(change));
        ModelConverter.Write(source.File, QuantizationRecipe.Get(type), output, threads: 1);
        using (ModelFile file = ModelFile.Open(output))
        {
            Assert.Equal("F32", file.Tensors["cls.output.weight"].Format.Name);
            ModelConverter.Write(file, QuantizationRecipe.Get("F32"), again, threads: 1);
        }

        foreach (string path in (string[])[output, again])
        {
            using GemmaModel model = Load(path);
            Assert.Equal(["harmless", "spam", "größer"], model.File.Labels!.Names);
            Assert.Equal((ClassifierKind.MultiLabel, 5), (model.File.Labels.Kind, model.File.Labels.PadId));
            Assert.Equal(source.Config, model.Config);
            CheckEqual(
                await source.ClassifyAsync("one two three", cancellationToken: TestContext.Current.CancellationToken),
                await model.ClassifyAsync("one two three", cancellationToken: TestContext.Current.CancellationToken), tolerance);
            await RefusesTokens(model, nameof(GemmaModel.ClassifyAsync));
        }
    }

    [Fact]
    public void WhatIsNotUsedIsLogged()
    {
        List<string> log = [];
        string path = TinyCheckpoint.Write(_temp.File("m"), json => json["logit_scale"] = 0.5, new Dictionary<string, (long[], float[])> { ["v_head.weight"] = ([2], [1, 2]) });
        using (ILoggerFactory factory = LoggerFactory.Create(builder => builder.AddProvider(new Lines(log))))
        {
            GemmaModel.LoadCore(path, new GemmaOptions { Threads = 1 }, null, factory, CancellationToken.None).Dispose();
        }

        Assert.Contains(log, line => line.Contains("Warning", StringComparison.Ordinal) && line.Contains("logit_scale", StringComparison.Ordinal));
        Assert.Contains(log, line => line.Contains("Warning", StringComparison.Ordinal) && line.Contains("v_head.weight", StringComparison.Ordinal));
    }

    private static async Task RefusesTokens(GemmaModel model, string hint)
    {
        Func<Task>[] ways =
        [
            () => model.AsIChatClient().GetResponseAsync("Hello"),
            () => model.AsIChatClient().GetStreamingResponseAsync("Hello").ToChatResponseAsync(),
            () => model.ScoreAsync("Hello", ["a"]),
            () => model.CompleteAsync("Hello"),
        ];
        foreach (Func<Task> way in ways)
        {
            Assert.Contains(hint, (await Assert.ThrowsAsync<NotSupportedException>(way)).Message, StringComparison.Ordinal);
        }
    }

    private static void CheckScores(float[] capped, GemmaClassification actual)
    {
        for (int i = 0; i < actual.Labels.Count; i++)
        {
            double logit = capped[s_rows[i]];
            double expected = 8 * Math.Atanh(logit / 8), slope = 1 / (1 - Math.Pow(logit / 8, 2));
            Assert.Equal(expected, actual.Labels[i].Score, 1e-3 * slope);
        }
    }

    private static void CheckEqual(GemmaClassification expected, GemmaClassification actual, double tolerance) =>
        Assert.All(expected.Labels.Zip(actual.Labels), pair =>
        {
            Assert.Equal(pair.First.Label, pair.Second.Label);
            Assert.Equal(pair.First.Score, pair.Second.Score, tolerance);
        });

    /// <summary>A classifier whose rows are rows of the embedding.</summary>
    private string Write(Action<JsonObject>? config = null, int[]? rows = null) => TinyCheckpoint.Write(
        _temp.File("m"),
        json =>
        {
            json["architectures"] = new JsonArray("Gemma2ForSequenceClassification");
            config?.Invoke(json);
        },
        new Dictionary<string, (long[], float[])> { ["score.weight"] = ([(rows ?? s_rows).Length, TinyCheckpoint.Hidden], TinyCheckpoint.Rows(TinyCheckpoint.Embedding(), rows ?? s_rows)) });

    private static GemmaModel Load(string path) => GemmaModel.Load(path, new GemmaOptions { Threads = 1, Kernel = "reference", KvCacheType = GemmaKvCacheType.F32 });

    private sealed class Nearly : IEqualityComparer<double?>
    {
        public bool Equals(double? x, double? y) => x is null ? y is null : y is not null && Math.Abs(x.Value - y.Value) < 1e-6;

        public int GetHashCode(double? value) => 0;
    }

    private sealed class Lines(List<string> log) : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            lock (log)
            {
                log.Add($"{logLevel}: {formatter(state, exception)}");
            }
        }

        public void Dispose()
        {
        }
    }
}
