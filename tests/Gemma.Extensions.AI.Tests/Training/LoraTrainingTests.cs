using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

/// <summary>Adapters trained over a base that stays as it is.</summary>
public sealed class LoraTrainingTests : IDisposable
{
    private static readonly LoraOptions s_lora = new(3, 5f, LoraOptions.AllTargets);
    private static readonly GemmaTrainingOptions s_options = new(steps: 12)
    {
        MicroBatchTokens = 48, MicroBatches = 3, MaxLength = 32, LearningRate = 1e-2f, WarmupSteps = 3, Threads = 2, CheckpointEvery = 5,
    };

    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    /// <summary>W' = W + s·B·A gives dA = s·Bᵀ·dW' and dB = s·dW'·Aᵀ; dW' comes from the pass that trains every weight, itself equal to autograd.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void GradientsFollowFromTheFullWeightGradient(bool ownHead)
    {
        using LoraModel lora = Small(s_lora, ownHead);
        using ModelFile file = ModelFile.Open(_temp.Path);
        TrainingModel whole = ModelDirectory.Load(file);
        float scale = s_lora.Alpha / s_lora.Rank;
        (string Weight, Parameter A, Parameter B)[] factors = [.. lora.Parameters.Where(p => p.Name.EndsWith(".lora_a", StringComparison.Ordinal)).Select(a => (a.Name[..^7], a, lora[a.Name[..^1] + "b"]))];
        Assert.Equal(7 * file.Config.LayerCount, factors.Length);
        foreach ((string weight, Parameter a, Parameter b) in factors)
        {
            AddProduct(whole.Slice(whole.Weights, whole[weight]), lora.Slice(lora.Weights, b), lora.Slice(lora.Weights, a), a.Rows, scale);
        }

        PackedBatch batch = GradientTests.SmallBatch(file.Config, teacher: false);
        FloatBuffer full = new(whole.Weights.Length);
        FloatBuffer mine = new(lora.Weights.Length);
        LossSums expected = new GemmaBackprop(whole, 64, 32).Accumulate(batch, LossOptions.Label, 1f, full);
        LossSums actual = new GemmaBackprop(lora, 64, 32).Accumulate(batch, LossOptions.Label, 1f, mine);
        Assert.Equal(expected.Loss, actual.Loss, 1e-3);
        foreach ((string weight, Parameter a, Parameter b) in factors)
        {
            Span<float> dW = whole.Slice(full, whole[weight]), wa = lora.Slice(lora.Weights, a), wb = lora.Slice(lora.Weights, b);
            double[] dA = new double[a.Length];
            double[] dB = new double[b.Length];
            for (int n = 0; n < b.Rows; n++)
            {
                for (int j = 0; j < a.Rows; j++)
                {
                    for (int i = 0; i < a.Columns; i++)
                    {
                        dA[j * a.Columns + i] += scale * wb[n * a.Rows + j] * (double)dW[n * a.Columns + i];
                        dB[n * a.Rows + j] += scale * wa[j * a.Columns + i] * (double)dW[n * a.Columns + i];
                    }
                }
            }

            AssertClose(dA, lora.Slice(mine, a), a.Name);
            AssertClose(dB, lora.Slice(mine, b), b.Name);
        }
    }

    [Theory]
    [InlineData(0f)]
    [InlineData(0.6f)]
    public void GradientsEqualFiniteDifferences(float mix)
    {
        using LoraModel lora = Small(s_lora);
        PackedBatch batch = GradientTests.SmallBatch(lora.Config, mix > 0);
        LossOptions loss = new(mix, mix > 0 ? 2f : 1f);
        GemmaBackprop backprop = new(lora, 64, 32);
        FloatBuffer gradient = new(lora.Weights.Length);
        backprop.Accumulate(batch, loss, 1f, gradient);
        GradientTests.AssertIsGradient(gradient, lora, backprop, batch, loss);
    }

