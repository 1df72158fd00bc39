using System.Diagnostics;
using System.Globalization;
using System.Xml.Linq;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Files;
using Gemma.Extensions.AI.Tests.Text;
using Gemma.Extensions.AI.Text;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

/// <summary><c>gemma train</c> and <c>gemma distill</c> from their command line to the files that they leave.</summary>
public sealed class TrainCommandTests : IDisposable
{
    private const string Teacher = "gguf/tiny-Q4_K_M.gguf";

    private readonly TempDirectory _directory = new();

    public TrainCommandTests() => Student.Write(_directory);

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TrainLeavesAModelThatTheEngineRunsAlike(bool bfloat16)
    {
        AddTokenizer();
        string output = await Succeed(Train("run", 60, bfloat16 ? ["--bf16"] : []));
        Assert.Contains("MB of memory", output, StringComparison.Ordinal);
        Assert.Matches(@"step 60/60 loss \d\.\d+ .* tokens/s, 00:00:00 left", output);
        Assert.Matches(@"after 60 steps, validation perplexity \d+", output);
        List<double[]> rows = Rows("run");
        Assert.Equal([20.0, 40.0, 60.0], rows.Select(row => row[0]));
        Assert.InRange(rows[^1][2], 0.5, 1.2); // each word is one of three, log 3 = 1.1 a word; guessing costs log 1024 = 6.9
        Assert.All(rows, row => Assert.InRange(row[7], 0.1, 7)); // validation
        Assert.Equal(["polyline", "polyline"], XElement.Load(_directory.File("run/loss.svg")).Elements().Select(e => e.Name.LocalName).Where(n => n == "polyline"));

        using ModelFile file = ModelFile.Open(_directory.File("run/model"));
        Assert.Equal(bfloat16 ? "BF16" : "F32", file.Tensors["blk.0.attn_q.weight"].Format.Name);
        AssertEngineAgrees(_directory.File("run/model"));
        using GemmaModel model = GemmaModel.Load(_directory.File("run/model"));
        Assert.Equal(GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model")).Encode("A book…", matchSpecial: true), model.Tokenizer.Encode("A book…", matchSpecial: true));
        using Microsoft.Extensions.AI.IChatClient client = model.AsIChatClient();
        Assert.NotNull(await client.GetResponseAsync([new Microsoft.Extensions.AI.ChatMessage(Microsoft.Extensions.AI.ChatRole.User, "the little model")], new Microsoft.Extensions.AI.ChatOptions { MaxOutputTokens = 4 }, TestContext.Current.CancellationToken));
    }

    /// <summary>A process that is killed, and the command given again: every figure but the speed is that of a run that was left alone.</summary>
    [Fact]
    public async Task KilledProcessContinuesOnTheSameCurve()
    {
        AddTokenizer();
        await Succeed(Train("whole", 200));
        using (Process process = Start(Train("killed", 200)))
        {
            while (await process.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken) is { } line && !line.StartsWith("checkpoint after step 40:", StringComparison.Ordinal))
            {
            }

            process.Kill(entireProcessTree: true);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken);
            Assert.NotEqual(0, process.ExitCode);
        }

