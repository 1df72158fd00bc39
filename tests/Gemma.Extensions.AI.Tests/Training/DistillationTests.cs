using System.Xml.Linq;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Microsoft.Extensions.AI;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

public sealed class DistillationTests
{
    /// <summary>The cache holds the teacher's own logits, best first, to float16.</summary>
    [Fact]
    public void CacheHoldsTheTeachersLogits()
    {
        using var directory = new TempDirectory();
        string path = directory.File("teacher.bin");
        TrainingModel teacher = GradientTests.SmallModel(5, 8);
        IReadOnlyList<TrainingDocument> documents = GradientTests.SmallBatch(teacher.Config, teacher: false).Documents;
        Distillation.WriteCache(path, teacher, documents, 4, 32, 32);
        List<TrainingDocument> taught = Distillation.ReadCache(path, documents);
        var backprop = new GemmaBackprop(teacher, 32, 32);
        foreach (TrainingDocument document in taught)
        {
            var batch = new PackedBatch([document]);
            float[] logits = backprop.Logits(batch);
            for (int i = 0; i < batch.TargetRows.Length; i++)
            {
                float[] row = logits[(batch.TargetRows[i] * 37)..((batch.TargetRows[i] + 1) * 37)];
                int[] best = [.. Enumerable.Range(0, 37).OrderByDescending(v => row[v]).Take(4)];
                Assert.Equal(best, document.Teacher!.Ids![(i * 4)..(i * 4 + 4)]);
                Assert.Equal(row[best[0]], document.Teacher.Logits[i * 4], 0.01f);
            }
        }

        Assert.Throws<GemmaModelFormatException>(() => Distillation.ReadCache(path, [documents[0]]));
        Assert.Throws<GemmaModelFormatException>(() => Distillation.ReadCache(path, [documents[1], documents[0], documents[2]]));
    }

    /// <summary>A student of the teacher's own shape and weights has nothing to learn: KL and gradient vanish.</summary>
    [Fact]
    public void TheTeacherIsItsOwnBestStudent()
    {
        TrainingModel teacher = GradientTests.SmallModel(5, 8);
        PackedBatch batch = GradientTests.SmallBatch(teacher.Config, teacher: false);
        var backprop = new GemmaBackprop(teacher, 64, 32);
        TeacherTargets all = backprop.TopLogits(batch, teacher.Config.VocabularySize);
        var gradient = new FloatBuffer(teacher.Weights.Length);
        LossSums sums = backprop.Accumulate(new PackedBatch(batch.Documents) { Teacher = all }, new LossOptions(1, 2), 1f, gradient);
        Assert.InRange(sums.Loss / sums.Targets, -1e-5, 1e-5);
        Assert.All(gradient.Span.ToArray(), g => Assert.InRange(g, -1e-3f, 1e-3f));
    }

    [Fact]
    public void StudentComesCloserToItsTeacher()
    {
        TrainingModel teacher = GradientTests.SmallModel(5, 8);
        IReadOnlyList<TrainingDocument> plain = GradientTests.SmallBatch(teacher.Config, teacher: false).Documents;
        var worker = new GemmaBackprop(teacher, 64, 32);
        List<TrainingDocument> documents = [.. plain.Select(d => d with { Teacher = worker.TopLogits(new PackedBatch([d]), 37) })];
        var student = new TrainingModel(teacher.Config);
        student.Initialize(99);
        var losses = new List<double>();
        new Trainer(student, new DocumentSet(documents, 1), new TrainingOptions
        {
            Steps = 60, MicroBatchTokens = 64, MicroBatches = 2, MaxLength = 32, LearningRate = 1e-2f, WarmupSteps = 5, Loss = new LossOptions(1, 1),
        }).Run(60, p => losses.Add(p.Loss));
        Assert.True(losses[^1] < 0.2 * losses[0], $"KL {losses[0]:F3} at the start, {losses[^1]:F3} at the end");
    }

    [Fact]
    public void ModelsTurnsOfAConversationAreTrained()
    {
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
        TrainingDocument document = TrainingData.Conversation(
            tokenizer, [new(ChatRole.User, "model hi"), new(ChatRole.Assistant, "one"), new(ChatRole.User, "x"), new(ChatRole.Assistant, "two")], modelTurnsOnly: true);
        int[] trained = [.. document.Tokens.Where((_, i) => document.Trained![i])];
        int[] expected = [.. ChatTemplate.RenderReply(tokenizer, new(ChatRole.Assistant, "one")), .. ChatTemplate.RenderReply(tokenizer, new(ChatRole.Assistant, "two"))];
        Assert.Equal(expected, trained);
    }

    [Fact]
    public void BadConversationNamesItsLine()
    {
        using var directory = new TempDirectory();
        string path = directory.File("chat.jsonl");
        File.WriteAllText(path, "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}\n{\"turns\":[]}\n");
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
        FormatException refused = Assert.Throws<FormatException>(() => TrainingData.Read([path], tokenizer, 64, true, out _));
        Assert.Contains("line 2", refused.Message, StringComparison.Ordinal);
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
