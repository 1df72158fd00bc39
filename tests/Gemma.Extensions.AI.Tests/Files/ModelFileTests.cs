using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Formats;
using Gemma.Extensions.AI.Model;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

public sealed class ModelFileTests
{
    [Theory]
    [InlineData("tiny")]
    [InlineData("tiny/config.json")]
    [InlineData("tiny/model.safetensors.index.json")]
    [InlineData("tiny/model-00002-of-00002.safetensors")]
    [InlineData("gguf/tiny-Q4_K_M.gguf")]
    public void EveryNumberComesFromTheFile(string path)
    {
        using ModelFile file = ModelFile.Open(TestData.Local(path));
        Assert.Equal(new GemmaConfig
        {
            VocabularySize = 1024, HiddenSize = 256, FeedForwardSize = 512, LayerCount = 4, HeadCount = 4, KvHeadCount = 2, HeadDim = 64,
            ContextLength = 512, SlidingWindow = 16, RmsNormEpsilon = 1e-6f, RopeBase = 10000, QueryScale = 0.125f, AttentionSoftcap = 5, FinalSoftcap = 8,
        }, file.Config);
        Assert.Equal([1, 9], file.GenerationDefaults.StopTokens);
        Assert.Equal(46, file.Tensors.Count);
        Assert.Equal(file.Config.ParameterCount, file.Tensors.Values.Sum(t => t.ElementCount));
        Assert.Equal(path.StartsWith("gguf", StringComparison.Ordinal), file.NormsIncludeOne);
        Assert.Equal([1024, 256], file.Tensors["token_embd.weight"].Shape);
    }

    /// <summary>A checkpoint's own nonsense is not blamed on each caller.</summary>
    [Theory]
    [InlineData("\"top_p\": 1.5", "top_p is 1.5")]
    [InlineData("\"top_p\": -0.1", "top_p is -0.1")]
    [InlineData("\"top_k\": -1", "top_k is -1")]
    [InlineData("\"temperature\": -2", "temperature is -2")]
    [InlineData("\"temperature\": 1e30", "temperature is 1E+30")]
    [InlineData("\"temperature\": 1e39", "temperature is Infinity")]
    [InlineData("\"top_p\": 1.0000001", "top_p is 1.0000001")]
    [InlineData("\"top_p\": -1e300", "top_p is -Infinity")]
    [InlineData("\"top_k\": -2147483647", "top_k is -2147483647")]
    public async Task UnusableDefaultsAreIgnoredAndNamed(string entry, string named)
    {
        using TempDirectory temp = new();
        foreach (string path in Directory.EnumerateFiles(TestData.Local("tiny")))
        {
            File.Copy(path, temp.File(Path.GetFileName(path)));
        }

        File.WriteAllText(temp.File("generation_config.json"), $"{{ \"eos_token_id\": [1, 9], {entry} }}");
        using (ModelFile file = ModelFile.Open(temp.Path))
        {
            Assert.Equal(new GenerationDefaults { StopTokens = file.GenerationDefaults.StopTokens }, file.GenerationDefaults);
            Assert.StartsWith(named, Assert.Single(file.Warnings), StringComparison.Ordinal);
            Assert.Contains("generation_config.json", file.Warnings[0], StringComparison.Ordinal);
        }

        using GemmaModel model = GemmaModel.Load(temp.Path);
        Assert.NotNull((await model.CompleteAsync("a", new() { MaxOutputTokens = 1 }, TestContext.Current.CancellationToken)).FinishReason);
    }