        Assert.InRange(Rows("killed").Count, 2, 9);
        Assert.Contains("continuing after step", await Succeed(Train("killed", 200)), StringComparison.Ordinal);
        AssertSameRun("whole", "killed");
    }

    /// <summary>Ctrl+C keeps the step that was reached, wherever it lies between checkpoints.</summary>
    [Fact]
    public async Task InterruptedCommandContinuesOnTheSameCurve()
    {
        AddTokenizer();
        await Succeed(Train("whole", 60));
        using Interrupts interrupts = new();
        Student.ReactingWriter output = new("step 30/60", () => interrupts.Raise());
        int exit = await GemmaCli.RunAsync(Train("stopped", 60), new CliInvocation(interrupts) { Output = output, Error = new StringWriter(), IsInteractive = false });
        Assert.Equal(GemmaCli.Interrupted, exit);
        Assert.Contains("stopped after step 30", output.ToString(), StringComparison.Ordinal);
        Assert.Contains("continuing after step 30", await Succeed(Train("stopped", 60)), StringComparison.Ordinal);
        AssertSameRun("whole", "stopped");
    }

    /// <summary>A quantised teacher in one file, a student that is a config.json alone: the vocabulary goes over from the teacher.</summary>
    [Theory]
    [InlineData(8)]
    [InlineData(0)]
    public async Task DistillLearnsFromAQuantisedTeacher(int top)
    {
        string output = await Succeed(Distill("run", 60, "--top-k", $"{top}", "--mix", "1", "--temperature", "1.5"));
        Assert.Matches(@"teacher tiny-Q4_K_M needs [\d.]+ MB .* are free; its answers take [\d.]+ MB", output);
        Assert.True(Rows("run")[^1][2] < 0.95 * Rows("run")[0][2], $"divergence {Rows("run")[0][2]} at step 20, {Rows("run")[^1][2]} at step 60");
        AssertEngineAgrees(_directory.File("run/model"));

        using GemmaModel student = GemmaModel.Load(_directory.File("run/model")), teacher = GemmaModel.Load(TestData.Local(Teacher));
        Assert.Equal(teacher.Tokenizer.Encode("<start_of_turn>user\nA book…\n\n日", matchSpecial: true), student.Tokenizer.Encode("<start_of_turn>user\nA book…\n\n日", matchSpecial: true));

        // The teacher is not asked again.
        File.Delete(_directory.File("run/checkpoint.bin"));
        DateTime written = File.GetLastWriteTimeUtc(_directory.File("run/teacher.bin"));
        Assert.DoesNotContain("teacher tiny", await Succeed(Distill("run", 60, "--top-k", $"{top}", "--mix", "1", "--temperature", "1.5")), StringComparison.Ordinal);
        Assert.Equal(written, File.GetLastWriteTimeUtc(_directory.File("run/teacher.bin")));
        Assert.Contains("another teacher", await Fail(Distill("run", 60, "--top-k", "7")), StringComparison.Ordinal);
    }

    /// <summary>Of conversations the model's turns alone; those that are too long are counted.</summary>
    [Fact]
    public async Task TrainsOnTheModelsTurnsOnly()
    {
        AddTokenizer();
        string data = _directory.File("chat.jsonl");
        const string Turn = """{"messages":[{"role":"user","content":"the little model"},{"role":"assistant","content":"reads"}]}""";
        File.WriteAllLines(data, [Turn, Turn, Turn.Replace("little", string.Concat(Enumerable.Repeat("little ", 80)), StringComparison.Ordinal)]);
        (int exit, string output, string error) = await Run("train", "--model", _directory.File("student"), "--data", data, "--output", _directory.File("run"), "--steps", "2", "--length", "64", "--model-turns-only");
        Assert.Equal(0, exit);
        GemmaTokenizer tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
        int reply = tokenizer.Encode("reads", matchSpecial: false).Length + 1; // and the end of the turn
        Assert.Contains($"2 documents", output, StringComparison.Ordinal);
        Assert.Contains($", {2 * reply} targets", output, StringComparison.Ordinal);
        Assert.Contains("1 conversations of the training data are longer than 64 tokens", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task GoesOnFromTheWeightsOfAGguf()
    {
        string output = await Succeed("train", "--model", TestData.Local(Teacher), "--data", _directory.File("corpus.txt"), "--output", _directory.File("run"), "--steps", "1", "--length", "32",
            "--batch-tokens", "32", "--micro-batches", "1", "--learning-rate", "0");
        Assert.Contains("2,625,792 parameters", output, StringComparison.Ordinal);
        using ModelFile before = ModelFile.Open(TestData.Local(Teacher)), after = ModelFile.Open(_directory.File("run/model"));
        Assert.True(ModelDirectory.Load(before).Weights.Span.SequenceEqual(ModelDirectory.Load(after).Weights.Span));
        Assert.Equal(before.CreateTokenizer().Encode("<start_of_turn>model\nIt's…", matchSpecial: true), after.CreateTokenizer().Encode("<start_of_turn>model\nIt's…", matchSpecial: true));
    }

    /// <summary>Added tokens stand in other files than tokenizer.model, which alone would make letters of them; so do the tokens that end replies.</summary>
    [Fact]
    public async Task KeepsTheTokensOfAFineTune()
    {
        string start = Directory.CreateDirectory(_directory.File("tuned")).FullName;
        FineTune.Write(start, rows: 2, eos: [1025]);
        FineTune.AddTokenizer(start, ["<|im_start|>", "<|im_end|>"], "tokenizer.model", "tokenizer.json", "added_tokens.json", "tokenizer_config.json");
        await Succeed("train", "--model", start, "--data", _directory.File("corpus.txt"), "--output", _directory.File("run"), "--steps", "1", "--length", "32", "--batch-tokens", "32", "--micro-batches", "1");
        using ModelFile after = ModelFile.Open(_directory.File("run/model"));
        GemmaTokenizer tokenizer = after.CreateTokenizer();
        Assert.Equal([1024, 1025], tokenizer.Encode("<|im_start|><|im_end|>", matchSpecial: true));
        Assert.Equal([1, 9, 1025], EndTokens.Of(after, tokenizer));
    }

    /// <summary>A GGUF file says of each token what it is and how it is matched; a tokenizer.model alone would make text of structure.</summary>
    [Fact]
    public async Task KeepsTheTokensOfAGguf()
    {
        string tuned = Directory.CreateDirectory(_directory.File("tuned")).FullName;
        FineTune.Write(tuned, rows: 5, eos: [1025]);
        AddedToken[] added =
        [
            new(1024, "<|im_start|>", true, TokenMatching.None), new(1025, "<|done|>", true, TokenMatching.LeftStrip), new(1026, "<note>", false, TokenMatching.RightStrip),
            new(1027, "word", false, TokenMatching.SingleWord | TokenMatching.Normalized), new(1028, "<plain>", false, TokenMatching.None),
        ];
        File.WriteAllBytes(Path.Combine(tuned, "tokenizer.json"), AddedTokenTests.WithAdded(added));
        string gguf = _directory.File("tuned.gguf");
        using (ModelFile file = ModelFile.Open(tuned))
        {
            ModelConverter.Write(file, QuantizationRecipe.Get("BF16"), gguf);
        }

        await Succeed("train", "--model", gguf, "--data", _directory.File("corpus.txt"), "--output", _directory.File("run"), "--steps", "1", "--length", "32", "--batch-tokens", "32", "--micro-batches", "1");
        using ModelFile before = ModelFile.Open(gguf), after = ModelFile.Open(_directory.File("run/model"));
        GemmaTokenizer from = before.CreateTokenizer(), to = after.CreateTokenizer();
        Assert.Equal(1029, to.VocabularySize);
        Assert.All(Enumerable.Range(0, 1029), id => Assert.Equal((from.GetPiece(id), from.GetKind(id), from.GetMatching(id)), (to.GetPiece(id), to.GetKind(id), to.GetMatching(id))));
        Assert.Equal((from.BosId, from.EosId, from.PadId, from.UnknownId), (to.BosId, to.EosId, to.PadId, to.UnknownId));
        Assert.Equal(EndTokens.Of(before, from), EndTokens.Of(after, to));
        Assert.Equal(before.GenerationDefaults with { StopTokens = [] }, after.GenerationDefaults with { StopTokens = [] });
        foreach (string text in (string[])["a <|done|> b", "<note>  c", "words word, word", "<|im_start|>user\nHi <plain> there"])
        {
            Assert.Equal(from.Encode(text, matchSpecial: true), to.Encode(text, matchSpecial: true));
        }
    }

    [Fact]
    public async Task ForeignVocabularyIsRefused()
    {
        string tiny = TestData.Local("tiny");
        Assert.Contains("Give the student the teacher's vocabulary", await Fail("distill", "--teacher", "nano", "--student", tiny, "--data", _directory.File("corpus.txt"), "--output", _directory.File("run")), StringComparison.Ordinal);
        Assert.Contains("vocab_size", await Fail("distill", "--teacher", "nano", "--student", _directory.File("student"), "--data", _directory.File("corpus.txt"), "--output", _directory.File("run")), StringComparison.Ordinal);
        Assert.Contains("tokenizer.model", await Fail("train", "--model", _directory.File("student"), "--data", _directory.File("corpus.txt"), "--output", _directory.File("run")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--steps", "0")]
    [InlineData("--length", "1")]
    [InlineData("--batch-tokens", "1000000000")]
    [InlineData("--learning-rate", "-1")]
    [InlineData("--learning-rate", "NaN")]
    [InlineData("--data", "/there/is/nothing")]
    public async Task WhatCannotBeIsRefusedAtOnce(string option, string value)
    {
        AddTokenizer();
        string[] command = Train("run", 60);
        int at = Array.IndexOf(command, option);
        command[at + 1] = value;
        string error = await Fail(command);
        Assert.Contains(option switch { "--batch-tokens" => " GB are available", "--data" => value, _ => $"{option} is {value}, expected" }, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("--top-k", "-1")]
    [InlineData("--temperature", "0")]
    [InlineData("--temperature", "Infinity")]
    [InlineData("--mix", "1.5")]
    [InlineData("--clip-norm", "NaN")]
    [InlineData("--threads", "0")]
    public async Task NumbersThatMeanNothingAreRefused(string option, string value) =>
        Assert.Contains($"{option} is {value}, expected", await Fail(Distill("run", 10, option, value)), StringComparison.Ordinal);

    /// <summary>The student's context is 128 tokens: the engine would never run it on what it is trained on.</summary>
    [Fact]
    public async Task DocumentsLongerThanTheContextAreRefused()
    {
        AddTokenizer();
        string[] command = Train("run", 10);
        command[Array.IndexOf(command, "--length") + 1] = "129";
        Assert.Contains("has 129 tokens, but the context of the model to train is 128", await Fail(command), StringComparison.Ordinal);
    }

    [Fact]
    public async Task DataWithoutATokenIsRefused()
    {
        AddTokenizer();
        File.WriteAllText(_directory.File("corpus.txt"), "");
        Assert.Contains("holds no token", await Fail(Train("run", 10)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task OutputThatCannotBeADirectoryIsRefused()
    {
        AddTokenizer();
        Assert.Contains("corpus.txt", await Fail(Train("corpus.txt", 10)), StringComparison.Ordinal);
    }

    [Fact]
    public void DiskThatIsTooSmallIsRefused()
    {
        TrainingModel model = new(GradientTests.SmallModel(5, 8).Config);
        Assert.Equal(36L * model.Weights.Length, TrainingJob.FileBytes(model, _directory.Path));
        File.WriteAllText(_directory.File(TrainingJob.CheckpointName), "");
        Assert.Equal(16L * model.Weights.Length, TrainingJob.FileBytes(model, _directory.Path));
        Assert.Contains("bytes but only", Assert.Throws<IOException>(() => ModelConverter.CheckRoom(_directory.File("teacher.bin"), long.MaxValue)).Message, StringComparison.Ordinal);
    }

    /// <summary>The library as a program calls it: every number by its own name, every update told, a result that loads.</summary>
    [Fact]
    public async Task TrainerDistilsForAProgram()
    {
        GemmaTrainingOptions options = new()
        {
            Model = _directory.File("student/config.json"), Teacher = TestData.Local(Teacher), Data = [_directory.File("corpus.txt")], Validation = [_directory.File("held-out.txt")],
            Output = _directory.File("run"), Steps = 12, MaxLength = 32, MicroBatchTokens = 64, MicroBatches = 2, WarmupSteps = 2, TeacherLogits = 8,
        };
        Assert.Contains("MaxLength is 1, expected at least 2", Assert.Throws<ArgumentException>(() => new GemmaTrainer(options with { MaxLength = 1 })).Message, StringComparison.Ordinal);
        List<GemmaTrainingProgress> updates = [];
        List<GemmaTeacherProgress> asked = [];
        GemmaTrainingResult result = await new GemmaTrainer(options) { Progress = new SynchronousProgress<GemmaTrainingProgress>(updates.Add), TeacherProgress = new SynchronousProgress<GemmaTeacherProgress>(asked.Add) }.RunAsync(TestContext.Current.CancellationToken);
        Assert.Equal(Enumerable.Range(1, 12), updates.Select(update => update.Step));
        Assert.Equal(asked[0].AllDocuments, asked[^1].Documents);
        Assert.Equal(asked[0].AllDocuments, asked[^1].AllDocuments);
        Assert.Equal(12, result.Steps);
        Assert.InRange(result.ValidationLoss!.Value, 1, 7);
        Assert.Equal(Path.GetFullPath(_directory.File("run/model")), result.Path);
        using GemmaModel model = GemmaModel.Load(result.Path);
        Assert.Equal(1024, model.Config.VocabularySize);
    }

    /// <summary>A run that is over says how far it went, and writes its model once more in the format of this command.</summary>
    [Fact]
    public async Task FinishedRunIsWrittenInAnotherFormat()
    {
        AddTokenizer();
        await Succeed(Train("run", 40));
        string output = await Succeed(Train("run", 20, "--bf16"));
        Assert.Contains("changed: number of updates was 40, is now 20", output, StringComparison.Ordinal);
        Assert.Contains("after 40 steps", output, StringComparison.Ordinal);
        using ModelFile file = ModelFile.Open(_directory.File("run/model"));
        Assert.Equal("BF16", file.Tensors["blk.0.attn_q.weight"].Format.Name);
    }

    /// <summary>A model of 3.8 GB, all of it a hole in the file, for a process that may use 1 GB.</summary>
    [Fact]
    public async Task TeacherThatDoesNotFitIsRefusedWithNumbers()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "The file of 806 GB has no data: not every file system makes such holes unasked.");
        const int Layers = 1000;
        string big = _directory.File("big");
        Directory.CreateDirectory(big);
        AddTokenizer("big");
        File.WriteAllText(Path.Combine(big, "config.json"), File.ReadAllText(_directory.File("student/config.json"))
            .Replace("\"hidden_size\":32,\"intermediate_size\":48,\"num_hidden_layers\":2", "\"hidden_size\":4096,\"intermediate_size\":32768,\"num_hidden_layers\":1000", StringComparison.Ordinal));
        WriteHollowWeights(Path.Combine(big, "model.safetensors"), 4096, 32768, Layers, 32, 16);
        string[] command = Distill("run", 10);
        command[Array.IndexOf(command, "--teacher") + 1] = big;
        using Process process = Start(command);
        string error = await process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.Equal(GemmaCli.Failure, process.ExitCode);
        Assert.Matches(@"^gemma: '.*big' needs 80\d\.\d GB \(80\d\.\d GB weights, .* has [\d.]+ GB, of which [\d.]+ GB are free\. ", error);
    }

    private string[] Train(string output, int steps, params string[] more) =>
    [
        "train", "--model", _directory.File("student"), "--data", _directory.File("corpus.txt"), "--validation", _directory.File("held-out.txt"), "--output", _directory.File(output), "--steps", $"{steps}",
        "--length", "32", "--batch-tokens", "64", "--micro-batches", "2", "--warmup", "5", "--learning-rate", "1e-2", "--checkpoint-every", "20", .. more,
    ];

    private string[] Distill(string output, int steps, params string[] more)
    {
        string[] train = Train(output, steps, more);
        return ["distill", "--teacher", TestData.Local(Teacher), "--student", _directory.File("student/config.json"), .. train[3..]];
    }

    private void AddTokenizer(string directory = "student") => Student.AddTokenizer(_directory, directory);

    /// <summary>The engine's float32 tier and the training pass are two implementations.</summary>
    private static void AssertEngineAgrees(string directory)
    {
        int[] tokens = TinyEngine.Prompt(5, 40);
        using ModelFile file = ModelFile.Open(directory);
        float[] mine = new GemmaBackprop(ModelDirectory.Load(file), tokens.Length, tokens.Length).Logits(new PackedBatch([new TrainingDocument(tokens)]));
        using TinyEngine engine = new(path: directory);
        float[][] logits = engine.Logits(tokens);
        for (int i = 0; i < tokens.Length; i++)
        {
            for (int v = 0; v < 1024; v++)
            {
                Assert.InRange(MathF.Abs(logits[i][v] - mine[i * 1024 + v]), 0, 1e-3f);
            }
        }
    }

    private void AssertSameRun(string expected, string actual)
    {
        Assert.Equal(Student.Losses(_directory.File(expected)), Student.Losses(_directory.File(actual)));
        Assert.Equal(File.ReadAllBytes(_directory.File(expected + "/model/model.safetensors")), File.ReadAllBytes(_directory.File(actual + "/model/model.safetensors")));
    }

    private List<double[]> Rows(string run) =>
        [.. File.ReadAllLines(_directory.File(run + "/loss.csv")).Skip(1).Select(line => line.Split(',').Select(v => double.Parse(v, CultureInfo.InvariantCulture)).ToArray())];

    private static Process Start(string[] command, params (string Name, string Value)[] environment)
    {
        ProcessStartInfo start = new("dotnet", [Path.Combine(AppContext.BaseDirectory, "Gemma.Extensions.AI.Cli.dll"), .. command]) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in environment)
        {
            start.Environment[name] = value;
        }

        return Process.Start(start)!;
    }

    private static async Task<(int Exit, string Output, string Error)> Run(params string[] command)
    {
        StringWriter output = new(), error = new();
        using Interrupts interrupts = new();
        int exit = await GemmaCli.RunAsync(command, new CliInvocation(interrupts) { Output = output, Error = error, IsInteractive = false });
        return (exit, output.ToString(), error.ToString());
    }

    private static async Task<string> Succeed(params string[] command)
    {
        (int exit, string output, string error) = await Run(command);
        Assert.Equal(("", 0), (error, exit));
        return output;
    }

    private static async Task<string> Fail(params string[] command)
    {
        (int exit, _, string error) = await Run(command);
        Assert.Equal(GemmaCli.Failure, exit);
        Assert.Single(error.TrimEnd().Split('\n'));
        return error;
    }

    /// <summary>A bfloat16 checkpoint that takes no room on disk: a header, and a file of its length.</summary>
    private static void WriteHollowWeights(string path, int hidden, int wide, int layers, int query, int kv)
    {
        List<(string Name, long[] Shape)> tensors = new() { ("model.embed_tokens.weight", [1024, hidden]), ("model.norm.weight", [hidden]) };
        for (int l = 0; l < layers; l++)
        {
            string prefix = $"model.layers.{l}.";
            tensors.AddRange([(prefix + "self_attn.q_proj.weight", [query, hidden]), (prefix + "self_attn.k_proj.weight", [kv, hidden]), (prefix + "self_attn.v_proj.weight", [kv, hidden]),
                (prefix + "self_attn.o_proj.weight", [hidden, query]), (prefix + "mlp.gate_proj.weight", [wide, hidden]), (prefix + "mlp.up_proj.weight", [wide, hidden]), (prefix + "mlp.down_proj.weight", [hidden, wide])]);
            foreach (string norm in new[] { "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm" })
            {
                tensors.Add(($"{prefix}{norm}.weight", [hidden]));
            }
        }

        long end = 0;
        string json = "{" + string.Join(',', tensors.Select(t =>
        {
            long start = end;
            end += 2 * t.Shape.Aggregate(1L, (a, b) => a * b);
            return $"\"{t.Name}\":{{\"dtype\":\"BF16\",\"shape\":[{string.Join(',', t.Shape)}],\"data_offsets\":[{start},{end}]}}";
        })) + "}";
        json = json.PadRight((json.Length + 7) / 8 * 8);
        using FileStream file = File.Create(path);
        file.Write(BitConverter.GetBytes((long)json.Length));
        file.Write(System.Text.Encoding.UTF8.GetBytes(json));
        file.SetLength(8 + json.Length + end);
    }
}
