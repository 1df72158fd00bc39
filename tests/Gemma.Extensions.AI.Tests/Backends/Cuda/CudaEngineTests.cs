using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Tests.Backends.Ptx;
using Gemma.Extensions.AI.Tests.Chat;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Files;
using Gemma.Extensions.AI.Tests.Lora;
using Microsoft.Extensions.AI;

namespace Gemma.Extensions.AI.Tests.Backends.Cuda;

/// <summary>Everything above the seam on the GPU's backend, its kernels interpreted.</summary>
public sealed class InterpretedEngineTests : CudaEngineTests
{
    private protected override string Tier => Tiers.Cuda;

    private protected override GemmaOptions Options() => new InterpretedGpu().Options();
}

/// <summary>The same on the GPU of this machine; skipped where it has none.</summary>
public sealed class GpuEngineTests : CudaEngineTests
{
    private protected override string Tier => Tiers.Gpu;

    private protected override GemmaOptions Options()
    {
        Tiers.Create(Tiers.Gpu).Dispose();
        return new GemmaOptions { Device = "cuda" };
    }
}

/// <summary>What both run.</summary>
public abstract class CudaEngineTests
{
    private static readonly EngineOptions s_small = TinyEngine.Exact with { KvCacheBytes = 8 << 20, MaxConcurrentRequests = 4 };

    private protected abstract string Tier { get; }

    private protected abstract GemmaOptions Options();

