using Gemma.Extensions.AI.Backends.Cpu;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Lora;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>
/// Checkpoints with a head beside the embedding. The oracle is gemma_pytorch's: a head that is the embedding upside down gives its logits upside down.
/// </summary>
public sealed class OutputHeadTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Fact]
    public void AHeadOfItsOwnGivesTheLogits()
    {
        string path = TinyCheckpoint.WriteUntied(_temp.File("untied"));
        using (ModelFile file = ModelFile.Open(path))
        {
            Assert.Equal(OutputHead.Own, file.Config.Head);
            Assert.Empty(file.Warnings);
            Assert.Equal(file.Config.ParameterCount, file.Tensors.Values.Sum(t => t.ElementCount));
        }

        CheckReversed(path);
    }

    /// <summary>In GGUF it is output.weight, of llama.cpp's type for it; the embedding, no head any more, is of the file's own type.</summary>
    [Theory]
    [InlineData("F32", "F32", "F32", 1e-6)]
    [InlineData("F16", "F16", "F16", 1e-4)]
    [InlineData("Q8_0", "Q8_0", "Q8_0", 0.0035)]
    [InlineData("Q5_K_M", "Q6_K", "Q5_K", 0.15)]
    [InlineData("Q4_K_S", "Q6_K", "Q4_K", 0.6)]
    [InlineData("Q2_K", "Q6_K", "Q2_K", 3)]
    public void ConvertedItStaysTheHead(string type, string head, string embedding, double mostDivergence)
    {
        string output = _temp.File("model.gguf");
        QuantizationRecipe recipe = QuantizationRecipe.Get(type);
        using (ModelFile file = ModelFile.Open(TinyCheckpoint.WriteUntied(_temp.File("untied"))))
        {
            Assert.True(ModelConverter.IsForThisEngineOnly(file));
            ModelConverter.Write(file, recipe, output, threads: 1);
        }

        using (ModelFile file = ModelFile.Open(output))
        {
            Assert.Equal(OutputHead.Own, file.Config.Head);
            Assert.Equal(head, file.Tensors["output.weight"].Format.Name);
            Assert.Equal(embedding, file.Tensors["token_embd.weight"].Format.Name);
            Assert.Equal(recipe.Bytes(file.Config), file.Tensors.Values.Sum(t => t.ByteLength)); // what memory advice counts with
            string again = _temp.File("again.gguf");
            ModelConverter.Write(file, QuantizationRecipe.Get("F32"), again, threads: 1);
            using ModelFile second = ModelFile.Open(again);
            Assert.Equal(file.Config, second.Config);
        }

        (int[] tokens, float[][] expected) = TinyCheckpoint.Expected();
        using TinyEngine engine = new(path: output);
        double divergence = Reversed(expected).Zip(engine.Logits(tokens)).Average(pair => Difference.Divergence(pair.First, pair.Second));
        TestContext.Current.TestOutputHelper?.WriteLine($"KL {divergence:0.0000}");
        Assert.InRange(divergence, -1e-6, mostDivergence); // as for a tied model (QuantizationTests)
    }

    [Theory]
    [InlineData(null)]
    [InlineData(true)]
    public void AStrayHeadThatIsTheEmbeddingIsIgnored(bool? tied)
    {
        string path = WriteWithHead(TinyCheckpoint.Embedding(), tied);
        using ModelFile file = ModelFile.Open(path), reference = ModelFile.Open(TestData.Local("tiny"));
        Assert.Equal(reference.Config, file.Config);
        Assert.Equal(reference.Tensors.Keys.Order(), file.Tensors.Keys.Order());
        Assert.Empty(file.Warnings);
        Assert.Equal(GemmaWeights.FingerprintOf(reference), GemmaWeights.FingerprintOf(file));
    }

    /// <summary>transformers 5 does not tie a head that is there and differs.</summary>
    [Theory]
    [InlineData(null)]
    [InlineData(true)]
    public void AStrayHeadThatDiffersIsUsedAndNamed(bool? tied)
    {
        string path = WriteWithHead(TinyCheckpoint.Reversed(), tied);
        using (ModelFile file = ModelFile.Open(path))
        {
            Assert.Contains("lm_head.weight", Assert.Single(file.Warnings), StringComparison.Ordinal);
        }

        CheckReversed(path);
    }

    /// <summary>A single row decides: the comparison must not stop early.</summary>
    [Fact]
    public void AHeadThatDiffersInOneNumberIsAHead()
    {
        float[] head = TinyCheckpoint.Embedding();
        head[^1] += 1;
        using ModelFile file = ModelFile.Open(WriteWithHead(head, null));
        Assert.Equal(OutputHead.Own, file.Config.Head);
    }

    [Fact]
    public void AStatedHeadThatEqualsTheEmbeddingIsNotStoredTwice()
    {
        string output = _temp.File("model.gguf");
        using (ModelFile file = ModelFile.Open(WriteWithHead(TinyCheckpoint.Embedding(), false)))
        {
            Assert.Equal(OutputHead.Own, file.Config.Head); // trained apart from now on
            Assert.False(ModelConverter.IsForThisEngineOnly(file));
            ModelConverter.Write(file, QuantizationRecipe.Get("F32"), output, threads: 1);
        }

        using ModelFile converted = ModelFile.Open(output);
        Assert.Equal(OutputHead.Tied, converted.Config.Head);
        Assert.DoesNotContain("output.weight", converted.Tensors.Keys);
        (int[] tokens, float[][] expected) = TinyCheckpoint.Expected();
        using TinyEngine engine = new(path: output);
        Assert.InRange(Difference.Largest(expected, engine.Logits(tokens)), 0, 1e-3f);
    }

    [Fact]
    public void AStatedHeadThatIsNotThereIsRefused()
    {
        TinyCheckpoint.Write(_temp.File("m"), json => json["tie_word_embeddings"] = false);
        string message = Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(_temp.File("m"))).Message;
        Assert.Contains("lm_head.weight", message, StringComparison.Ordinal);
        Assert.Contains("tie_word_embeddings", message, StringComparison.Ordinal);
    }

    [Fact]
    public void AHeadOfAnotherShapeIsRefused()
    {
        TinyCheckpoint.Write(_temp.File("m"), null, new Dictionary<string, (long[], float[])> { ["lm_head.weight"] = ([4, TinyCheckpoint.Hidden], new float[4 * TinyCheckpoint.Hidden]) });
        Assert.Contains("[4, 256]", Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(_temp.File("m"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AdaptersRunOverItAndMergeIntoIt()
    {
        string path = TinyCheckpoint.WriteUntied(_temp.File("untied")), output = _temp.File("merged.gguf");
        int[] tokens = TinyEngine.Prompt(3, 40);
        using ModelFile file = ModelFile.Open(path);
        RandomAdapter random = new(file.Config);
        string adapter = random.WritePeft(_temp.File("adapter"));
        using (LoraFile lora = LoraFile.Open(adapter))
        {
            ModelConverter.Write(file, QuantizationRecipe.Get("F32"), output, threads: 1, adapter: lora);
        }

        using TinyEngine expected = new(path: random.WriteMerged(file, _temp.File("expected")));
        using TinyEngine merged = new(path: output);
        using TinyEngine untied = new(path: path);
        float[][] right = expected.Logits(tokens);
        Assert.InRange(Difference.Largest(right, merged.Logits(tokens)), 0, 1e-3f);
        Assert.InRange(Difference.Largest(right, untied.Logits(tokens, adapter: untied.Adapter(adapter))), 0, 1e-3f);
        Assert.True(Difference.Largest(right, untied.Logits(tokens)) > 0.1f);
    }

    /// <summary>What the head is multiplied with is collected for the head, not for the embedding, which nothing is multiplied with.</summary>
    [Fact]
    public async Task ImportanceIsThatOfTheHead()
    {
        using ModelFile file = ModelFile.Open(TinyCheckpoint.WriteUntied(_temp.File("untied")));
        using ImportanceCollector collector = new(CpuBackend.Create(new CpuBackendOptions { Kernel = "reference", Threads = 1 }));
        using (GemmaEngine engine = new(file.Config, GemmaWeights.Load(file, collector), collector, TinyEngine.Exact))
        {
            await engine.EvaluateAsync(TinyEngine.Prompt(3, 20), new Everything(), TestContext.Current.CancellationToken);
        }

        Assert.Equal(TinyCheckpoint.Hidden, collector.Matrix.For("output.weight")!.Length);
        Assert.Null(collector.Matrix.For("token_embd.weight"));
        collector.Matrix.Check(file.Config);
        ModelConverter.Write(file, QuantizationRecipe.Get("Q4_K_M"), _temp.File("q.gguf"), collector.Matrix, threads: 1);
    }

    /// <summary>The training's forward pass is another implementation of the model.</summary>
    [Fact]
    public void TrainingReadsIt()
    {
        (int[] tokens, float[][] expected) = TinyCheckpoint.Expected();
        using ModelFile file = ModelFile.Open(TinyCheckpoint.WriteUntied(_temp.File("untied")));
        float[][] logits = [.. new GemmaBackprop(ModelDirectory.Load(file), tokens.Length, tokens.Length).Logits(new PackedBatch([new TrainingDocument(tokens)])).Chunk(TinyCheckpoint.Vocabulary)];
        Assert.InRange(Difference.Largest(Reversed(expected), logits), 0, 1e-3f);
    }

    private static float[][] Reversed(float[][] logits) => [.. logits.Select(row => row.Reverse().ToArray())];

    private static void CheckReversed(string path)
    {
        (int[] tokens, float[][] expected) = TinyCheckpoint.Expected();
        using TinyEngine engine = new(path: path);
        Assert.InRange(Difference.Largest(Reversed(expected), engine.Logits(tokens)), 0, 1e-3f);
    }

    private string WriteWithHead(float[] head, bool? tied) => TinyCheckpoint.Write(
        _temp.File("m"),
        json =>
        {
            if (tied is not null)
            {
                json["tie_word_embeddings"] = tied;
            }
        },
        new Dictionary<string, (long[], float[])> { ["lm_head.weight"] = ([TinyCheckpoint.Vocabulary, TinyCheckpoint.Hidden], head) });

    private sealed class Everything : RowReader
    {
        public override int FirstPosition => 0;

        public override bool WantsHidden => false;

        public override void OnRow(int position, ReadOnlySpan<float> values)
        {
        }
    }
}