    /// <summary>An adapter starts as nothing: over any format the loss is that of the base, and the factors that are not targets do not exist.</summary>
    [Theory]
    [InlineData("tiny")]
    [InlineData("gguf/tiny-Q8_0.gguf")]
    [InlineData("gguf/tiny-Q4_K_M.gguf")]
    public void StartsAsTheBase(string path)
    {
        using ModelFile file = ModelFile.Open(TestData.Local(path));
        PackedBatch batch = new([new TrainingDocument(TinyEngine.Prompt(3, 40))]);
        LossSums expected = new GemmaBackprop(ModelDirectory.Load(file), 40, 40).Evaluate(batch, LossOptions.Label);
        using LoraModel lora = new(ModelFile.Open(TestData.Local(path)), s_lora with { Targets = ["q_proj", "down_proj"] }, seed: 1);
        Assert.Equal(expected.Loss, new GemmaBackprop(lora, 40, 40).Evaluate(batch, LossOptions.Label).Loss, 1e-3);
        Assert.Equal(4 * file.Config.LayerCount, lora.Parameters.Count);
    }

    /// <summary>Trained over quantised weights, saved, and answered with by the engine: what training computed is what inference computes.</summary>
    [Fact]
    public void TrainedAdapterGivesTheEngineTheSameLogits()
    {
        string path = TestData.Local("gguf/tiny-Q8_0.gguf"), adapter = _temp.File("adapter");
        using LoraModel lora = new(ModelFile.Open(path), s_lora, seed: 1);
        TrainingDocument[] documents = [.. Enumerable.Range(0, 6).Select(i => new TrainingDocument(TinyEngine.Prompt(i, 24)))];
        Trainer trainer = new(lora, new DocumentSet(documents, 1), s_options with { Steps = 40, AverageDecay = 0 });
        List<double> losses = new();
        trainer.Run(40, new SynchronousProgress<GemmaTrainingProgress>(progress => losses.Add(progress.Loss)));
        Assert.InRange(losses[^1], 0, 0.7 * losses[0]);
        lora.Save(adapter, bfloat16: false, default);

        int[] tokens = TinyEngine.Prompt(2, 24);
        float[] mine = new GemmaBackprop(lora, 24, 24).Logits(new PackedBatch([new TrainingDocument(tokens)]));
        using TinyEngine tiny = new(path: path);
        float[][] engine = tiny.Logits(tokens, adapter: tiny.Adapter(adapter));
        Assert.InRange(engine.SelectMany(row => row).Zip(mine).Max(pair => MathF.Abs(pair.First - pair.Second)), 0, 1e-3f);
        Assert.InRange(Difference.Largest(tiny.Logits(tokens), engine), 0.1f, 100);
    }

    [Fact]
    public void ResumedRunHasTheSameLosses()
    {
        using LoraModel one = Small(s_lora), two = Small(s_lora), three = Small(s_lora);
        Queue<LoraModel> models = new([one, two, three]);
        TrainerTests.AssertResumesWithTheSameLosses(() => new Trainer(models.Dequeue(), new DocumentSet(Cycle(), 1), s_options), _temp.File("checkpoint.bin"));
    }

    [Fact]
    public void BadOptionsAreRefused()
    {
        Assert.Throws<ArgumentException>(() => (s_lora with { Rank = 0 }).Validate());
        Assert.Throws<ArgumentException>(() => (s_lora with { Alpha = 0 }).Validate());
        Assert.Contains("lm_head", Assert.Throws<ArgumentException>(() => (s_lora with { Targets = ["lm_head"] }).Validate()).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => (s_lora with { Targets = [] }).Validate());
    }

