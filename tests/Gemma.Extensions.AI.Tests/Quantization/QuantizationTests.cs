using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Quantization;

public sealed class QuantizationTests(ITestOutputHelper output) : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    /// <summary>Divergence from gemma_pytorch's logits for the bf16 weights, in nats, that llama.cpp's quantiser leaves on this model.</summary>
    [Theory]
    [InlineData("Q8_0", 0.0035)]
    [InlineData("Q6_K", 0.038)]
    [InlineData("Q5_K_M", 0.102)]
    [InlineData("Q4_K_M", 0.31)]
    [InlineData("IQ4_XS", 0.41)]
    [InlineData("Q3_K_M", 0.77)]
    public void QuantisedModelsDivergeNoMoreThanLlamaCpps(string type, double limit)
    {
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        string path = _temp.File($"{type}.gguf");
        ModelConverter.Write(original, QuantizationRecipe.Get(type), path);
        double divergence = Divergence(path);
        output.WriteLine($"{type}: {divergence:F5} (limit {limit})");
        Assert.InRange(divergence, 0, limit);
    }

    [Fact]
    public void ConvertedCheckpointsGiveTheSameLogitsAndTokens()
    {
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        string path = _temp.File("tiny-bf16.gguf");
        List<ConversionProgress> seen = new();
        ModelConverter.Write(original, QuantizationRecipe.Get("bf16"), path, progress: new Listener(seen));
        Assert.Equal(original.Config.ParameterCount, seen[^1].DoneElements);
        Assert.Equal(46, seen.Select(p => p.Tensor).Distinct().Count());

        using ModelFile converted = ModelFile.Open(path);
        Assert.Equal(original.Config, converted.Config);
        Assert.Equal(original.GenerationDefaults.StopTokens, converted.GenerationDefaults.StopTokens);
        Assert.Equal("tiny", converted.Name);
        const string Text = "Hello <start_of_turn>user\n\n  héllo 日本\t🙂<end_of_turn>";
        Assert.Equal(original.CreateTokenizer().Encode(Text, matchSpecial: true), converted.CreateTokenizer().Encode(Text, matchSpecial: true));
        Assert.Equal(original.CreateTokenizer().Encode(Text, matchSpecial: false), converted.CreateTokenizer().Encode(Text, matchSpecial: false));
        int[] tokens = [.. Enumerable.Range(0, 40).Select(i => i * 7 % 1024)];
        float[][] expected = Logits(TestData.Local("tiny"), tokens), actual = Logits(path, tokens);
        Assert.All(expected.Zip(actual), rows => Assert.All(rows.First.Zip(rows.Second), pair => Assert.InRange(pair.First - pair.Second, -1e-6f, 1e-6f)));
        Assert.Equal([path], Directory.GetFiles(_temp.Path));
    }

    [Fact]
    public void QuantisingKeepsMetadata()
    {
        string path = _temp.File("q.gguf");
        using GgufModelFile source = (GgufModelFile)ModelFile.Open(TestData.Local("gguf/tiny-Q8_0.gguf"));
        ModelConverter.Write(source, QuantizationRecipe.Get("Q4_0"), path);
        using GgufModelFile result = (GgufModelFile)ModelFile.Open(path);
        Assert.Equal(2u, result.Metadata.GetInteger("general.file_type"));
        foreach (string key in source.Metadata.Values.Keys.Where(k => k is not "general.file_type" and not "general.quantization_version"))
        {
            Assert.True(source.Metadata.RawValue(key).SequenceEqual(result.Metadata.RawValue(key)), key);
        }
    }

    [Theory]
    [InlineData("Q2_K")]
    [InlineData("Q3_K_M")]
    [InlineData("Q4_0")]
    [InlineData("Q4_1")]
    [InlineData("Q5_0")]
    [InlineData("Q5_1")]
    [InlineData("Q4_K_M")]
    [InlineData("Q5_K_M")]
    [InlineData("Q6_K")]
    [InlineData("IQ4_NL")]
    [InlineData("IQ4_XS")]
    [InlineData("IQ3_S")]
    public void MixturesAreThoseOfLlamaCpp(string type)
    {
        using GgufModelFile file = (GgufModelFile)ModelFile.Open(GgufGoldens.File(type), checkScales: false);
        QuantizationRecipe recipe = QuantizationRecipe.Get(type);
        Assert.Equal(recipe.FileType, (uint)file.Metadata.GetInteger("general.file_type")!);
        Assert.All(file.Tensors.Values, tensor => Assert.Equal(tensor.Format, recipe.FormatOf(tensor.Name, tensor.Shape, file.Config)));
        Assert.Equal(file.Tensors.Values.Sum(t => t.ByteLength), recipe.Bytes(file.Config));
    }

    [Fact]
    public void RecipesDescendInSizeAndRowsThatDoNotFitGetSmallerBlocks()
    {
        GemmaConfig twoB = Size(26, 2304, 9216, 8, 4, 256);
        long[] sizes = [.. QuantizationRecipe.All.Select(r => r.Bytes(twoB))];
        Assert.Equal(sizes.OrderDescending(), sizes);
        Assert.InRange(QuantizationRecipe.Get("q4_k_m").Bytes(twoB), 1_700_000_000, 1_710_000_000); // published files of this type have 1.71 GB with their metadata
        Assert.Equal(TensorType.Q5_0, QuantizationRecipe.Get("Q4_K_S").FormatOf("blk.5.attn_q.weight", [64, 96], twoB).Type);
        Assert.Equal(TensorType.F16, QuantizationRecipe.Get("Q2_K").FormatOf("blk.5.attn_q.weight", [64, 40], twoB).Type);
        Assert.Contains("Q4_K_M", Assert.Throws<ArgumentException>(() => QuantizationRecipe.Get("Q4_K_XXL")).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void TheGuidesTableOfFilesIsTheComputedOne()
    {
        string guide = File.ReadAllText(Path.Combine(TestData.Repository, "src", "docs", "models.md"));
        string readme = File.ReadAllText(Path.Combine(TestData.Repository, "README.md"));
        (string, GemmaConfig)[] sizes = [("2B", Size(26, 2304, 9216, 8, 4, 256)), ("9B", Size(42, 3584, 14336, 16, 8, 256)), ("27B", Size(46, 4608, 36864, 32, 16, 128))];
        foreach ((string size, GemmaConfig config) in sizes)
        {
            foreach (string type in (string[])["BF16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M"])
            {
                long bytes = QuantizationRecipe.Get(type).Bytes(config);
                long needed = MemoryAdvice.For(config, bytes, 8192, GemmaKvCacheType.F16).NeededBytes;
                Assert.Contains($"| {size} | {type} | {bytes / 1e9:F1} GB | {needed / 1e9:F1} GB | {1e9 / bytes:F2} |", guide, StringComparison.Ordinal);
                if (type == "Q4_K_M")
                {
                    Assert.Contains($"| {size} | {bytes / 1e9:F1} GB | {needed / 1e9:F1} GB | {1e9 / bytes:F2} |", readme, StringComparison.Ordinal);
                }
            }
        }
    }

    [Fact]
    public void TheGuidesTableOfTypesIsTheOneOfTheCode()
    {
        string guide = File.ReadAllText(Path.Combine(TestData.Repository, "src", "docs", "models.md"));
        Assert.Contains($"| read and written | {string.Join(", ", BlockFormat.All.Where(format => format.CanEncode))} |", guide, StringComparison.Ordinal);
        Assert.Contains($"| read | {string.Join(", ", BlockFormat.All.Where(format => !format.CanEncode))} |", guide, StringComparison.Ordinal);
        Assert.False(BlockFormat.TryGet("NVFP4", out _));
        Assert.All(QuantizationRecipe.All, recipe => Assert.True(recipe.Default.CanEncode));
    }

    [Fact]
    public void ACancelledConversionLeavesNothing()
    {
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        using CancellationTokenSource source = new();
        List<ConversionProgress> seen = new();
        Listener stop = new(seen, () =>
        {
            if (seen.Count == 5)
            {
                source.Cancel();
            }
        });
        Assert.Throws<OperationCanceledException>(() => ModelConverter.Write(original, QuantizationRecipe.Get("Q6_K"), _temp.File("x.gguf"), progress: stop, cancellationToken: source.Token));
        Assert.Empty(Directory.GetFiles(_temp.Path));
    }

    [Fact]
    public void TheSourceIsNotOverwrittenThroughALink()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Links need rights on Windows.");
        string real = _temp.File("real.gguf"), link = _temp.File("link.gguf");
        File.Copy(TestData.Local("gguf/tiny-Q8_0.gguf"), real);
        File.CreateSymbolicLink(link, real);
        foreach ((string input, string target) in (ReadOnlySpan<(string, string)>)[(link, real), (real, link)])
        {
            using ModelFile source = ModelFile.Open(input);
            Assert.Contains("being read", Assert.Throws<ArgumentException>(() => ModelConverter.Write(source, QuantizationRecipe.Get("Q4_0"), target)).Message, StringComparison.Ordinal);
        }

        Assert.Equal(File.ReadAllBytes(TestData.Local("gguf/tiny-Q8_0.gguf")), File.ReadAllBytes(real));
    }

    /// <summary>Two conversions to one path: the second is refused and does not take the first one's file away.</summary>
    [Fact]
    public void TwoConversionsToOnePathDoNotHarmEachOther()
    {
        using ModelFile source = ModelFile.Open(TestData.Local("tiny"));
        Exception? second = null;
        bool begun = false;
        string path = _temp.File("x.gguf");
        ModelConverter.Write(source, QuantizationRecipe.Get("Q8_0"), path, progress: new Listener([], () =>
        {
            if (!begun)
            {
                begun = true;
                second = Record.Exception(() => ModelConverter.Write(source, QuantizationRecipe.Get("Q8_0"), path));
            }
        }));
        Assert.IsType<IOException>(second);
        using ModelFile written = ModelFile.Open(path);
        Assert.Equal([path], Directory.GetFiles(_temp.Path));
    }

    [Fact]
    public void WeightsThatATypeCannotStoreAreRefused()
    {
        GgufWriter writer = Files.SyntheticModel.Gguf((n, s) => n == "blk.0.ffn_up.weight" ? null : s, BlockFormat.Get(TensorType.BF16));
        writer.Add("blk.0.ffn_up.weight", BlockFormat.Get(TensorType.F32), [64, 32], s => s.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(Enumerable.Repeat(1e30f, 64 * 32).ToArray().AsSpan())));
        writer.Save(_temp.File("big.gguf"));
        using ModelFile source = ModelFile.Open(_temp.File("big.gguf"));
        GemmaModelFormatException e = Assert.Throws<GemmaModelFormatException>(() => ModelConverter.Write(source, QuantizationRecipe.Get("F16"), _temp.File("x.gguf")));
        Assert.Contains("blk.0.ffn_up.weight", e.Message, StringComparison.Ordinal);
        Assert.Throws<GemmaModelFormatException>(() => ModelConverter.Write(source, QuantizationRecipe.Get("Q8_0"), _temp.File("x.gguf")));
        Assert.False(File.Exists(_temp.File("x.gguf.partial")));
        Assert.Throws<ArgumentException>(() => ModelConverter.Write(source, QuantizationRecipe.Get("F16"), _temp.File("big.gguf")));
    }

    private static GemmaConfig Size(int layers, int hidden, int feedForward, int heads, int kvHeads, int headDim) => new()
    {
        VocabularySize = 256000, HiddenSize = hidden, FeedForwardSize = feedForward, LayerCount = layers, HeadCount = heads, KvHeadCount = kvHeads, HeadDim = headDim,
        ContextLength = 8192, SlidingWindow = 4096, RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 1 / MathF.Sqrt(headDim), AttentionSoftcap = 50, FinalSoftcap = 30,
    };

    private static double Divergence(string path)
    {
        using SafetensorsFile golden = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = golden.ReadInt32s("tokens");
        float[] expected = golden.ReadSingles("expected.logits");
        float[][] actual = Logits(path, tokens);
        return actual.Select((row, i) => Kl(expected.AsSpan(i * row.Length, row.Length), row)).Average();
    }

    private static float[][] Logits(string path, int[] tokens)
    {
        using ModelFile file = ModelFile.Open(path);
        using CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Kernel = "reference" });
        using GemmaEngine engine = new(file.Config, GemmaWeights.Load(file, backend), backend, new EngineOptions { KvType = GemmaKvCacheType.F32, KvCacheBytes = 16 << 20 });
        Rows rows = new();
        engine.EvaluateAsync(tokens, rows).GetAwaiter().GetResult();
        return [.. rows.Values];
    }

    private static double Kl(ReadOnlySpan<float> expected, ReadOnlySpan<float> actual)
    {
        double a = LogSumExp(expected), b = LogSumExp(actual), sum = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            sum += Math.Exp(expected[i] - a) * (expected[i] - a - (actual[i] - b));
        }

        return sum;
    }

    private static double LogSumExp(ReadOnlySpan<float> values)
    {
        double sum = 0;
        foreach (float value in values)
        {
            sum += Math.Exp(value);
        }

        return Math.Log(sum);
    }

    private sealed class Listener(List<ConversionProgress> seen, Action? then = null) : IProgress<ConversionProgress>
    {
        public void Report(ConversionProgress value)
        {
            seen.Add(value);
            then?.Invoke();
        }
    }

    private sealed class Rows : RowReader
    {
        public List<float[]> Values { get; } = [];
        public override int FirstPosition => 0;
        public override bool WantsHidden => false;
        public override void OnRow(int position, ReadOnlySpan<float> values) => Values.Add(values.ToArray());
    }
}
