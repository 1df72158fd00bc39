using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Engine;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Quantization;
using Gemma.Extensions.AI.Tests.Engine;
using Gemma.Extensions.AI.Tests.Hub;
using Gemma.Extensions.AI.Tests.Training;
using Gemma.Extensions.AI.Training;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Files;

/// <summary>A disk that is full, before a writer begins or in the middle: the exception says so, the old file is as it was, and nothing half-written is left.</summary>
public sealed class FullDiskTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    private SmallDisk Disk(int megabytes = 8) => new(_temp.File("disk"), megabytes);

    [Fact]
    public void AConversionKeepsTheOldFile()
    {
        using SmallDisk disk = Disk();
        string path = disk.File("model.gguf");
        File.WriteAllText(path, "old");
        using ModelFile source = ModelFile.Open(TestData.Local("tiny"));
        int pieces = 0;
        AssertSaysSo(path, Assert.Throws<IOException>(() => ModelConverter.Write(source, QuantizationRecipe.Get("Q8_0"), path, progress: new Listener(() =>
        {
            if (++pieces == 3)
            {
                disk.Fill();
            }
        }))));
        AssertOld();

        // Known beforehand: nothing is computed.
        disk.Fill();
        IOException refused = Assert.Throws<IOException>(() => ModelConverter.Write(source, QuantizationRecipe.Get("Q8_0"), path, progress: new Listener(() => Assert.Fail("Nothing is to be computed."))));
        Assert.Contains($"'{path}' will take ", refused.Message, StringComparison.Ordinal);
        Assert.Contains("Free some", refused.Message, StringComparison.Ordinal);
        AssertOld();
        disk.MakeRoom();
        ModelConverter.Write(source, QuantizationRecipe.Get("Q8_0"), path);
        ModelFile.Open(path).Dispose();

        void AssertOld()
        {
            Assert.Equal("old", File.ReadAllText(path));
            Assert.Equal(["model.gguf"], disk.Files());
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(8)]
    public async Task CommandsSayItInOneLine(int kilobytesLeft)
    {
        using SmallDisk disk = Disk();
        string text = _temp.File("text.txt"), matrix = disk.File("imatrix.gguf"), logits = disk.File("logits.safetensors");
        File.WriteAllText(text, "Some words to read, and some more of them.");
        File.WriteAllText(matrix, "old");
        File.WriteAllText(logits, "old");
        disk.Fill(kilobytesLeft);
        foreach ((string path, string[] command) in new (string, string[])[]
        {
            (matrix, ["imatrix", "--model", TestData.Local("tiny"), "--file", text, "--output", matrix]),
            (logits, ["logits", "--model", TestData.Local("tiny"), "--tokens", string.Join(',', TinyEngine.Prompt(1, 40)), "--output", logits]),
        })
        {
            string error = await FailAsync(command);
            Assert.StartsWith($"gemma: '{path}' cannot be written: the disk is full. Free some room", error, StringComparison.Ordinal);
            Assert.Equal("old", File.ReadAllText(path));
        }

        Assert.Equal(["imatrix.gguf", "logits.safetensors"], disk.Files());
    }

    /// <summary>The room ends in the middle of a run, at one file of a checkpoint or another; with room again the run ends like one that had enough.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(300)]
    [InlineData(700)]
    public async Task ARunGoesOnWhenThereIsRoomAgain(int kilobytesLeft)
    {
        using SmallDisk disk = Disk();
        Student.Write(_temp);
        Student.AddTokenizer(_temp);
        string[] Command(string run) => ["train", "--model", _temp.File("student"), "--data", _temp.File("corpus.txt"), "--output", run, "--steps", "30", "--length", "32", "--batch-tokens", "64", "--micro-batches", "1", "--checkpoint-every", "10", "--threads", "1"];
        string whole = _temp.File("whole"), run = disk.File("run");
        Assert.Equal("", (await RunAsync(Command(whole))).Error);
        Dictionary<string, byte[]> before = [];
        using Student.ReactingWriter lines = new("checkpoint after step 10:", () =>
        {
            disk.Fill(kilobytesLeft);
            foreach (string file in disk.Files().Where(name => !name.EndsWith(".csv", StringComparison.Ordinal) && !name.EndsWith(".svg", StringComparison.Ordinal) && !name.Contains("model", StringComparison.Ordinal)))
            {
                before[file] = File.ReadAllBytes(disk.File(file));
            }
        });
        (int exit, string error) = await RunAsync(Command(run), lines);
        Assert.Equal(GemmaCli.Failure, exit);
        Assert.Matches($"^gemma: '{run}.*' cannot be written: the disk is full\\. Free some room", error);

        // The checkpoint is the one before, the model whole, and nothing is left over.
        Assert.NotEmpty(before);
        Assert.All(before, file => Assert.Equal(file.Value, File.ReadAllBytes(disk.File(file.Key))));
        using (ModelFile model = ModelFile.Open(Path.Combine(run, "model")))
        {
            Assert.Equal(1024, model.CreateTokenizer().VocabularySize);
        }

        Assert.DoesNotContain(disk.Files(), name => name.Contains(".partial", StringComparison.Ordinal));
        disk.MakeRoom();
        Assert.Equal("", (await RunAsync(Command(run))).Error);
        Assert.Equal(Student.Losses(whole), Student.Losses(run));
        Assert.Equal(File.ReadAllBytes(Path.Combine(whole, "model/model.safetensors")), File.ReadAllBytes(Path.Combine(run, "model/model.safetensors")));
    }

    /// <summary>Not even the vocabulary of a model that is to be replaced is lost, and what of it does not belong to the new one goes with the old one.</summary>
    [Fact]
    public void AModelOfSeveralFilesIsReplacedAsAWhole()
    {
        using SmallDisk disk = Disk();
        TrainingModel first = GradientTests.SmallModel(5, 8), second = GradientTests.SmallModel(5, 8);
        second.Initialize(2);
        byte[] tokenizer = File.ReadAllBytes(TestData.Local("tiny/tokenizer.model"));
        Dictionary<string, byte[]?> Beside(string? added) => new() { ["added_tokens.json"] = added is null ? null : System.Text.Encoding.UTF8.GetBytes(added), ["tokenizer.json"] = null };
        string path = disk.File("model");
        ModelDirectory.Save(first, path, bfloat16: false, tokenizer, Beside("{}"));
        Dictionary<string, byte[]> old = disk.Files().ToDictionary(name => name, name => File.ReadAllBytes(disk.File(name)));
        Assert.Equal(["model/added_tokens.json", "model/config.json", "model/generation_config.json", "model/model.safetensors", "model/tokenizer.model"], old.Keys);
        disk.Fill(kilobytesLeft: 8);
        AssertSaysSo(Path.Combine(path, "model.safetensors"), Assert.Throws<IOException>(() => ModelDirectory.Save(second, path, bfloat16: true, [.. tokenizer, 0], Beside(null))), prefix: path);
        Assert.Equal(old.Keys, disk.Files());
        Assert.All(old, file => Assert.Equal(file.Value, File.ReadAllBytes(disk.File(file.Key))));
        disk.MakeRoom();
        ModelDirectory.Save(second, path, bfloat16: true, tokenizer, Beside(null));
        Assert.Equal(["model/config.json", "model/generation_config.json", "model/model.safetensors", "model/tokenizer.model"], disk.Files());
        using ModelFile file = ModelFile.Open(path);
        Assert.Equal("BF16", file.Tensors["blk.0.attn_q.weight"].Format.Name);
    }

    [Fact]
    public async Task ATeachersAnswersThatWereWrittenAreKept()
    {
        using SmallDisk disk = Disk();
        using TinyEngine teacher = new();
        using ModelFile file = ModelFile.Open(TestData.Local("tiny"));
        TrainingDocument[] documents = [.. Enumerable.Range(0, 40).Select(i => new TrainingDocument(TinyEngine.Prompt(i, 60)))];
        byte[] key = TeacherCache.KeyOf(file, documents);
        string path = disk.File("teacher.bin"), whole = _temp.File("whole.bin");
        await TeacherCache.WriteAsync(whole, teacher.Engine, 1024, key, documents, 1024);
        disk.Fill(kilobytesLeft: 2500);
        AssertSaysSo(path, await Assert.ThrowsAsync<IOException>(() => TeacherCache.WriteAsync(path, teacher.Engine, 1024, key, documents, 1024)));
        Assert.Equal(["teacher.bin.part"], disk.Files());
        disk.MakeRoom();
        List<int> done = [];
        await TeacherCache.WriteAsync(path, teacher.Engine, 1024, key, documents, 1024, new SynchronousProgress<int>(done.Add));
        Assert.InRange(done.Count, 1, 39);
        Assert.Equal(File.ReadAllBytes(whole), File.ReadAllBytes(path));
    }

    [Fact]
    public async Task ASavedPromptStaysAndTheEngineGoesOn()
    {
        using SmallDisk disk = Disk();
        string path = disk.File("prompt.cache");
        using TinyEngine tiny = new();
        await tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(1, 40));
        byte[] old = File.ReadAllBytes(path);
        disk.Fill(kilobytesLeft: 20);
        AssertSaysSo(path, await Assert.ThrowsAsync<IOException>(() => tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(2, 400))));
        Assert.Equal(old, File.ReadAllBytes(path));
        Assert.Equal(["prompt.cache"], disk.Files());
        Eventually.IsTrue(() => tiny.Engine.Status.UsedBlocks == 0);
        EngineTests.AssertNothingHeld(tiny);
        disk.MakeRoom();
        await tiny.Engine.SavePromptCacheAsync(path, TinyEngine.Prompt(2, 400));
        using TinyEngine second = new();
        Assert.Equal(400, await second.Engine.LoadPromptCacheAsync(path));
    }

    /// <summary>What a killed process left of a file that many may write goes with the next one, not what is being written.</summary>
    [Fact]
    public void WhatKilledProcessesLeftOfASharedFileIsRemoved()
    {
        string path = _temp.File("prompt.cache"), left = $"{path}.{Guid.NewGuid():N}.tmp", fresh = $"{path}.{Guid.NewGuid():N}.tmp", held = $"{path}.{Guid.NewGuid():N}.tmp", other = _temp.File("prompt.cache.mine.tmp");
        foreach (string file in (string[])[left, fresh, held, other])
        {
            File.WriteAllText(file, "half");
            File.SetLastWriteTimeUtc(file, file == fresh ? DateTime.UtcNow : DateTime.UtcNow.AddHours(-1));
        }

        using (new FileStream(held, FileMode.Open, FileAccess.ReadWrite, FileShare.None))
        {
            WholeFile.WriteShared(path, stream => stream.Write("whole"u8));
        }

        Assert.Equal("whole", File.ReadAllText(path));
        Assert.Equal(new[] { path, fresh, held, other }.Order(StringComparer.Ordinal), Directory.GetFiles(_temp.Path).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task ADownloadGoesOnWhenThereIsRoomAgain()
    {
        using SmallDisk disk = Disk();
        await using LoopbackHub hub = await LoopbackHub.StartAsync();
        byte[] file = new byte[200_000];
        new Random(6).NextBytes(file);
        hub.Add("model-Q4_0.gguf", file);
        int sent = 0;
        hub.Misbehave = (_, _) =>
        {
            if (Interlocked.Increment(ref sent) == 5)
            {
                disk.Fill();
            }

            return Task.FromResult(false);
        };
        GemmaHubOptions options = new() { CacheDirectory = disk.File("cache"), Endpoint = hub.Address, Token = "none", Offline = false, RangeBytes = 8192, Connections = 1, Retries = 100 };
        GemmaHubException error = await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("hf:owner/model:Q4_0", options));
        Assert.Contains($"'{disk.File("cache")}' stopped: the disk is full. Free some room", error.Message, StringComparison.Ordinal);
        Assert.Contains("HF_HUB_CACHE", error.Message, StringComparison.Ordinal);
        int requests = sent;
        Assert.InRange(requests, 5, 7); // the server is not asked again for what the disk can't take
        Assert.DoesNotContain(disk.Files(), name => name.EndsWith(".gguf", StringComparison.Ordinal));
        await Assert.ThrowsAsync<GemmaHubException>(() => GemmaModelHub.EnsureAsync("hf:owner/model:Q4_0", new GemmaHubOptions { CacheDirectory = disk.File("cache"), Offline = true }));
        disk.MakeRoom();
        string path = await GemmaModelHub.EnsureAsync("hf:owner/model:Q4_0", options);
        Assert.Equal(file, File.ReadAllBytes(path));
        Assert.True(sent - requests < (file.Length + 8191) / 8192, "What was downloaded is not fetched again.");
    }

    private static void AssertSaysSo(string path, IOException error, string? prefix = null)
    {
        Assert.StartsWith(prefix is null ? $"'{path}' cannot be written: the disk is full." : $"'{prefix}", error.Message, StringComparison.Ordinal);
        Assert.Contains("the disk is full. Free some room there, or write to another place.", error.Message, StringComparison.Ordinal);
        Assert.True(DiskFull.Is(error));
    }

    private static async Task<string> FailAsync(params string[] command)
    {
        (int exit, string error) = await RunAsync(command);
        Assert.Equal(GemmaCli.Failure, exit);
        Assert.Single(error.TrimEnd().Split('\n'));
        return error;
    }

    private static async Task<(int Exit, string Error)> RunAsync(string[] command, TextWriter? output = null)
    {
        using Interrupts interrupts = new();
        StringWriter error = new();
        int exit = await GemmaCli.RunAsync(command, new CliInvocation(interrupts) { Output = output ?? new StringWriter(), Error = error, IsInteractive = false });
        return (exit, error.ToString());
    }

    private sealed class Listener(Action then) : IProgress<ConversionProgress>
    {
        public void Report(ConversionProgress value) => then();
    }
}
