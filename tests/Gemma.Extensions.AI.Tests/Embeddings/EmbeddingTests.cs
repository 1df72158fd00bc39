using System.Numerics.Tensors;
using Gemma.Extensions.AI.Conformance;
using Gemma.Extensions.AI.Files;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Embeddings;

public sealed class GemmaEmbeddingConformanceTests(GemmaEmbeddingConformanceTests.Loaded loaded) : EmbeddingGeneratorConformance, IClassFixture<GemmaEmbeddingConformanceTests.Loaded>
{
    protected override string TooLong => string.Join(' ', Enumerable.Repeat("river", 20_000));

    protected override IEmbeddingGenerator<string, Embedding<float>> CreateGenerator() => loaded.Model.AsIEmbeddingGenerator();

    public sealed class Loaded : IDisposable
    {
        public GemmaModel Model { get; } = GemmaModel.Load(TestData.Local("tiny"), new GemmaOptions { Threads = 1 });

        public void Dispose() => Model.Dispose();
    }
}

public sealed class EmbeddingTests
{
    private static readonly string[] s_texts = ["The tide comes in.", "Prices rose by 3.5% in March, then fell again.", "def f(x):\n    return x * 2", "日本の首都は東京です。"];

    private static GemmaModel Load(string path = "tiny", string? kernel = null, GemmaKvCacheType kv = GemmaKvCacheType.F16, int? context = null) =>
        GemmaModel.Load(TestData.Local(path), new GemmaOptions { Threads = 1, Kernel = kernel, KvCacheType = kv, ContextLength = context });

    /// <summary>Hidden states of the float32 reference path, anchored to gemma_pytorch's logits by the engine's goldens.</summary>
    private static async Task<float[][]> ReferenceAsync(GemmaEmbeddingOptions options, string path = "tiny")
    {
        using GemmaModel model = Load(path, kernel: "reference", kv: GemmaKvCacheType.F32);
        return [.. (await model.AsIEmbeddingGenerator(options).GenerateAsync(s_texts)).Select(e => e.Vector.ToArray())];
    }

    /// <summary>
    /// The engine as it runs against float32 computation over the same weights, and Q8_0 against the weights that it was made from. Rounding these
    /// small random weights to eight bits turns vectors by itself: gemma_pytorch's logits of the two files have a lowest cosine of 0.990.
    /// </summary>
    [Theory]
    [InlineData("tiny", "tiny", GemmaEmbeddingPooling.LastToken, 0.9999)]
    [InlineData("tiny", "tiny", GemmaEmbeddingPooling.Mean, 0.9999)]
    [InlineData("gguf/tiny-Q8_0.gguf", "gguf/tiny-Q8_0.gguf", GemmaEmbeddingPooling.LastToken, 0.999)]
    [InlineData("gguf/tiny-Q8_0.gguf", "gguf/tiny-Q8_0.gguf", GemmaEmbeddingPooling.Mean, 0.999)]
    [InlineData("gguf/tiny-Q8_0.gguf", "tiny", GemmaEmbeddingPooling.LastToken, 0.99)]
    [InlineData("gguf/tiny-Q8_0.gguf", "tiny", GemmaEmbeddingPooling.Mean, 0.99)]
    public async Task VectorsAreThoseOfTheFloat32Reference(string path, string reference, GemmaEmbeddingPooling pooling, double least)
    {
        GemmaEmbeddingOptions options = new() { Pooling = pooling };
        float[][] expected = await ReferenceAsync(options, reference);
        using GemmaModel model = Load(path);
        GeneratedEmbeddings<Embedding<float>> actual = await model.AsIEmbeddingGenerator(options).GenerateAsync(s_texts);
        double lowest = expected.Zip(actual).Min(p => TensorPrimitives.CosineSimilarity<float>(p.First, p.Second.Vector.Span));
        TestContext.Current.TestOutputHelper?.WriteLine($"lowest cosine {lowest:0.000000}");
        Assert.InRange(lowest, least, 1.0001);
    }