    /// <summary>The commands, one after the other: train over a quantised base, stop and go on, merge, ask.</summary>
    [Fact]
    public async Task TrainMergeAndAsk()
    {
        string data = _temp.File("data.txt"), run = _temp.File("run"), merged = _temp.File("merged.gguf"), model = TestData.Local("gguf/tiny-Q8_0.gguf");
        File.WriteAllText(data, string.Concat(Enumerable.Repeat("The zebra and the quokka share the river. ", 40)));
        string[] train = ["train", "--model", model, "--lora", "4", "--alpha", "8", "--data", data, "--output", run, "--length", "32", "--batch-tokens", "64", "--micro-batches", "2", "--checkpoint-every", "3"];
        await Run([.. train, "--steps", "3"]);
        string output = await Run([.. train, "--steps", "6"]);
        Assert.Contains("continuing after step 3", output, StringComparison.Ordinal);
        Assert.Contains(Path.Combine(run, "adapter"), output, StringComparison.Ordinal);
        Assert.Contains("rank 4, alpha 8", await Fail([.. train[..4], "5", .. train[5..], "--steps", "6"]), StringComparison.Ordinal);
        Assert.Contains("--lora", await Fail([.. train[..3], .. train[5..], "--steps", "6"]), StringComparison.Ordinal);
        await Run("convert", model, "--lora", Path.Combine(run, "adapter"), "--type", "f32", "--output", merged);

        int[] tokens = TinyEngine.Prompt(3, 20);
        using TinyEngine whole = new(path: merged);
        using TinyEngine tiny = new(path: model);
        float[][] adapted = tiny.Logits(tokens, adapter: tiny.Adapter(Path.Combine(run, "adapter")));
        Assert.InRange(Difference.Largest(whole.Logits(tokens), adapted), 0, 1e-3f);
        Assert.InRange(Difference.Largest(tiny.Logits(tokens), adapted), 1e-3f, 100);
        Assert.NotEmpty((await Run("chat", "--model", model, "--lora", Path.Combine(run, "adapter"), "--prompt", "Hello", "--temperature", "0", "--max-tokens", "4")).Trim());
    }

    private static async Task<string> Run(params string[] arguments)
    {
        (int exit, string output, string error) = await Invoke(arguments);
        Assert.True(exit == 0, error);
        return output;
    }

    private static async Task<string> Fail(params string[] arguments)
    {
        (int exit, _, string error) = await Invoke(arguments);
        Assert.Equal(1, exit);
        return error;
    }

    private static async Task<(int Exit, string Output, string Error)> Invoke(string[] arguments)
    {
        StringWriter output = new(), error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(arguments, new CliInvocation(interrupts) { Output = output, Error = error, Input = new StringReader(""), IsInteractive = false });
        return (exit, output.ToString(), error.ToString());
    }

    /// <summary>A small base on disk, and an adapter over it whose B are not zero.</summary>
    private LoraModel Small(LoraOptions options, bool ownHead = false)
    {
        ModelDirectory.Save(GradientTests.SmallModel(5, 8, ownHead), _temp.Path, bfloat16: false, default);
        LoraModel lora = new(ModelFile.Open(_temp.Path), options, seed: 1);
        Random random = new(9);
        foreach (Parameter parameter in lora.Parameters.Where(p => p.Name.EndsWith('b')))
        {
            foreach (ref float w in lora.Slice(lora.Weights, parameter))
            {
                w = (float)(random.NextDouble() - 0.5);
            }
        }

        return lora;
    }

    private static void AddProduct(Span<float> weight, ReadOnlySpan<float> b, ReadOnlySpan<float> a, int rank, float scale)
    {
        int columns = a.Length / rank;
        for (int i = 0; i < weight.Length; i++)
        {
            double sum = 0;
            for (int j = 0; j < rank; j++)
            {
                sum += (double)b[i / columns * rank + j] * a[j * columns + i % columns];
            }

            weight[i] += (float)(scale * sum);
        }
    }

    private static void AssertClose(double[] expected, ReadOnlySpan<float> actual, string name)
    {
        double difference = 0, square = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            difference += Math.Pow(actual[i] - expected[i], 2);
            square += Math.Pow(expected[i], 2);
        }

        Assert.True(square > 0 && Math.Sqrt(difference / square) < 1e-4, $"{name}: off by {Math.Sqrt(difference / square):G3} of its norm.");
    }

    private static TrainingDocument[] Cycle() =>
        [.. Enumerable.Range(0, 40).Select(d => new TrainingDocument([.. Enumerable.Range(0, 10 + d % 7).Select(i => (d * 5 + i * 3) % 37)]))];
}
