using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Tests.Cli;
using Gemma.Extensions.AI.Tests.Engine;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Lora;

/// <summary><c>gemma convert --lora</c>.</summary>
public sealed class MergeTests : IDisposable
{
    private readonly TempDirectory _temp = new();
    private readonly ModelFile _base = ModelFile.Open(TestData.Local("tiny"));

    public void Dispose()
    {
        _base.Dispose();
        _temp.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task MergedFileEqualsTheMergedModelAndTheAdapter(bool gguf)
    {
        RandomAdapter random = new(_base.Config);
        string adapter = gguf ? random.WriteGguf(_temp.File("a.gguf")) : random.WritePeft(_temp.File("a")), output = _temp.File("merged.gguf");
        await Convert(TestData.Local("tiny"), "--lora", adapter, "--type", "f32", "--output", output);
        int[] tokens = TinyEngine.Prompt(3, 50);
        using TinyEngine merged = new(path: output);
        using TinyEngine expected = new(path: random.WriteMerged(_base, _temp.File("expected")));
        using TinyEngine tiny = new();
        float[][] logits = merged.Logits(tokens);
        Assert.InRange(Difference.Largest(expected.Logits(tokens), logits), 0, 1e-3f);
        Assert.InRange(Difference.Largest(tiny.Logits(tokens, adapter: tiny.Adapter(adapter)), logits), 0, 1e-3f);
    }

    /// <summary>A quantised base is decoded, updated and packed again; what the adapter does not touch stays as it was, byte for byte.</summary>
    [Fact]
    public async Task AQuantisedBaseTakesAnAdapterToo()
    {
        RandomAdapter random = new(_base.Config, targets: ["q_proj", "down_proj"]);
        string source = TestData.Local("gguf/tiny-Q8_0.gguf"), output = _temp.File("merged.gguf");
        await Convert(source, "--lora", random.WritePeft(_temp.File("a")), "--type", "Q8_0", "--output", output);
        using ModelFile before = ModelFile.Open(source), after = ModelFile.Open(output);
        int changed = 0;
        foreach (TensorView tensor in before.Tensors.Values.Where(tensor => tensor.Name.StartsWith("blk.", StringComparison.Ordinal)))
        {
            changed += Same(tensor, after.Tensors[tensor.Name]) ? 0 : 1;
        }

        Assert.Equal(2 * _base.Config.LayerCount, changed);
        int[] tokens = TinyEngine.Prompt(3, 50);
        using TinyEngine merged = new(path: output);
        using TinyEngine expected = new(path: random.WriteMerged(before, _temp.File("expected")));
        double divergence = merged.Logits(tokens).Zip(expected.Logits(tokens)).Average(pair => Difference.Divergence(pair.Second, pair.First));
        Assert.InRange(divergence, 0, 0.0035); // what Q8_0 costs this model (QuantizationTests)

        static unsafe bool Same(TensorView a, TensorView b) =>
            a.ByteLength == b.ByteLength && new ReadOnlySpan<byte>(a.Data, (int)a.ByteLength).SequenceEqual(new ReadOnlySpan<byte>(b.Data, (int)b.ByteLength));
    }

    [Fact]
    public async Task AnAdapterOfAnotherBaseLeavesNoFile()
    {
        string adapter = new RandomAdapter(_base.Config with { HiddenSize = 128 }).WritePeft(_temp.File("a")), output = _temp.File("merged.gguf");
        StringWriter error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(["convert", TestData.Local("tiny"), "--lora", adapter, "--output", output],
            new CliInvocation(interrupts) { Output = new StringWriter(), Error = error, Input = new StringReader(""), IsInteractive = false });
        Assert.Equal(1, exit);
        Assert.Contains("another base", error.ToString(), StringComparison.Ordinal);
        Assert.Single(Directory.GetFileSystemEntries(_temp.Path));
    }

    private static async Task Convert(params string[] arguments)
    {
        StringWriter output = new(), error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(["convert", .. arguments], new CliInvocation(interrupts) { Output = output, Error = error, Input = new StringReader(""), IsInteractive = false });
        Assert.True(exit == 0, error.ToString());
    }
}