    /// <summary>The last token's vector, not normalised, times the embedding matrix gives the logits that the model scores with.</summary>
    [Fact]
    public async Task TheLastHiddenStateGivesTheLogits()
    {
        using GemmaModel model = Load(kernel: "reference", kv: GemmaKvCacheType.F32);
        Embedding<float> embedding = await model.AsIEmbeddingGenerator(new GemmaEmbeddingOptions { Pooling = GemmaEmbeddingPooling.LastToken, Normalize = false }).GenerateAsync(s_texts[0]);
        TensorView table = model.File.Tensors["token_embd.weight"];
        IReadOnlyList<GemmaScore> scores = await model.ScoreAsync(s_texts[0], ["a", "the", "!"]);
        foreach (GemmaScore score in scores)
        {
            float[] row = new float[model.Config.HiddenSize];
            table.DecodeRow(model.Tokenizer.Encode(score.Continuation, matchSpecial: false)[0], row);
            float logit = TensorPrimitives.Dot<float>(row, embedding.Vector.Span);
            float capped = model.Config.FinalSoftcap > 0 ? model.Config.FinalSoftcap * MathF.Tanh(logit / model.Config.FinalSoftcap) : logit;
            Assert.Equal(capped, score.Logit, 1e-3f);
        }
    }

    [Fact]
    public async Task ScoresAreLogProbabilitiesOfWholeContinuations()
    {
        using GemmaModel model = Load(kernel: "reference", kv: GemmaKvCacheType.F32);
        string[] continuations = ["a", " of the house", "zebra!", "a"];
        IReadOnlyList<GemmaScore> scores = await model.ScoreAsync("Once upon", continuations);
        Assert.Equal(continuations, scores.Select(s => s.Continuation));
        Assert.Equal(1, scores.Sum(s => s.Probability), 1e-9);
        Assert.Equal(scores[0].LogProbability, scores[3].LogProbability);
        Assert.Contains(scores, s => s.Tokens > 1);
        using Engine.TinyEngine tiny = new();
        foreach (GemmaScore score in scores)
        {
            int[] prompt = [model.Tokenizer.BosId, .. model.Tokenizer.Encode("Once upon", matchSpecial: true)];
            int[] tail = model.Tokenizer.Encode(score.Continuation, matchSpecial: false);
            float[][] logits = tiny.Logits([.. prompt, .. tail]);
            double expected = tail.Select((t, i) => logits[prompt.Length - 1 + i][t] - logits[prompt.Length - 1 + i].Aggregate(0.0, (s, l) => s + Math.Exp(l), Math.Log)).Sum();
            Assert.Equal(expected, score.LogProbability, 1e-3);
            Assert.Equal(Math.Exp(expected) / scores.Sum(s => Math.Exp(s.LogProbability)), score.Probability, 1e-3);
        }

        IReadOnlyList<GemmaScore> chat = await model.ScoreAsync([new ChatMessage(ChatRole.User, "Is it?")], ["Yes", "No"]);
        Assert.Equal(1, chat[0].Probability + chat[1].Probability, 1e-9);
        await Assert.ThrowsAsync<ArgumentException>(() => model.ScoreAsync("x", []));
        await Assert.ThrowsAsync<ArgumentException>(() => model.ScoreAsync("x", ["", "a"]));
    }