    /// <summary>What is no number at all is said when the model is opened, with the file and the field.</summary>
    [Theory]
    [InlineData("\"top_p\": \"0.9\"", "'top_p' is \"0.9\"")]
    [InlineData("\"top_p\": [0.5]", "'top_p' is [0.5]")]
    [InlineData("\"top_p\": {}", "'top_p' is {}")]
    [InlineData("\"temperature\": true", "'temperature' is true")]
    [InlineData("\"temperature\": 1e999", "'temperature' is 1e999")]
    [InlineData("\"top_k\": 1.5", "'top_k' is 1.5")]
    [InlineData("\"top_k\": 1e99", "'top_k' is 1e99")]
    [InlineData("\"top_k\": [40]", "'top_k' is [40]")]
    [InlineData("\"eos_token_id\": \"<eos>\"", "'eos_token_id' is \"<eos>\"")]
    [InlineData("\"eos_token_id\": [[1]]", "'eos_token_id' is [1]")]
    [InlineData("\"eos_token_id\": 1.5", "'eos_token_id' is 1.5")]
    [InlineData("\"temperature\": NaN", "is not valid JSON")]
    [InlineData("\"top_p\": -Infinity", "is not valid JSON")]
    public void DefaultsOfAnotherTypeAreRefusedWhenTheModelIsOpened(string entry, string named)
    {
        using TempDirectory temp = new();
        foreach (string path in Directory.EnumerateFiles(TestData.Local("tiny")))
        {
            File.Copy(path, temp.File(Path.GetFileName(path)));
        }

        File.WriteAllText(temp.File("generation_config.json"), $"{{ {entry} }}");
        string message = Assert.Throws<GemmaModelFormatException>(() => ModelFile.Open(temp.Path)).Message;
        Assert.Contains(named, message, StringComparison.Ordinal);
        Assert.Contains("generation_config.json", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(-1f, "-1")]
    [InlineData(float.NaN, "NaN")]
    [InlineData(float.PositiveInfinity, "Infinity")]
    [InlineData(101f, "101")]
    public void UnusableDefaultsOfAGgufFileToo(float temperature, string named)
    {
        using TempDirectory temp = new();
        GgufWriter writer = SyntheticModel.Gguf();
        writer.Set("general.sampling.temp", temperature);
        File.WriteAllBytes(temp.File("m.gguf"), writer.ToBytes());
        using ModelFile file = ModelFile.Open(temp.File("m.gguf"));
        Assert.Null(file.GenerationDefaults.Temperature);
        Assert.StartsWith("temperature is " + named, Assert.Single(file.Warnings), StringComparison.Ordinal);
    }

    /// <summary>Gigabytes from a cold disk take a while: who does not want them any more need not wait.</summary>
    [Fact]
    public void ReadingCanBeGivenUp()
    {
        CancellationToken cancelled = new(canceled: true);
        Assert.ThrowsAny<OperationCanceledException>(() => ModelFile.Open(TestData.Local("tiny"), cancellationToken: cancelled));
        Assert.ThrowsAny<OperationCanceledException>(() => GemmaModel.LoadUnlessCancelled(TestData.Local("gguf/tiny-Q8_0.gguf"), null, cancelled));
    }

    [Fact]
    public void NamesMapBothWays()
    {
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"), checkScales: false);
        Assert.Equal("tiny", file.Name);
        foreach (string name in file.Tensors.Keys)
        {
            Assert.Equal(name, GemmaTensors.FromHuggingFace(GemmaTensors.ToHuggingFace(name)));
        }

        foreach (string name in (string[])["output.weight", "cls.output.weight"])
        {
            Assert.Equal(name, GemmaTensors.FromHuggingFace(GemmaTensors.ToHuggingFace(name)));
        }

        Assert.Null(GemmaTensors.FromHuggingFace("model.lm_head.weight"));
        Assert.Equal("token_embd.weight", GemmaTensors.FromHuggingFace("embed_tokens.weight"));
    }

    [Theory]
    [InlineData("Hello world, this is a test.\n\n  Two spaces\tand <start_of_turn>user")]
    [InlineData("äöü 日本語 🙂 \u0000 1234567890")]
    public void TokenizersOfAllThreeKindsGiveTheSameIds(string text)
    {
        using ModelFile gguf = ModelFile.Open(TestData.Local("gguf/tiny-Q4_0.gguf"));
        using ModelFile directory = ModelFile.Open(TestData.Local("tiny"));
        using TempDirectory temp = new();
        foreach (string file in Directory.GetFiles(TestData.Local("tiny")).Where(f => !f.EndsWith("tokenizer.model", StringComparison.Ordinal)))
        {
            File.Copy(file, temp.File(Path.GetFileName(file)));
        }

        using ModelFile json = ModelFile.Open(temp.Path);
        int[] expected = directory.CreateTokenizer().Encode(text, matchSpecial: true);
        Assert.Equal(expected, gguf.CreateTokenizer().Encode(text, matchSpecial: true));
        Assert.Equal(expected, json.CreateTokenizer().Encode(text, matchSpecial: true));
        File.Delete(temp.File("tokenizer.json"));
        Assert.Contains("tokenizer.json", Assert.Throws<GemmaModelFormatException>(json.CreateTokenizer).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void SafetensorsSurviveARoundTrip()
    {
        using TempDirectory temp = new();
        string path = temp.File("x.safetensors");
        SafetensorsWriter writer = new() { Metadata = { ["source"] = "a \"test\"" } };
        writer.AddSingles("a", [2, 3], new float[] { 1, 2, 3, 4, 5, -6.5f });
        writer.AddInt32s("ids", [4], new[] { 1, -2, 3, int.MaxValue });
        writer.AddBFloat16("b", [3], new float[] { 1, 0.5f, -3 });
        writer.Save(path);
        Assert.Throws<ArgumentException>(() => writer.AddSingles("a", [1], new float[1]));
        Assert.Throws<ArgumentException>(() => writer.AddSingles("c", [2], new float[1]));

        using SafetensorsFile file = SafetensorsFile.Open(path);
        Assert.Equal("a \"test\"", file.Metadata["source"]);
        Assert.Equal([2, 3], file.Tensors["a"].Shape);
        Assert.Equal([1, 2, 3, 4, 5, -6.5f], file.ReadSingles("a"));
        Assert.Equal([1, -2, 3, int.MaxValue], file.ReadInt32s("ids"));
        Assert.Equal([1, 0.5f, -3], file.ReadSingles("b"));
        Assert.Single(Directory.GetFiles(temp.Path));
    }

    [Fact]
    public void GoldensAreReadableAsPlainSafetensors()
    {
        using SafetensorsFile file = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = file.ReadInt32s("tokens");
        Assert.Equal(96, tokens.Length);
        Assert.Equal(2, tokens[0]);
        Assert.All(file.ReadSingles("expected.logits"), x => Assert.InRange(x, -8, 8));
    }
}
