using System.Xml.Linq;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

public sealed class DistillationTests
{
    /// <summary>The cache holds the teacher's own logits, best first, to float16, at the targets and nowhere else.</summary>
    [Theory]
    [InlineData(4)]
    [InlineData(1024)]
    public async Task CacheHoldsTheTeachersLogits(int k)
    {
        using TempDirectory directory = new();
        using TinyEngine teacher = new();
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        TrainingDocument[] documents = Documents();
        byte[] key = TeacherCache.KeyOf(file, documents);
        string path = directory.File("teacher.bin");
        List<int> progress = new();
        await TeacherCache.WriteAsync(path, teacher.Engine, 1024, key, documents, k, new SynchronousProgress<int>(progress.Add), TestContext.Current.CancellationToken);
        Assert.Equal([1, 2, 3], progress);
        Assert.Equal(TeacherCache.Bytes(documents.Sum(d => d.TargetCount), k, 1024), new FileInfo(path).Length);
        using TeacherCache cache = TeacherCache.Open(path, 1024, key, documents, k);
        foreach (TrainingDocument document in cache.Teach(documents))
        {
            TeacherTargets targets = document.Teacher!(0, document.TargetCount);
            float[][] logits = teacher.Logits(document.Tokens);
            int[] rows = [.. Enumerable.Range(0, document.Tokens.Length - 1).Where(i => document.IsTarget(i + 1))];
            Assert.Equal(rows.Length * k, targets.Logits.Length);
            for (int i = 0; i < rows.Length; i++)
            {
                int[] ids = k == 1024 ? [.. Enumerable.Range(0, 1024)] : [.. Enumerable.Range(0, 1024).OrderByDescending(v => logits[rows[i]][v]).Take(k)];
                Assert.Equal(ids, targets.Ids?[(i * k)..(i * k + k)] ?? ids);
                Assert.Equal(targets.Logits[(i * k)..((i + 1) * k)], document.Teacher!(i, 1).Logits);
                Assert.All(ids.Select((id, j) => Math.Abs(logits[rows[i]][id] - targets.Logits[i * k + j])), d => Assert.InRange(d, 0, 0.01f));
            }
        }
    }

