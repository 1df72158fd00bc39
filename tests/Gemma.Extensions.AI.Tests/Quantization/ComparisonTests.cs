using System.Text;
using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Engine;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Quantization;

public sealed class ComparisonTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Fact]
    public async Task AModelEqualsItselfAndAQuantisedOneIsNearer()
    {
        int[][] windows = [TinyEngine.Prompt(1, 64), TinyEngine.Prompt(2, 64), TinyEngine.Prompt(3, 20)];
        using TinyEngine exact = new();
        using TinyEngine same = new();
        using TinyEngine q8 = new(path: TestData.Local("gguf/tiny-Q8_0.gguf"));
        using TinyEngine q2 = new(path: TestData.Local("gguf/tiny-Q2_K.gguf"));
        ModelComparison self = await ModelComparison.RunAsync(exact.Engine, same.Engine, windows);
        Assert.Equal(63 + 63 + 19, self.Tokens);
        Assert.Equal(1, self.SameTop);
        Assert.InRange(self.MaxDivergence, 0, 1e-9);
        Assert.Equal(self.PerplexityA, self.PerplexityB, 6);
        ModelComparison near = await ModelComparison.RunAsync(exact.Engine, q8.Engine, windows), far = await ModelComparison.RunAsync(exact.Engine, q2.Engine, windows);
        Assert.Equal(self.PerplexityA, near.PerplexityA, 6);
        Assert.True(near.MeanDivergence < far.MeanDivergence && near.SameTop > far.SameTop);
        Assert.True(near.MeanDivergence <= near.Divergence99 && near.Divergence99 <= near.MaxDivergence);
    }

    [Fact]
    public async Task AnImportanceMatrixSurvivesItsFileAndLowersTheDivergence()
    {
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        ImportanceMatrix matrix = await Importance(original);
        Assert.Equal(29, matrix.Names.Count);
        matrix.Save(_temp.File("imatrix.gguf"), "random ids", 10, 200);
        using (GgufFile written = GgufFile.Open(_temp.File("imatrix.gguf")))
        {
            Assert.Equal((10L, 200L, "random ids"), (written.Metadata.GetInteger("imatrix.chunk_count"), written.Metadata.GetInteger("imatrix.chunk_size"), Encoding.UTF8.GetString(written.Metadata.GetStrings("imatrix.datasets")!.Single())));
            Assert.Equal((GgufType.UInt32, GgufType.UInt32), (written.Metadata.Values["imatrix.chunk_count"].Type, written.Metadata.Values["imatrix.chunk_size"].Type)); // llama.cpp ends on another type
        }

        ImportanceMatrix loaded = ImportanceMatrix.Load(_temp.File("imatrix.gguf"));
        foreach (string name in matrix.Names)
        {
            Assert.Equal(matrix.For(name), loaded.For(name));
        }

        // q, k and v read the same input.
        Assert.Equal(loaded.For("blk.1.attn_q.weight"), loaded.For("blk.1.attn_v.weight"));
        Assert.NotEqual(loaded.For("blk.1.attn_q.weight"), loaded.For("blk.2.attn_q.weight"));
        ModelConverter.Write(original, QuantizationRecipe.Get("Q2_K"), _temp.File("with.gguf"), loaded);
        ModelConverter.Write(original, QuantizationRecipe.Get("Q2_K"), _temp.File("without.gguf"));
        using TinyEngine exact = new();
        using TinyEngine with = new(path: _temp.File("with.gguf"));
        using TinyEngine without = new(path: _temp.File("without.gguf"));
        int[][] windows = [.. Enumerable.Range(30, 4).Select(seed => TinyEngine.Prompt(seed, 200))];
        double better = (await ModelComparison.RunAsync(exact.Engine, with.Engine, windows)).MeanDivergence, plain = (await ModelComparison.RunAsync(exact.Engine, without.Engine, windows)).MeanDivergence;
        Assert.True(better < plain, $"{better} with, {plain} without");
    }

    [Fact]
    public void WrongImportanceMatricesAreRejected()
    {
        Assert.Contains("no importance matrix", Assert.Throws<GemmaModelFormatException>(() => ImportanceMatrix.Load(TestData.Local("gguf/tiny-Q4_0.gguf"))).Message, StringComparison.Ordinal);
        ImportanceMatrix matrix = new();
        matrix.Add("blk.0.attn_q.weight", new float[99]);
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        Assert.Contains("99", Assert.Throws<GemmaModelFormatException>(() => ModelConverter.Write(original, QuantizationRecipe.Get("Q4_K_M"), _temp.File("x.gguf"), matrix)).Message, StringComparison.Ordinal);
        Assert.Throws<GemmaModelFormatException>(() => new ImportanceMatrix().Check(original.Config));
    }

    /// <summary>The same mixture as a file that llama.cpp's quantiser made with an importance matrix of its own.</summary>
    [Fact]
    public async Task EntriesOfACodebookDivergeNoMoreThanLlamaCpps()
    {
        string theirs = GgufGoldens.File("IQ3_S");
        using ModelFile original = ModelFile.Open(TestData.Local("tiny"));
        ModelConverter.Write(original, QuantizationRecipe.Get("IQ3_S"), _temp.File("IQ3_S.gguf"), await Importance(original));
        int[][] windows = [TinyEngine.Prompt(1, 200), TinyEngine.Prompt(2, 200), TinyEngine.Prompt(3, 200)];
        using TinyEngine exact = new();
        using TinyEngine mine = new(path: _temp.File("IQ3_S.gguf"));
        using TinyEngine llama = new(path: theirs);
        double own = (await ModelComparison.RunAsync(exact.Engine, mine.Engine, windows)).MeanDivergence, other = (await ModelComparison.RunAsync(exact.Engine, llama.Engine, windows)).MeanDivergence;
        TestContext.Current.TestOutputHelper?.WriteLine($"mean KL {own:F4}, llama.cpp's {other:F4}");
        Assert.True(own <= other, $"{own} against {other}");
    }

    private static async Task<ImportanceMatrix> Importance(ModelFile original)
    {
        using CpuBackend backend = CpuBackend.Create(new CpuBackendOptions { Kernel = "reference", Threads = 1 });
        using ImportanceCollector collector = new(backend);
        using GemmaEngine engine = new(original.Config, GemmaWeights.Load(original, collector), collector, new EngineOptions { KvType = GemmaKvCacheType.F32, KvCacheBytes = 16 << 20, PrefixCache = false });
        Ignore ignore = new();
        for (int seed = 10; seed < 20; seed++)
        {
            await engine.EvaluateAsync(TinyEngine.Prompt(seed, 200), ignore);
        }

        return collector.Matrix;
    }

    [Fact]
    public void MemoryAdviceNamesTheLargestTypeThatFits()
    {
        GemmaConfig config = new()
        {
            VocabularySize = 256000, HiddenSize = 3584, FeedForwardSize = 14336, LayerCount = 42, HeadCount = 16, KvHeadCount = 8, HeadDim = 256,
            ContextLength = 8192, SlidingWindow = 4096, RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 1 / 16f, AttentionSoftcap = 50, FinalSoftcap = 30,
        };
        long bf16 = QuantizationRecipe.Get("BF16").Bytes(config);
        MemoryAdvice advice = MemoryAdvice.For(config, bf16, 8192, GemmaKvCacheType.F16, Machine(8_000_000_000));

        // 21 local layers of 4,096 tokens and 21 global ones of 8,192; 8 heads of 256 float16 keys and as many values.
        Assert.Equal(21L * (4096 + 8192) * 8 * 256 * 2 * 2, advice.KvBytes);
        Assert.False(advice.Fits);
        QuantizationRecipe fits = advice.LargestThatFits(config)!;
        Assert.True(fits.Bytes(config) + advice.KvBytes + advice.ActivationBytes <= 8_000_000_000);
        Assert.Contains($"Take it as {fits.Name}", Assert.Throws<GemmaMemoryException>(() => advice.ThrowIfTooLarge("m", config)).Message, StringComparison.Ordinal);
        Assert.Contains("smaller model", Assert.Throws<GemmaMemoryException>(() => (advice with { Machine = Machine(1_000_000_000) }).ThrowIfTooLarge("m", config)).Message, StringComparison.Ordinal);
        MemoryAdvice roomy = advice with { Machine = Machine(64_000_000_000) };
        roomy.ThrowIfTooLarge("m", config);
        Assert.Equal(KvLayoutBytes(GemmaKvCacheType.Q8_0), MemoryAdvice.For(config, bf16, 8192, GemmaKvCacheType.Q8_0, Machine(1)).KvBytes);

        static MachineMemory Machine(long bytes) => new(bytes, bytes, IsContainer: false);

        static long KvLayoutBytes(GemmaKvCacheType type) => 2L * 21 * (4096 + 8192) * 8 * new KvLayout(1, 8, 256, 1, type).RowBytes;
    }

    private sealed class Ignore : RowReader
    {
        public override int FirstPosition => 0;
        public override bool WantsHidden => false;
        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
        }
    }
}