    [Fact]
    public async Task QuestionsAndDocumentsGetTheirOwnPrefix()
    {
        using GemmaModel model = Load();
        GemmaEmbeddingOptions options = GemmaEmbeddingOptions.BgeMultilingualGemma2("Find it.");
        IEmbeddingGenerator<string, Embedding<float>> generator = model.AsIEmbeddingGenerator(options);
        EmbeddingGenerationOptions query = new() { AdditionalProperties = new AdditionalPropertiesDictionary { ["input_type"] = "query" } };
        Embedding<float> asQuery = await generator.GenerateAsync("cats", query);
        Embedding<float> asDocument = await generator.GenerateAsync("cats");
        Embedding<float> spelledOut = await generator.GenerateAsync("<instruct>Find it.\n<query>cats");
        Assert.Equal(1, TensorPrimitives.CosineSimilarity(asQuery.Vector.Span, spelledOut.Vector.Span), 1e-4);
        Assert.True(TensorPrimitives.Distance(asQuery.Vector.Span, asDocument.Vector.Span) > 1e-3);
        EmbeddingGenerationOptions wrong = new() { AdditionalProperties = new AdditionalPropertiesDictionary { ["input_type"] = "poem" } };
        await Assert.ThrowsAsync<ArgumentException>(() => generator.GenerateAsync(["x"], wrong));

        GemmaEmbeddingOptions own = generator.GetRequiredService<GemmaEmbeddingOptions>();
        Assert.NotSame(options, own);
        Assert.Equal((options.Pooling, options.QueryPrefix), (own.Pooling, own.QueryPrefix));

        // Options of one call replace the generator's own.
        Embedding<float> mean = await generator.GenerateAsync("cats", new EmbeddingGenerationOptions { RawRepresentationFactory = _ => new GemmaEmbeddingOptions() });
        Assert.True(TensorPrimitives.Distance(mean.Vector.Span, asDocument.Vector.Span) > 1e-3);
    }

    [Fact]
    public async Task ALongTextIsRefusedWithNumbersOrTruncated()
    {
        using GemmaModel model = Load(context: 64);
        string text = string.Join(' ', Enumerable.Repeat("river", 200));
        GemmaContextLengthException error = await Assert.ThrowsAsync<GemmaContextLengthException>(() => model.AsIEmbeddingGenerator().GenerateAsync(["a", text]));
        Assert.Equal(64, error.ContextTokens);
        Assert.True(error.PromptTokens > 64);
        GeneratedEmbeddings<Embedding<float>> cut = await model.AsIEmbeddingGenerator(new GemmaEmbeddingOptions { Truncate = true, MaxTokens = 10 }).GenerateAsync([text]);
        Assert.Equal(10, cut.Usage!.InputTokenCount);

        // eos is kept at the end of what was cut.
        GemmaEmbeddingOptions ended = new() { Truncate = true, MaxTokens = 10, AppendEndToken = true, Pooling = GemmaEmbeddingPooling.LastToken };
        Assert.Equal(10, (await model.AsIEmbeddingGenerator(ended).GenerateAsync([text])).Usage!.InputTokenCount);
        Assert.Throws<ArgumentOutOfRangeException>(() => model.AsIEmbeddingGenerator(new GemmaEmbeddingOptions { MaxTokens = 1 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.AsIEmbeddingGenerator(new GemmaEmbeddingOptions { Pooling = (GemmaEmbeddingPooling)7 }));
    }

    [Fact]
    public async Task ChatAndEmbeddingsShareOneModelThroughDependencyInjection()
    {
        ServiceCollection services = new();
        string path = TestData.Local("tiny");
        services.AddGemmaChatClient(path);
        int wrapped = 0;
        services.AddGemmaEmbeddingGenerator(path).Use(inner =>
        {
            wrapped++;
            return inner;
        });
        services.AddKeyedGemmaEmbeddingGenerator("docs", path, new GemmaEmbeddingOptions { Pooling = GemmaEmbeddingPooling.LastToken });
        await using ServiceProvider provider = services.BuildServiceProvider();
        IEmbeddingGenerator<string, Embedding<float>> generator = provider.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>();
        IEmbeddingGenerator<string, Embedding<float>> keyed = provider.GetRequiredKeyedService<IEmbeddingGenerator<string, Embedding<float>>>("docs");
        GemmaModel chat = (GemmaModel)provider.GetRequiredService<IChatClient>().GetService(typeof(GemmaModel))!;
        Assert.Equal(1, wrapped);
        Assert.Same(chat, generator.GetService(typeof(GemmaModel)));
        Assert.Same(chat, keyed.GetService(typeof(GemmaModel)));
        Embedding<float> mean = await generator.GenerateAsync("x y z"), last = await keyed.GenerateAsync("x y z");
        Assert.True(TensorPrimitives.Distance(mean.Vector.Span, last.Vector.Span) > 1e-4);
    }
}
