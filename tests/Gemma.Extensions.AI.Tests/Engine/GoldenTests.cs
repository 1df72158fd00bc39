using System.Text.Json;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Hub;
using Gemma.Extensions.AI.Nano.Recipe;
using Gemma.Extensions.AI.Tests.Backends;

namespace Gemma.Extensions.AI.Tests.Engine;

/// <summary>Numbers that gemma_pytorch computed, in float32.</summary>
public sealed class GoldenTests
{
    public static TheoryData<string, string> Quantised
    {
        get
        {
            TheoryData<string, string> data = new();
            foreach (string tier in (string[])[.. TinyEngine.Tiers, Tiers.AmxEmulated])
            {
                foreach (string type in (string[])["Q2_K", "Q3_K_M", "Q4_0", "Q4_1", "Q4_K_M", "Q5_0", "Q5_1", "Q5_K_M", "Q6_K", "Q8_0", "IQ4_NL", "IQ4_XS", "IQ3_S", "IQ2_XS", "IQ1_M", "F16", "BF16"])
                {
                    data.Add(type, tier);
                }
            }

            return data;
        }
    }

    [Fact]
    public void AllLogitsOfTheCheckpoint()
    {
        (int[] tokens, float[][] expected) = Expected(TestData.Local("tiny/expected.safetensors"));
        using TinyEngine tiny = new();
        float worst = Difference.Largest(expected, tiny.Logits(tokens));
        TestContext.Current.TestOutputHelper?.WriteLine($"largest difference {worst}");
        Assert.True(worst <= 1e-3f, $"A logit differs by {worst}.");
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void GreedyRuns(int index)
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(TestData.Local("tiny/greedy.json")));
        JsonElement run = json.RootElement[index];
        int[] expected = Ints(run.GetProperty("greedy_ids"));
        using TinyEngine tiny = new();
        Assert.Equal(expected, tiny.Generate(Ints(run.GetProperty("prompt_ids")), expected.Length));
    }

    [Fact]
    public void MeanNegativeLogLikelihood()
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadAllBytes(TestData.Local("tiny/nll.json")));
        int[] ids = Ints(json.RootElement.GetProperty("ids"));
        using TinyEngine tiny = new();
        float[][] logits = tiny.Logits(ids);
        double mean = Enumerable.Range(1, ids.Length - 1).Average(i => Difference.LogSumExp(logits[i - 1]) - logits[i - 1][ids[i]]);
        Assert.Equal(json.RootElement.GetProperty("mean_nll").GetDouble(), mean, 1e-4);
    }

    /// <summary>float32 over decoded weights agrees to rounding; int8 activations move the logits a little (llama.cpp: 0.002 to 0.0055 on these files).</summary>
    [Theory]
    [MemberData(nameof(Quantised))]
    public void QuantisedFiles(string type, string tier)
    {
        if (tier != Tiers.AmxEmulated)
        {
            TinyEngine.SkipWhereMissing(tier);
        }

        (int[] tokens, int[] positions, float[][] expected) = GgufGoldens.Logits(type);
        using TinyEngine tiny = new(kernel: tier, path: GgufGoldens.File(type));
        float[][] actual = tiny.Logits(tokens);
        double mean = positions.Zip(expected).Average(pair => Difference.Divergence(pair.Second, actual[pair.First]));
        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {mean:g3}");
        Assert.InRange(mean, -1e-9, tier == "reference" ? 1e-6 : 0.01);
    }

    /// <summary>The bfloat16 checkpoint with the machine code of the tier avx512-bf16, interpreted: activations rounded to bfloat16 move the logits a little.</summary>
    [Fact]
    public void DotProductsOfBFloat16()
    {
        (int[] tokens, float[][] expected) = Expected(TestData.Local("tiny/expected.safetensors"));
        using TinyEngine tiny = new(wrap: reference =>
        {
            reference.Dispose();
            return Tiers.Create(Tiers.Interpreted);
        });
        // Enough for a batch by way of tiles.
        float[][] actual = tiny.Logits(tokens[..40]);
        double mean = expected.Zip(actual).Average(pair => Difference.Divergence(pair.First, pair.Second));
        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {mean:g3}");
        Assert.InRange(mean, 1e-9, 1e-3);
    }

    [Fact]
    public void PromptInChunksEqualsWhole()
    {
        int[] tokens = TinyEngine.Prompt(1, 150);
        float[][] whole = Logits(256);
        foreach (int chunk in (int[])[1, 7, 64])
        {
            Assert.InRange(Difference.Largest(whole, Logits(chunk)), 0, 1e-4f);
        }

        float[][] Logits(int chunk)
        {
            using TinyEngine tiny = new(TinyEngine.Exact with { PrefillChunk = chunk });
            return tiny.Logits(tokens);
        }
    }

    /// <summary>Keys and values of two bytes, or of about one, move the logits only a little.</summary>
    [Theory]
    [InlineData(GemmaKvCacheType.F16, 1e-5)]
    [InlineData(GemmaKvCacheType.BF16, 1e-4)]
    [InlineData(GemmaKvCacheType.Q8_0, 1e-3)]
    public void SmallerKeysAndValues(object type, double most)
    {
        (int[] tokens, float[][] expected) = Expected(TestData.Local("tiny/expected.safetensors"));
        using TinyEngine tiny = new(TinyEngine.Exact with { KvType = (GemmaKvCacheType)type });
        float[][] actual = tiny.Logits(tokens);
        double mean = expected.Zip(actual).Average(pair => Difference.Divergence(pair.First, pair.Second));
        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {mean:g3}");
        Assert.InRange(mean, 0, most);
    }

    /// <summary>On trained weights and the texts that they were trained for: Q8_0 against F16, mean KL over every position.</summary>
    [Fact]
    public void SmallerKeysAndValuesOnNano()
    {
        string path = ModelAliases.Find("nano", out _)!;
        using TinyEngine exact = new(TinyEngine.Exact with { KvType = GemmaKvCacheType.F16 }, kernel: null, path: path);
        using TinyEngine small = new(TinyEngine.Exact with { KvType = GemmaKvCacheType.Q8_0 }, kernel: null, path: path);
        using ModelFile file = ModelFile.Open(path);
        AI.Text.GemmaTokenizer tokenizer = file.CreateTokenizer();
        double sum = 0;
        int count = 0;
        for (int i = 0; i < 24; i++)
        {
            int[] tokens = NanoCorpus.Render(tokenizer, NanoCorpus.Draw(1, i, Split.HeldOut)).Tokens;
            foreach ((float[] expected, float[] actual) in exact.Logits(tokens).Zip(small.Logits(tokens)))
            {
                sum += Difference.Divergence(expected, actual);
                count++;
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {sum / count:g3} over {count} positions");
        Assert.True(count > 1000);
        Assert.InRange(sum / count, 1e-12, 0.002);
    }

    private static (int[] Tokens, float[][] Logits) Expected(string path)
    {
        using SafetensorsFile file = SafetensorsFile.Open(path);
        int[] tokens = file.ReadInt32s("tokens");
        float[] logits = file.ReadSingles("expected.logits");
        return (tokens, [.. logits.Chunk(logits.Length / tokens.Length)]);
    }

    private static int[] Ints(JsonElement array) => [.. array.EnumerateArray().Select(element => element.GetInt32())];
}