    /// <summary>A pass that was killed goes on after the last whole document; what it left of another job is thrown away.</summary>
    [Fact]
    public async Task InterruptedCacheIsContinued()
    {
        using TempDirectory directory = new();
        using TinyEngine teacher = new();
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        TrainingDocument[] documents = Documents();
        byte[] key = TeacherCache.KeyOf(file, documents);
        string whole = directory.File("whole.bin"), path = directory.File("teacher.bin");
        await TeacherCache.WriteAsync(whole, teacher.Engine, 1024, key, documents, 4, null, TestContext.Current.CancellationToken);
        byte[] bytes = File.ReadAllBytes(whole);
        foreach ((int length, int left) in new[] { (bytes.Length - 5, 1), (43, 3), (3, 3) })
        {
            File.WriteAllBytes(path + ".part", bytes[..length]);
            List<int> progress = new();
            await TeacherCache.WriteAsync(path, teacher.Engine, 1024, key, documents, 4, new SynchronousProgress<int>(progress.Add), TestContext.Current.CancellationToken);
            Assert.Equal(left, progress.Count);
            Assert.Equal(bytes, File.ReadAllBytes(path));
        }

        bytes[10] ^= 1;
        File.WriteAllBytes(path + ".part", bytes);
        await TeacherCache.WriteAsync(path, teacher.Engine, 1024, key, documents, 4, null, TestContext.Current.CancellationToken);
        Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(path));
    }

    [Fact]
    public async Task CacheOfOtherDocumentsIsRefused()
    {
        using TempDirectory directory = new();
        using TinyEngine teacher = new();
        using ModelFile file = ModelFile.Open(TestData.Local("tiny")), other = ModelFile.Open(TestData.Local("gguf/tiny-Q4_K_M.gguf"));
        TrainingDocument[] documents = Documents();
        byte[] key = TeacherCache.KeyOf(file, documents);
        string path = directory.File("teacher.bin");
        await TeacherCache.WriteAsync(path, teacher.Engine, 1024, key, documents, 4, null, TestContext.Current.CancellationToken);
        Refused(TeacherCache.KeyOf(file, [documents[1], documents[0], documents[2]]), 4);
        Refused(TeacherCache.KeyOf(other, documents), 4);
        Refused(key, 5);
        File.WriteAllBytes(path, File.ReadAllBytes(path)[..^1]);
        Refused(key, 4);
        File.WriteAllText(path, "text");
        Refused(key, 4);

        void Refused(byte[] asked, int k) =>
            Assert.Contains(path, Assert.Throws<GemmaModelFormatException>(() => TeacherCache.Open(path, 1024, asked, documents, k)).Message, StringComparison.Ordinal);
    }

    /// <summary>A cache that ends early fails every worker alike: the run says so in the cache's own words.</summary>
    [Fact]
    public void TeacherThatCannotBeReadStopsTheRun()
    {
        TrainingModel model = GradientTests.SmallModel(5, 8);
        TrainingDocument[] documents = [.. GradientTests.SmallBatch(model.Config, teacher: false).Documents.Select(document => document with { Teacher = (_, _) => throw new GemmaModelFormatException("ends early") })];
        Trainer trainer = new(model, new DocumentSet(documents, 1), new GemmaTrainingOptions(steps: 1) { MicroBatchTokens = 32, MicroBatches = 4, MaxLength = 32, Threads = 2, Loss = new LossOptions(1, 1) });
        Assert.Equal("ends early", Assert.Throws<GemmaModelFormatException>(() => trainer.Run(1)).Message);
    }

    /// <summary>A student of the teacher's own shape and weights has nothing to learn: KL and gradient vanish.</summary>
    [Fact]
    public void TheTeacherIsItsOwnBestStudent()
    {
        TrainingModel teacher = GradientTests.SmallModel(5, 8);
        PackedBatch batch = new(Taught(teacher));
        FloatBuffer gradient = new(teacher.Weights.Length);
        LossSums sums = new GemmaBackprop(teacher, 64, 32).Accumulate(batch, new LossOptions(1, 2), 1f, gradient);
        Assert.InRange(sums.Loss / sums.Targets, -1e-5, 1e-5);
        Assert.All(gradient.Span.ToArray(), g => Assert.InRange(g, -1e-3f, 1e-3f));
    }

    [Fact]
    public void StudentComesCloserToItsTeacher()
    {
        TrainingModel teacher = GradientTests.SmallModel(5, 8);
        TrainingModel student = new(teacher.Config);
        student.Initialize(99);
        List<double> losses = new();
        new Trainer(student, new DocumentSet(Taught(teacher), 1), new GemmaTrainingOptions(steps: 60)
        {
            MicroBatchTokens = 64, MicroBatches = 2, MaxLength = 32, LearningRate = 1e-2f, WarmupSteps = 5, Loss = new LossOptions(1, 1),
        }).Run(60, new SynchronousProgress<GemmaTrainingProgress>(p => losses.Add(p.Loss)));
        Assert.True(losses[^1] < 0.2 * losses[0], $"KL {losses[0]:F3} at the start, {losses[^1]:F3} at the end");
    }

    /// <summary>Rows of a batch that begin and end within documents, as a head with a large vocabulary takes them; documents without a target lie between.</summary>
    [Theory]
    [InlineData(0, 9)]
    [InlineData(1, 1)]
    [InlineData(2, 3)]
    [InlineData(3, 5)]
    public void TargetsOfABatchAreThoseOfItsDocuments(int first, int count)
    {
        bool[] none = new bool[4];
        TrainingDocument[] documents = [.. new[] { null, none, none, null, none, null }.Select((trained, d) => new TrainingDocument([1, 2, 3, 4], trained)
        {
            Teacher = (from, rows) => new TeacherTargets(2, [.. Enumerable.Range(from, rows).SelectMany(i => new[] { i, d })], [.. Enumerable.Range(from, rows).SelectMany(i => new[] { 10f * d + i, 0 })]),
        })];
        PackedBatch batch = new(documents);
        (int Row, int Document)[] all = [.. new[] { 0, 3, 5 }.SelectMany(d => Enumerable.Range(0, 3).Select(i => (i, d)))];
        TeacherTargets targets = batch.TeacherAt(first, count)!;
        Assert.Equal(all.Skip(first).Take(count).SelectMany(row => new[] { row.Row, row.Document }), targets.Ids!);
        Assert.Equal(all.Skip(first).Take(count).SelectMany(row => new[] { 10f * row.Document + row.Row, 0 }), targets.Logits);
        Assert.Null(new PackedBatch([.. documents, new TrainingDocument([1, 2])]).TeacherAt(first, count));
    }

    private static TrainingDocument[] Documents() =>
    [
        new(TinyEngine.Prompt(1, 12), [.. Enumerable.Range(0, 12).Select(i => i is 4 or 5 or 11)]), new(TinyEngine.Prompt(2, 7)), new(TinyEngine.Prompt(3, 40), [.. Enumerable.Range(0, 40).Select(i => i >= 20)]),
    ];

    /// <summary>The small batch with all logits of a model.</summary>
    private static List<TrainingDocument> Taught(TrainingModel teacher)
    {
        GemmaBackprop worker = new(teacher, 64, 32);
        return [.. GradientTests.SmallBatch(teacher.Config, teacher: false).Documents.Select(document =>
        {
            PackedBatch batch = new([document]);
            float[] logits = worker.Logits(batch);
            return document with { Teacher = (first, count) => new TeacherTargets(37, null, [.. batch.TargetRows.Skip(first).Take(count).SelectMany(row => logits[(row * 37)..((row + 1) * 37)])]) };
        })];
    }

    [Fact]
    public void ModelsTurnsOfAConversationAreTrained()
    {
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
        TrainingDocument document = TrainingData.Conversation(
            TurnFormat.Gemma(tokenizer), [new(ChatRole.User, "model hi"), new(ChatRole.Assistant, "one"), new(ChatRole.User, "x"), new(ChatRole.Assistant, "two")], modelTurnsOnly: true);
        int[] trained = [.. document.Tokens.Where((_, i) => document.Trained![i])];
        int[] expected = [.. tokenizer.Encode("one", matchSpecial: false), tokenizer.EndOfTurnId, .. tokenizer.Encode("two", matchSpecial: false), tokenizer.EndOfTurnId];
        Assert.Equal(expected, trained);
    }

    [Theory]
    [InlineData("""{"turns":[]}""", "expected")]
    [InlineData("""[1]""", "expected")]
    [InlineData("""{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":null}]}""", "null as its content")]
    [InlineData("""{"messages":[{"role":"user","content":"a"},{"role":"model","content":"b"}]}""", "role 'model'")]
    [InlineData("""{"messages":[{"role":"user","content":"a"}]}""", "ends with a message of the assistant")]
    [InlineData("""{"messages":[]}""", "ends with a message of the assistant")]
    public void BadConversationNamesItsLine(string line, string says)
    {
        using TempDirectory directory = new();
        string path = directory.File("chat.jsonl");
        File.WriteAllText(path, $"{{\"messages\":[{{\"role\":\"user\",\"content\":\"a\"}},{{\"role\":\"assistant\",\"content\":\"b\"}}]}}\n{line}\n");
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
        FormatException refused = Assert.Throws<FormatException>(() => TrainingData.Read([path], TurnFormat.Gemma(tokenizer), 64, true, out _));
        Assert.StartsWith($"'{path}', line 2: ", refused.Message, StringComparison.Ordinal);
        Assert.Contains(says, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("Parameter", refused.Message, StringComparison.Ordinal);
    }

    /// <summary>Text in another encoding would be learnt as replacement characters.</summary>
    [Theory]
    [InlineData("data.txt")]
    [InlineData("data.jsonl")]
    public void OnlyUtf8IsRead(string name)
    {
        using TempDirectory directory = new();
        string path = directory.File(name);
        File.WriteAllBytes(path, [.. System.Text.Encoding.Latin1.GetBytes("Un café, s'il vous plaît.\n")]);
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
        string message = Assert.Throws<FormatException>(() => TrainingData.Read([path], TurnFormat.Gemma(tokenizer), 64, false, out _)).Message;
        Assert.StartsWith($"'{path}' is not text in UTF-8: it has the bytes E9", message, StringComparison.Ordinal);
        Assert.Contains("is a directory", Assert.Throws<FormatException>(() => TrainingData.Read([directory.Path], TurnFormat.Gemma(tokenizer), 64, false, out _)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void CurveIsDrawnInsideItsFrame()
    {
        XElement svg = XElement.Parse(LossCurve.Draw("a < b", "step", "loss", [("one", [(0, 3.5), (10, 1.25)]), ("two", [(5, 2)])]));
        XElement[] lines = [.. svg.Elements().Where(e => e.Name.LocalName == "polyline")];
        Assert.Equal(2, lines.Length);
        Assert.Equal("60.0,40.0 700.0,360.0", lines[0].Attribute("points")!.Value);
    }
}
