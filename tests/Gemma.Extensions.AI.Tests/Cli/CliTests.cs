using System.CommandLine;
using System.Text.Json;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Files;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cli;

public class CliTests
{
    private static string Tiny => TestData.Local("tiny");

    public static TheoryData<string> Commands => [.. GemmaCli.CreateRoot().Subcommands.Select(command => command.Name)];

    private static Task<(int Exit, string Output, string Error)> Run(string input, params string[] args) => CliRun.RunAsync(input, args);

    private static Task<string> Succeed(params string[] args) => CliRun.SucceedAsync(args);

    /// <summary>What is asked for reaches the model: a GPU that is not there, or layers of one where none is used, are refused by name.</summary>
    [Theory]
    [InlineData("chat", "--prompt", "Hello")]
    [InlineData("bench")]
    [InlineData("logits", "--tokens", "2,3", "--output", "never.bin")]
    public async Task TheDeviceIsPassedOn(string command, params string[] rest)
    {
        (int exit, _, string error) = await Run("", [command, "--model", Tiny, "--device", "cuda:99", .. rest]);
        Assert.NotEqual(0, exit);
        Assert.Contains(error.Contains("libcuda", StringComparison.Ordinal) || error.Contains("nvcuda", StringComparison.Ordinal) ? "is not installed" : "cuda:99", error, StringComparison.Ordinal);
        (exit, _, error) = await Run("", [command, "--model", Tiny, "--device", "cpu", "--gpu-layers", "3", .. rest]);
        Assert.NotEqual(0, exit);
        Assert.Contains("--gpu-layers", error, StringComparison.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Commands))]
    public async Task EveryCommandHasHelpWithAnExample(string command)
    {
        string help = await Succeed(command, "--help");
        Assert.Contains($"gemma {command}", help, StringComparison.Ordinal);
        Assert.Contains("Example", help, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RawContinuesTheTextItself()
    {
        string turn = await Succeed("chat", "--model", Tiny, "--prompt", "You will", "--temperature", "0", "--max-tokens", "5", "--kernel", "reference");
        string raw = await Succeed("chat", "--model", Tiny, "--prompt", "You will", "--temperature", "0", "--max-tokens", "5", "--kernel", "reference", "--raw");
        using GemmaModel model = GemmaModel.Load(Tiny, new GemmaOptions { Kernel = "reference" });
        Assert.Equal((await model.CompleteAsync("You will", new() { Temperature = 0, MaxOutputTokens = 5 })).Text, raw.TrimEnd('\n'));
        Assert.NotEqual(turn, raw);
    }

    [Theory]
    [InlineData("no-such-command")]
    [InlineData("chat", "--raw", "--system", "x", "--prompt", "x")]
    [InlineData("chat", "--no-such-option")]
    [InlineData("chat", "--model", "/there/is/nothing", "--prompt", "x")]
    [InlineData("inspect")]
    [InlineData("inspect", "/there/is/nothing")]
    [InlineData("tokenize", "--model", "/there/is/nothing", "--text", "x")]
    [InlineData("tokenize", "--text", "x", "--file", "y")]
    [InlineData("bench", "--repeat", "0")]
    [InlineData("bench", "--threads", "many")]
    [InlineData("logits", "--tokens", "2")]
    [InlineData("perplexity", "--file", "/there/is/nothing")]
    [InlineData("logits", "--tokens", "", "--output", "x")]
    public async Task AFailureIsOneLineAndExitCode1(params string[] args)
    {
        (int exit, _, string error) = await Run("", args);
        Assert.Equal(1, exit);
        Assert.StartsWith("gemma: ", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd().Split('\n'));
    }

    [Theory]
    [InlineData("0")]
    [InlineData("-5")]
    [InlineData("513")]
    public async Task AContextThatTheModelDoesNotHaveIsRefused(string context)
    {
        (int exit, string output, string error) = await Run("", "inspect", Tiny, "--context", context);
        Assert.Equal((1, ""), (exit, output));
        Assert.Contains($"--context is {context}, expected 1 to 512", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ErrorsSpeakTheLanguageOfTheTerminal()
    {
        Assert.Equal("gemma: --temperature is 'hot', expected a number. See 'gemma chat --help'.", (await Run("", "chat", "--temperature", "hot")).Error.Trim());
        Assert.Equal("gemma: --repeat is 'x', expected a whole number. See 'gemma bench --help'.", (await Run("", "bench", "--repeat", "x")).Error.Trim());
        Assert.Equal("gemma: --temperature is -1, expected 0 to 100.", (await Run("", "chat", "--model", Tiny, "--prompt", "x", "--temperature", "-1")).Error.Trim());
        Assert.Contains("--tokens names no token", (await Run("", "logits", "--tokens", "", "--output", "x")).Error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("Hello")]
    [InlineData("3")]
    public async Task CasesThatAreNoJSONNameTheFile(string text)
    {
        using TempDirectory directory = new();
        string file = directory.File("cases.json");
        File.WriteAllText(file, text);
        (int exit, _, string error) = await Run("", "tokenize", "--model", Tiny, "--cases", file);
        Assert.Equal(1, exit);
        Assert.StartsWith($"gemma: '{file}'", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("tokenizer.model", "my.spm")]
    [InlineData("tokenizer.json", "vocabulary.json")]
    public async Task ATokenizerMayHaveAnyName(string source, string name)
    {
        using TempDirectory directory = new();
        string file = directory.File(name);
        File.Copy(Path.Combine(Tiny, source), file);
        Assert.Equal(await Succeed("tokenize", "--model", Tiny, "--text", "Hello world", "--json"), await Succeed("tokenize", "--model", file, "--text", "Hello world", "--json"));
    }

    [Fact]
    public async Task TokensAreShownAsPeopleWriteThem()
    {
        string shown = await Succeed("tokenize", "--model", Tiny, "--text", "a\u00fc<b>");
        Assert.Contains("\"<0xC3>\"", shown, StringComparison.Ordinal); // the tiny vocabulary spells ü in bytes
        Assert.DoesNotContain("\\u", shown, StringComparison.Ordinal);
    }

    [Fact]
    public void OnlyTheFirstInterruptIsHeldBack()
    {
        using Interrupts interrupts = new();
        using (interrupts.Begin())
        {
            Assert.True(interrupts.Raise());
            Assert.False(interrupts.Raise());
        }

        Assert.False(interrupts.Token.IsCancellationRequested);
        Assert.True(interrupts.Raise());
        Assert.False(interrupts.Raise());
    }

    [Fact]
    public async Task ChatAnswersAPromptOnce()
    {
        string first = await Succeed("chat", "--model", Tiny, "--prompt", "Hello", "--temperature", "0", "--max-tokens", "8");
        Assert.NotEqual("", first.Trim());
        Assert.Equal(first, await Succeed("chat", "--model", Tiny, "--prompt", "Hello", "--temperature", "0", "--max-tokens", "8"));
    }

    [Fact]
    public async Task ChatConversesUntilExit()
    {
        (int exit, string output, string error) = await Run("Hello\n\n/clear\nHello\n/exit\nnever read\n", "chat", "--model", Tiny, "--temperature", "0", "--max-tokens", "8");
        Assert.Equal((0, ""), (exit, error));
        string answer = await Succeed("chat", "--model", Tiny, "--prompt", "Hello", "--temperature", "0", "--max-tokens", "8");
        Assert.Equal(answer + answer, output);
    }

    [Fact]
    public async Task AnInterruptStopsTheAnswerAndNotTheProgram()
    {
        using Interrupts interrupts = new();
        InterruptingWriter output = new(interrupts);
        StringWriter error = new();
        int exit = await GemmaCli.RunAsync(["chat", "--model", Tiny, "--temperature", "2"],
            new CliInvocation(interrupts) { Output = output, Error = error, Input = new StringReader("Hello\n/exit\n"), IsInteractive = false });
        Assert.Equal((0, ""), (exit, error.ToString()));
        Assert.Contains("(stopped)", output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task AnInterruptOutsideAnAnswerEndsWith130()
    {
        using Interrupts interrupts = new();
        interrupts.Raise();
        StringWriter error = new();
        int exit = await GemmaCli.RunAsync(["chat", "--model", Tiny, "--prompt", "Hello"], new CliInvocation(interrupts) { Output = new StringWriter(), Error = error, Input = new StringReader("") });
        Assert.Equal((130, ""), (exit, error.ToString()));
    }

    [Fact]
    public async Task InspectTellsWhatIsInTheFile()
    {
        string path = TestData.Local("gguf/tiny-Q4_K_M.gguf");
        using JsonDocument json = JsonDocument.Parse(await Succeed("inspect", path, "--json"));
        Assert.Equal("tiny-Q4_K_M", json.RootElement.GetProperty("model").GetString());
        Assert.Equal(2_625_792, json.RootElement.GetProperty("parameters").GetInt64());
        Assert.Equal(16, json.RootElement.GetProperty("config").GetProperty("SlidingWindow").GetInt32());
        Assert.Equal("gemma2", json.RootElement.GetProperty("metadata").GetProperty("general.architecture").GetString());
        Assert.Contains(json.RootElement.GetProperty("tensor_types").EnumerateArray(), type => type.GetProperty("type").GetString() == "Q4_K");

        // 2 local layers keep 16 tokens, 2 global layers 512; keys and values, 2 heads of 64, 2 bytes each.
        Assert.Equal(2 * (2 * 16 + 2 * 512) * 2 * 64 * 2, json.RootElement.GetProperty("context_memory").GetProperty("f16_bytes").GetInt64());
        Assert.Contains("Q4_K", await Succeed("inspect", path), StringComparison.Ordinal);
        Assert.Contains("2,625,792", await Succeed("inspect", Tiny), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TokenizeGivesTheIdsOfTheCases()
    {
        string cases = TestData.Local("tiny/tokenizer-cases.json");
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllText(cases));
        string[] lines = (await Succeed("tokenize", "--model", Path.Combine(Tiny, "tokenizer.model"), "--cases", cases)).TrimEnd().Split('\n');
        int[][] ids = [.. expected.RootElement.EnumerateArray().Select(item => item.GetProperty("ids").Deserialize<int[]>()!)];
        Assert.Equal(ids, lines.Select(line => JsonSerializer.Deserialize<int[]>(line)!));

        string text = expected.RootElement[0].GetProperty("text").GetString()!;
        Assert.Equal(ids[0], JsonSerializer.Deserialize<int[]>(await Succeed("tokenize", "--model", Tiny, "--text", text, "--json")));
        Assert.Contains($"{ids[0].Length} tokens", await Succeed("tokenize", "--model", TestData.Local("gguf/tiny-Q8_0.gguf"), "--text", text), StringComparison.Ordinal);
    }

    [Fact]
    public async Task LogitsAreGoogles()
    {
        using TempDirectory directory = new();
        string output = directory.File("logits.safetensors");
        using SafetensorsFile expected = SafetensorsFile.Open(TestData.Local("tiny/expected.safetensors"));
        int[] tokens = [.. System.Runtime.InteropServices.MemoryMarshal.Cast<byte, int>(expected.Bytes("tokens"))];
        await Succeed("logits", "--model", Tiny, "--tokens", string.Join(',', tokens), "--output", output, "--kernel", "reference");

        using SafetensorsFile actual = SafetensorsFile.Open(output);
        ReadOnlySpan<float> a = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(actual.Bytes("logits"));
        ReadOnlySpan<float> e = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(expected.Bytes("expected.logits"));
        Assert.Equal(96 * 1024, a.Length);
        float worst = 0;
        for (int i = 0; i < a.Length; i++)
        {
            worst = Math.Max(worst, Math.Abs(a[i] - e[i]));
        }

        Assert.InRange(worst, 0, 1e-3f);
    }

    [Fact]
    public async Task LogitsOfATokenOutsideTheVocabularyAreRefused()
    {
        using TempDirectory directory = new();
        (int exit, _, string error) = await Run("", "logits", "--model", Tiny, "--tokens", "2,1024", "--output", directory.File("x.safetensors"));
        Assert.Equal(1, exit);
        Assert.Contains("1024", error, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(directory.Path));
    }

    [Fact]
    public async Task PerplexityIsTheExponentialOfTheMeanNll()
    {
        using TempDirectory directory = new();
        string file = directory.File("text.txt");
        File.WriteAllText(file, string.Concat(Enumerable.Repeat("You will rejoice to hear that no disaster has accompanied the commencement. ", 6)));
        using JsonDocument whole = JsonDocument.Parse(await Succeed("perplexity", "--model", Tiny, "--file", file, "--kernel", "reference", "--json"));
        double nll = whole.RootElement.GetProperty("mean_nll").GetDouble();
        Assert.Equal(Math.Exp(nll), whole.RootElement.GetProperty("perplexity").GetDouble(), 1e-6 * Math.Exp(nll));
        using JsonDocument windows = JsonDocument.Parse(await Succeed("perplexity", "--model", Tiny, "--file", file, "--context", "32", "--json"));
        Assert.Equal(whole.RootElement.GetProperty("tokens").GetInt64(), windows.RootElement.GetProperty("tokens").GetInt64());
        Assert.NotEqual(nll, windows.RootElement.GetProperty("mean_nll").GetDouble());
    }

    [Fact]
    public async Task BenchPrintsWhatItMeasured()
    {
        using JsonDocument json = JsonDocument.Parse(await Succeed("bench", "--model", Tiny, "--prompt-tokens", "40", "--generate-tokens", "6", "--repeat", "2", "--depth", "30", "--json"));
        JsonElement root = json.RootElement;
        Assert.Equal(2, root.GetProperty("prompt_samples").GetArrayLength());
        Assert.Equal(2, root.GetProperty("generate_samples").GetArrayLength());
        Assert.True(root.GetProperty("prompt_tokens_per_second").GetDouble() > 0);
        Assert.True(root.GetProperty("generate_tokens_per_second").GetDouble() > 0);
        Assert.True(root.GetProperty("load_seconds").GetDouble() > 0);
        Assert.True(root.GetProperty("peak_resident_bytes").GetInt64() > 10_000_000);
        Assert.StartsWith("cpu/", root.GetProperty("kernel").GetString(), StringComparison.Ordinal);
        Assert.Contains("generate_tokens_per_second", await Succeed("bench", "--model", Tiny, "--prompt-tokens", "8", "--generate-tokens", "2", "--repeat", "1"), StringComparison.Ordinal);
    }

    /// <summary>Presses Ctrl+C when the first piece of an answer is written.</summary>
    private sealed class InterruptingWriter(Interrupts interrupts) : StringWriter
    {
        private bool _isRaised;

        public override void Write(string? value)
        {
            base.Write(value);
            if (!_isRaised)
            {
                _isRaised = true;
                interrupts.Raise();
            }
        }
    }
}
