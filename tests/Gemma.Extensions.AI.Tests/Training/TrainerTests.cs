using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

public sealed class TrainerTests
{
    private static readonly GemmaTrainingOptions s_options = new(steps: 12)
    {
        MicroBatchTokens = 48, MicroBatches = 3, MaxLength = 32, LearningRate = 1e-2f, WarmupSteps = 3, Threads = 2, CheckpointEvery = 5,
    };

    /// <summary>A run that is killed after its checkpoint and continued in a new process gives the same losses, to the last bit.</summary>
    [Fact]
    public void ResumedRunHasTheSameLosses()
    {
        using TempDirectory directory = new();
        AssertResumesWithTheSameLosses(() => Create(s_options, out _), directory.File("checkpoint.bin"));
    }

    /// <summary>A run may go on with other settings and other documents, fewer than were taken before included; what changed is said.</summary>
    [Fact]
    public void ResumptionSaysWhatChanged()
    {
        using TempDirectory directory = new();
        string checkpoint = directory.File("checkpoint.bin");
        Trainer first = Create(s_options, out TrainingModel model);
        first.Run(3);
        first.Save(checkpoint);
        Assert.Empty(Create(s_options with { Threads = 1, CheckpointEvery = 2 }, out _).Load(checkpoint));

        Trainer other = new(model, new DocumentSet([.. Cycle().Take(3)], 1), s_options with { LearningRate = 0.0005f, Steps = 20 });
        IReadOnlyList<string> changes = other.Load(checkpoint);
        Assert.Contains("learning rate was 0.01, is now 0.0005", changes);
        Assert.Contains("number of updates was 12, is now 20", changes);
        Assert.Contains(changes, change => change.StartsWith("training data was 40 documents of ", StringComparison.Ordinal) && change.Contains("is now 3 documents of ", StringComparison.Ordinal));
        Assert.Contains(changes, change => change.StartsWith("weights to start from (this run goes on from its checkpoint) was ", StringComparison.Ordinal));
        Assert.Equal(4, changes.Count);
        long before = 0;
        other.Run(5, new SynchronousProgress<GemmaTrainingProgress>(p => before = p.AllTokens));
        Assert.Equal(5, other.Step);
        Assert.True(before > 3 * s_options.MicroBatches * 30, "the tokens of before count");
    }