    /// <summary>Generated rows, of which each activation is the sum of two bfloat16 numbers.</summary>
    [Fact]
    public void LogitsOfTheCheckpoint()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = file.ReadInt32s("tokens");
        float[] logits = file.ReadSingles("expected.logits");
        using Backend backend = Tiers.Create(Tier);
        using ModelFile model = ModelFile.Open(TestData.Local("tiny"));
        GemmaConfig config = model.Config;
        using KvPool pool = backend.CreateKvPool(GemmaForward.KvLayout(config, 32, GemmaKvCacheType.F32), 8);
        using GemmaForward forward = new(config, GemmaWeights.Load(model, backend), backend, pool, tokens.Length, tokens.Length);
        ForwardBatch batch = new(tokens.Length, 1);
        batch.Add(tokens, 0, [0, 1, 2, 3], [4, 5, 6, 7]);
        forward.Run(batch);
        float worst = Difference.Largest([.. logits.Chunk(config.VocabularySize)], [.. forward.Logits([.. Enumerable.Range(0, tokens.Length)]).Read(0, tokens.Length).ToArray().Chunk(config.VocabularySize)]);
        TestContext.Current.TestOutputHelper?.WriteLine($"largest difference {worst} over {tokens.Length} tokens");
        Assert.True(worst <= 1e-3f, $"A logit differs by {worst}.");
    }

    /// <summary>Prompts, whose activations are rounded to bfloat16.</summary>
    [Fact]
    public void LogitsOfAPromptOfTheCheckpoint()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = file.ReadInt32s("tokens");
        float[] logits = file.ReadSingles("expected.logits");
        using TinyEngine tiny = new(s_small, Tier);
        CheckDivergence([.. logits.Chunk(logits.Length / tokens.Length)], tiny.Logits(tokens));
    }

    [Theory]
    [InlineData("Q8_0")]
    [InlineData("Q4_0")]
    [InlineData("Q4_K_M")]
    [InlineData("Q6_K")]
    [InlineData("Q2_K")]
    public void QuantisedFiles(string type)
    {
        string path = TestData.Local($"gguf/tiny-{type}.gguf");
        using SafetensorsFile file = SafetensorsFile.Open(Path.ChangeExtension(path, ".expected.safetensors"));
        using SafetensorsFile checkpoint = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = checkpoint.ReadInt32s("tokens");
        float[] logits = file.ReadSingles("expected.logits");
        using TinyEngine tiny = new(s_small, Tier, path);
        double mean = logits.Chunk(logits.Length / tokens.Length).Zip(tiny.Logits(tokens[..40])).Average(pair => Difference.Divergence(pair.First, pair.Second));
        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {mean:g3}");
        Assert.InRange(mean, -1e-9, 0.01);
    }

    /// <summary>Key/value types against the CPU's reference with the same type.</summary>
    [Theory]
    [InlineData(GemmaKvCacheType.F16)]
    [InlineData(GemmaKvCacheType.BF16)]
    [InlineData(GemmaKvCacheType.Q8_0)]
    public void TypesOfKeysAndValues(object type)
    {
        int[] tokens = TinyEngine.Prompt(3, 40);
        using TinyEngine expected = new(s_small with { KvType = (GemmaKvCacheType)type });
        using TinyEngine tiny = new(s_small with { KvType = (GemmaKvCacheType)type }, Tier);
        CheckDivergence(expected.Logits(tokens), tiny.Logits(tokens));
    }

    /// <summary>Several sequences in a batch, prompts in pieces, guesses from what was said before, less memory than all need: each says what it says alone.</summary>
    [Theory]
    [InlineData("tiny")]
    [InlineData("gguf/tiny-Q8_0.gguf")]
    public void ConcurrentRequestsGiveTheirSoloText(string file)
    {
        int[][] prompts = [.. Enumerable.Range(0, 5).Select(i => TinyEngine.Prompt(i, 5 + 9 * i))];
        using TinyEngine solo = new(s_small with { PrefixCache = false, SpeculativeTokens = 0 }, Tier, TestData.Local(file));
        int[][] expected = [.. prompts.Select(prompt => solo.Generate(prompt, 10))];
        using TinyEngine tiny = new(s_small with { MaxConcurrentRequests = 3, PrefillChunk = 24 }, Tier, TestData.Local(file));
        Generation[] generations = [.. prompts.Select(prompt => tiny.Start(prompt, 10))];
        for (int i = 0; i < prompts.Length; i++)
        {
            Assert.Equal(EngineFinish.Length, generations[i].Result.Finish);
            Assert.Equal(expected[i], generations[i].Tokens);
        }

        EngineTests.AssertNothingHeld(tiny);
    }

    /// <summary>A row's result does not depend on its batch: what is read from the prefix cache gives the same bits as what is computed.</summary>
    [Fact]
    public void AWarmPrefixGivesTheSameLogits()
    {
        int[] tokens = TinyEngine.Prompt(4, 50);
        using TinyEngine tiny = new(s_small, Tier);
        float[][] cold = tiny.Logits(tokens, out int none, 45);
        float[][] warm = tiny.Logits(tokens, out int cached, 45);
        Assert.Equal((0, true), (none, cached > 16));
        Assert.Equal(cold, warm);
    }

    /// <summary>Blocks lie on a GPU as they do in the CPU's memory.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task PromptsAreSavedForEither(bool fromTheGpu)
    {
        string writer = fromTheGpu ? Tier : "reference", reader = fromTheGpu ? "reference" : Tier;
        using TempDirectory directory = new();
        string path = directory.File("prompt.cache");
        int[] system = TinyEngine.Prompt(1, 45);
        int[] prompt = [.. system, .. TinyEngine.Prompt(2, 6)];
        EngineOptions options = s_small with { KvType = GemmaKvCacheType.F16 };
        float[][] expected;
        using (TinyEngine first = new(options, writer))
        {
            expected = first.Logits(prompt, prompt.Length - 1);
            await first.Engine.SavePromptCacheAsync(path, system, TestContext.Current.CancellationToken);
        }

        using TinyEngine second = new(options, reader);
        Assert.Equal(system.Length, await second.Engine.LoadPromptCacheAsync(path, TestContext.Current.CancellationToken));
        float[][] logits = second.Logits(prompt, out int cached, prompt.Length - 1);
        Assert.Equal(system.Length, cached);
        CheckDivergence(expected, logits);
    }

    /// <summary>A smaller model that guesses ahead shares the GPU and changes no text.</summary>
    [Fact]
    public void ADraftModelChangesNoText()
    {
        int[] prompt = TinyEngine.Prompt(6, 20);
        using TinyEngine alone = new(s_small with { SpeculativeTokens = 0 }, Tier);
        using TinyEngine guessed = new(s_small with { SpeculativeTokens = 4 }, Tier, draft: TestData.Local("gguf/tiny-Q8_0.gguf"));
        Assert.Equal(alone.Generate(prompt, 12), guessed.Generate(prompt, 12));
    }

    [Fact]
    public void AdaptersAreAddedToTheRowsOfTheirRequests()
    {
        using TempDirectory directory = new();
        using TinyEngine exact = new(s_small);
        using TinyEngine tiny = new(s_small with { PrefixCache = false }, Tier);
        string path = new RandomAdapter(exact.Config).WritePeft(directory.File("adapter"));
        int[] tokens = TinyEngine.Prompt(5, 30);
        LoraWeights adapter = tiny.Adapter(path);
        float[][] expected = exact.Logits(tokens, adapter: exact.Adapter(path)), plain = tiny.Logits(tokens);
        CheckDivergence(expected, tiny.Logits(tokens, adapter: adapter));
        Assert.True(expected.Zip(plain).Average(pair => Difference.Divergence(pair.First, pair.Second)) > 0.02);

        // Together, each row has its own.
        Generation[] together = [tiny.Start(tokens, 6, adapter: adapter), tiny.Start(tokens, 6)];
        int[][] texts = [.. together.Select(generation => (generation.Result, generation.Tokens).Tokens)];
        Assert.Equal([.. new[] { tiny.Start(tokens, 6, adapter: adapter), tiny.Start(tokens, 6) }.Select(generation => (generation.Result, generation.Tokens).Tokens)], texts);
        Assert.Equal(tiny.Generate(tokens, 6), texts[1]);
    }

    /// <summary>An adapter's memory is given back some time after nobody uses it.</summary>
    [Fact]
    public void MemoryOfAdaptersIsGivenBack()
    {
        // Enough that a GPU's allocator cannot find room for it in what it holds already.
        using Backend backend = Tiers.Create(Tier);
        ForwardBatch batch = new(1, 1);
        backend.Begin(batch);
        long before = backend.ReadMemory().FreeBytes;
        LoadAndDrop(backend);
        Assert.True(backend.ReadMemory().FreeBytes < before);
        for (int i = 0; i < 10 && backend.ReadMemory().FreeBytes < before; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            batch.Clear();
            backend.Begin(batch);
        }

        Assert.Equal(before, backend.ReadMemory().FreeBytes);

        [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
        static void LoadAndDrop(Backend backend) => backend.LoadLowRank(8, 1 << 20, new LowRankPart(2, 8, new float[8 << 20], new float[8]));
    }

    /// <summary>The labels of a text: the head of a classifier takes hidden rows.</summary>
    [Fact]
    public async Task AClassifierJudges()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        using TempDirectory directory = new();
        string path = TinyCheckpoint.Write(
            directory.File("classifier"), json => json["architectures"] = new System.Text.Json.Nodes.JsonArray("Gemma2ForSequenceClassification"),
            new Dictionary<string, (long[], float[])> { ["score.weight"] = ([3, TinyCheckpoint.Hidden], TinyCheckpoint.Rows(TinyCheckpoint.Embedding(), [7, 300, 999])) });
        GemmaOptions options = Options();
        options.KvCacheBytes = 8 << 20;
        using GemmaModel model = GemmaModel.Load(path, options), exact = GemmaModel.Load(path, new GemmaOptions { Kernel = "reference" });
        foreach (string text in (string[])["Is it late?", "a longer text that says nothing"])
        {
            GemmaClassification expected = await exact.ClassifyAsync(text, cancellationToken: token), actual = await model.ClassifyAsync(text, cancellationToken: token);
            Assert.Equal(expected.Labels.Select(label => label.Label), actual.Labels.Select(label => label.Label));
            Assert.All(expected.Labels.Zip(actual.Labels), pair => Assert.Equal(pair.First.Score, pair.Second.Score, 0.05f * expected.Labels.Max(label => Math.Abs(label.Score))));
        }
    }

    [Fact]
    public async Task AModelChatsEmbedsAndScores()
    {
        CancellationToken token = TestContext.Current.CancellationToken;
        GemmaOptions options = Options();
        options.ContextLength = 128;
        options.KvCacheBytes = 8 << 20;
        using GemmaModel model = GemmaModel.Load(TinyModel.Path, options), exact = GemmaModel.Load(TinyModel.Path, new GemmaOptions { Kernel = "reference", ContextLength = 128 });
        Assert.StartsWith("cuda:", model.KernelName, StringComparison.Ordinal);
        ChatResponse answer = await model.AsIChatClient().GetResponseAsync("Hello", TinyModel.Greedy(6), token);
        Assert.Equal((await exact.AsIChatClient().GetResponseAsync("Hello", TinyModel.Greedy(6), token)).Text, answer.Text);

        string[] texts = ["a short text", "another one, a little longer"];
        GeneratedEmbeddings<Embedding<float>> expected = await exact.AsIEmbeddingGenerator().GenerateAsync(texts, cancellationToken: token), actual = await model.AsIEmbeddingGenerator().GenerateAsync(texts, cancellationToken: token);
        for (int i = 0; i < texts.Length; i++)
        {
            Assert.True(System.Numerics.Tensors.TensorPrimitives.CosineSimilarity(expected[i].Vector.Span, actual[i].Vector.Span) > 0.9999f);
        }

        IReadOnlyList<GemmaScore> wanted = await exact.ScoreAsync("Hello", [" there", " you"], cancellationToken: token), scores = await model.ScoreAsync("Hello", [" there", " you"], cancellationToken: token);
        Assert.All(wanted.Zip(scores), pair => Assert.Equal(pair.First.LogProbability, pair.Second.LogProbability, 5e-2));
    }

    /// <summary>What the rounding of prompts may cost: a mean divergence of 0.005.</summary>
    private protected static void CheckDivergence(float[][] expected, float[][] actual)
    {
        double mean = expected.Zip(actual).Average(pair => Difference.Divergence(pair.First, pair.Second));
        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {mean:g3}");
        Assert.InRange(mean, -1e-9, 0.005);
    }
}