    [Fact]
    public void CheckpointWithoutSettingsLoadsAndDamagedSettingsAreRefused()
    {
        using TempDirectory directory = new();
        string checkpoint = directory.File("checkpoint.bin");
        Trainer first = Create(s_options, out TrainingModel model);
        first.Run(1);
        first.Save(checkpoint);
        byte[] bytes = File.ReadAllBytes(checkpoint);
        File.WriteAllBytes(checkpoint, bytes[..(20 + 16 * model.Weights.Length)]);
        Trainer resumed = Create(s_options with { LearningRate = 1 }, out _);
        Assert.Empty(resumed.Load(checkpoint));
        Assert.Equal(1, resumed.Step);
        File.WriteAllBytes(checkpoint, bytes[..^3]);
        Assert.Contains(checkpoint, Assert.Throws<GemmaModelFormatException>(() => Create(s_options, out _).Load(checkpoint)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void RunInADirectoryReportsWhatChanged()
    {
        using TempDirectory directory = new();
        List<string> lines = Run(s_options with { Steps = 2 }, 0);
        Assert.DoesNotContain(lines, line => line.StartsWith("changed", StringComparison.Ordinal));
        lines = Run(s_options with { Steps = 2, WarmupSteps = 1 }, 1);
        Assert.Equal(["changed: number of warm-up updates was 3, is now 1", "changed: number of updates on whole documents was 0, is now 1"], lines.Where(line => line.StartsWith("changed", StringComparison.Ordinal)));

        List<string> Run(GemmaTrainingOptions options, int wholeDocumentSteps)
        {
            TrainingModel model = GradientTests.SmallModel(5, 8);
            model.Initialize(1);
            List<string> reported = new();
            new TrainingJob(model, Cycle(), [], options, directory.Path, File.ReadAllBytes(TestData.Local("tiny/tokenizer.model"))) { WholeDocumentSteps = wholeDocumentSteps }
                .Run(reported.Add, TestContext.Current.CancellationToken);
            return reported;
        }
    }

    [Fact]
    public void ARunInPhasesIsContinuedWithOtherDocuments()
    {
        using TempDirectory directory = new();
        TrainingDocument[][] documents = [Cycle(), [.. Cycle().Reverse().Skip(1)]];
        string checkpoint = Path.Combine(directory.Path, "checkpoint.bin");
        List<int> steps = new() { Trainer.StepOf(checkpoint) };
        for (int phase = 0; phase < 2; phase++)
        {
            TrainingModel model = GradientTests.SmallModel(5, 8);
            model.Initialize(1);
            new TrainingJob(model, documents[phase], [], s_options with { Steps = 5 }, directory.Path, File.ReadAllBytes(TestData.Local("tiny/tokenizer.model"))) { StopAfter = phase == 0 ? 2 : null }
                .Run(_ => { }, TestContext.Current.CancellationToken);
            steps.Add(Trainer.StepOf(checkpoint));
        }

        Assert.Equal([0, 2, 5], steps);
    }

    /// <summary>Each micro-batch has its own gradient, summed in order.</summary>
    [Fact]
    public void ThreadCountDoesNotChangeTheResult()
    {
        Create(s_options, out TrainingModel two).Run(12);
        Create(s_options with { Threads = 1 }, out TrainingModel one).Run(12);
        Assert.True(one.Weights.Span.SequenceEqual(two.Weights.Span));
    }

    [Fact]
    public void LearnsWhatItIsShown()
    {
        Trainer trainer = Create(s_options with { Steps = 150 }, out _);
        double last = 0;
        trainer.Run(150, new SynchronousProgress<GemmaTrainingProgress>(p => last = p.Loss));
        Assert.InRange(last, 0, 0.2); // a fixed cycle; guessing costs log 37 = 3.6
        Assert.InRange(trainer.Validate(Cycle()).NegativeLogLikelihood / trainer.Validate(Cycle()).Targets, 0, 0.5);
    }

    [Fact]
    public void RateWarmsUpAndFallsToItsShare()
    {
        GemmaTrainingOptions options = s_options with { Steps = 103, FinalRateShare = 0.1f };
        Assert.Equal(1e-2f / 3, options.LearningRateAt(0), 1e-6f);
        Assert.Equal(1e-2f, options.LearningRateAt(3), 1e-6f);
        Assert.Equal(0.55e-2f, options.LearningRateAt(53), 1e-5f);
        Assert.Equal(1e-3f, options.LearningRateAt(103), 1e-6f);
    }

    /// <summary>What is said to be needed is what is allocated, but for the copy that is made to be saved and the teacher's answers.</summary>
    [Fact]
    public void MemoryIsAsStated()
    {
        GemmaTrainingOptions options = s_options with { MicroBatchTokens = 2048, MaxLength = 256, MicroBatches = 5 };
        long before = GC.GetAllocatedBytesForCurrentThread();
        TrainingModel model = GradientTests.SmallModel(5, 8);
        _ = new Trainer(model, new DocumentSet(Cycle(), 1), options);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before, copy = 4L * model.Weights.Length;
        Assert.InRange(Trainer.Bytes(model.Config, options) - copy, 0.97 * allocated, 1.03 * allocated);
        Assert.Equal(Trainer.Bytes(model.Config, options) + options.Threads * 256L * 5 * 22, Trainer.Bytes(model.Config, options, teacherLogits: 5));
        Assert.Equal(Trainer.Bytes(model.Config, options) + options.Threads * 256L * 37 * 10, Trainer.Bytes(model.Config, options, teacherLogits: 37));
    }

    [Fact]
    public void ModelOfMoreWeightsThanABufferHoldsIsRefused()
    {
        Model.GemmaConfig config = GradientTests.SmallModel(0, 0).Config with { VocabularySize = 1 << 20, HiddenSize = 1 << 12 };
        Assert.Contains("Train a smaller model", Assert.Throws<NotSupportedException>(() => new TrainingModel(config)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void BytesOfABufferComeInOrder()
    {
        FloatBuffer buffer = new((1 << 24) + 3);
        buffer.Span[^1] = 1;
        buffer.Span[1 << 24] = 2;
        List<byte[]> pieces = new();
        buffer.ForBytes(bytes => pieces.Add([.. bytes[^12..]]));
        Assert.Equal(2, pieces.Count);
        Assert.Equal([2f, 0f, 1f], System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(pieces[1]).ToArray());
    }

    /// <summary>A checkpoint that cannot be written leaves no half of itself, and the one before as it was.</summary>
    [Fact]
    public void FailedCheckpointLeavesTheOneBefore()
    {
        using TempDirectory directory = new();
        string path = directory.File("checkpoint.bin");
        Trainer trainer = Create(s_options, out _);
        trainer.Run(1);
        trainer.Save(path);
        byte[] before = File.ReadAllBytes(path);
        trainer.Settings["what cannot be written"] = null!;
        Assert.Throws<ArgumentNullException>(() => trainer.Save(path));
        Assert.Equal(before, File.ReadAllBytes(path));
        Assert.Equal([path], Directory.GetFiles(directory.Path));
    }

    [Fact]
    public void ForeignCheckpointIsRefused()
    {
        using TempDirectory directory = new();
        string path = directory.File("checkpoint.bin");
        File.WriteAllBytes(path, new byte[100]);
        GemmaModelFormatException refused = Assert.Throws<GemmaModelFormatException>(() => Create(s_options, out _).Load(path));
        Assert.Contains(path, refused.Message, StringComparison.Ordinal);
        Assert.Contains("100 bytes", refused.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    public void WeightsGoOutAndComeBack(bool bfloat16, bool ownHead)
    {
        using TempDirectory directory = new();
        TrainingModel model = GradientTests.SmallModel(ownHead ? 0 : 5, ownHead ? 0 : 8, ownHead, ownHead ? 300 : null);
        ModelDirectory.Save(model, directory.Path, bfloat16, File.ReadAllBytes(TestData.Local("tiny/tokenizer.model")));
        using ModelFile file = ModelFile.Open(directory.Path);
        Assert.Equal(model.Config with { QueryScale = file.Config.QueryScale }, file.Config);
        Assert.Equal(model.Config.QueryScale, file.Config.QueryScale, 1e-6f);
        TrainingModel back = ModelDirectory.Load(file);
        for (int i = 0; i < model.Weights.Length; i++)
        {
            Assert.Equal(model.Weights.Span[i], back.Weights.Span[i], bfloat16 ? MathF.Abs(model.Weights.Span[i]) / 256 : 0f);
        }
    }

    /// <summary>A run that is killed and goes on from its checkpoint takes the steps of one that was not.</summary>
    internal static void AssertResumesWithTheSameLosses(Func<Trainer> create, string checkpoint)
    {
        List<double> whole = new();
        create().Run(12, new SynchronousProgress<GemmaTrainingProgress>(p => whole.Add(p.Loss)));

        List<double> first = new();
        Trainer killed = create();
        using CancellationTokenSource kill = new();
        killed.Run(
            12,
            new SynchronousProgress<GemmaTrainingProgress>(p =>
            {
                first.Add(p.Loss);
                if (p.Step == 7)
                {
                    kill.Cancel();
                }
            }),
            () => killed.Save(checkpoint), kill.Token);
        Trainer resumed = create();
        resumed.Load(checkpoint);
        Assert.Equal(5, resumed.Step);
        List<double> second = new();
        resumed.Run(12, new SynchronousProgress<GemmaTrainingProgress>(p => second.Add(p.Loss)));
        Assert.Equal(whole, [.. first.Take(5), .. second]);
    }

    private static Trainer Create(GemmaTrainingOptions options, out TrainingModel model)
    {
        model = GradientTests.SmallModel(5, 8);
        model.Initialize(1);
        return new Trainer(model, new DocumentSet(Cycle(), 1), options);
    }

    private static TrainingDocument[] Cycle() =>
        [.. Enumerable.Range(0, 40).Select(d => new TrainingDocument([.. Enumerable.Range(0, 10 + d % 7).Select(i => (d * 5 + i * 3) % 37)]))];
}
