using System.Diagnostics;
using System.Security.Cryptography;
using Gemma.Extensions.AI.Cli;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Tests.Cli;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Training;

/// <summary>
/// Runs that are killed at random lines of their output, or while a file is being written, again and again: each goes on from its last checkpoint, the
/// model that lies there is whole and the one of a checkpoint, and the end is that of a run that was left alone.
/// </summary>
public sealed class KilledTrainingTests(ITestOutputHelper output) : IDisposable
{
    private const int Steps = 200, Every = 25;
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("train")]
    [InlineData("distill")]
    [InlineData("adapter")]
    public async Task AKilledRunEndsLikeOneThatWasLeftAlone(string kind)
    {
        Student.Write(_directory);
        if (kind == "train")
        {
            Student.AddTokenizer(_directory);
        }

        string whole = _directory.File("whole"), run = _directory.File("killed");
        string weights = kind == "adapter" ? "adapter/adapter_model.safetensors" : "model/model.safetensors";
        HashSet<string> checkpoints = await LeftAloneAsync(Command(kind, whole), Path.Combine(whole, weights));
        Random random = new(5);
        int kills = CliProcess.Kills(few: 2), killed = 0, midway = 0, ended = 0;
        for (int kill = 0; kill < kills; kill++)
        {
            DateTime start = DateTime.UtcNow;
            using (Process process = CliProcess.Start(Command(kind, run)))
            {
                // Half of them at a line, half while a file is written.
                int lines = 0, limit = random.Next(1, 20), partials = 0;
                process.OutputDataReceived += (_, line) => Interlocked.Add(ref lines, line.Data is null ? 0 : 1);
                process.BeginOutputReadLine();
                killed += await process.KillWhenAsync(() => Volatile.Read(ref lines) >= limit || (kill % 2 == 0 && Partials(run, start) && ++partials > limit / 2)) ? 1 : 0;
            }

            midway += Partials(run, start) ? 1 : 0;
            AssertWhole(run, weights, checkpoints);
            if (File.Exists(Path.Combine(run, weights)) && Student.Losses(run)[^1].StartsWith($"{Steps},", StringComparison.Ordinal))
            {
                // It came to its end before the kill, or is done but for the last words.
                await EndAsync(kind, run, whole, weights);
                Directory.Delete(run, recursive: true);
                ended++;
            }
        }

        await EndAsync(kind, run, whole, weights);
        output.WriteLine($"{killed} of {kills} processes were killed, {midway} while a file was being written; {ended} runs came to their end in between.");
        Assert.True(killed > 0);
    }

    private string[] Command(string kind, string run)
    {
        string[] common =
        [
            "--data", _directory.File("corpus.txt"), "--validation", _directory.File("held-out.txt"), "--output", run, "--steps", $"{Steps}", "--length", "32", "--batch-tokens", "64",
            "--micro-batches", "1", "--warmup", "5", "--checkpoint-every", $"{Every}", "--threads", "1",
        ];
        return kind switch
        {
            "train" => ["train", "--model", _directory.File("student"), .. common],
            "distill" => ["distill", "--teacher", TestData.Local("gguf/tiny-Q4_K_M.gguf"), "--student", _directory.File("student/config.json"), "--top-k", "8", .. common],
            _ => ["train", "--model", TestData.Local("gguf/tiny-Q4_K_M.gguf"), "--lora", "2", .. common],
        };
    }

    /// <summary>Runs to the end, and gives the hashes of the weights at each checkpoint.</summary>
    private static async Task<HashSet<string>> LeftAloneAsync(string[] command, string weights)
    {
        HashSet<string> hashes = [];
        using Interrupts interrupts = new();
        StringWriter error = new();
        using Student.ReactingWriter lines = new("checkpoint after step ", () => hashes.Add(Hash(weights)));
        Assert.True(await GemmaCli.RunAsync(command, new CliInvocation(interrupts) { Output = lines, Error = error, IsInteractive = false }) == GemmaCli.Success, error.ToString());
        Assert.Equal(Steps / Every, hashes.Count);
        return hashes;
    }

    private async Task EndAsync(string kind, string run, string whole, string weights)
    {
        await GoOnAsync(Command(kind, run));
        Assert.Equal(Student.Losses(whole), Student.Losses(run));
        Assert.Equal(Hash(Path.Combine(whole, weights)), Hash(Path.Combine(run, weights)));
        Assert.Equal(Names(whole), Names(run));
        if (kind == "distill")
        {
            Assert.Equal(Hash(Path.Combine(whole, "teacher.bin")), Hash(Path.Combine(run, "teacher.bin")));
        }

        static string[] Names(string run) => [.. Directory.EnumerateFiles(run, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(run, file)).Order(StringComparer.Ordinal)];
    }

    private static async Task GoOnAsync(string[] command)
    {
        using Interrupts interrupts = new();
        StringWriter error = new();
        Assert.True(await GemmaCli.RunAsync(command, new CliInvocation(interrupts) { Output = new StringWriter(), Error = error, IsInteractive = false }) == GemmaCli.Success, error.ToString());
    }

    /// <summary>What can be loaded is the model of a checkpoint, with all its files; anything else is refused.</summary>
    private static void AssertWhole(string run, string weights, HashSet<string> checkpoints)
    {
        string path = Path.Combine(run, weights), directory = Path.GetDirectoryName(path)!;
        if (File.Exists(path))
        {
            Assert.Contains(Hash(path), checkpoints);
        }

        if (!weights.StartsWith("model/", StringComparison.Ordinal))
        {
            Check(() => LoraFile.Open(directory).Dispose());
            return;
        }

        Check(() =>
        {
            using ModelFile file = ModelFile.Open(directory);
            Assert.Equal(1024, file.CreateTokenizer().VocabularySize);
        });

        void Check(Action open)
        {
            if (File.Exists(path))
            {
                open();
            }
            else
            {
                Assert.Throws<GemmaModelFormatException>(open);
            }
        }
    }

    /// <summary>Whether a file is being written: one that a killed process left is older.</summary>
    private static bool Partials(string run, DateTime start) =>
        Directory.Exists(run) && Directory.EnumerateFiles(run, "*.part*", SearchOption.AllDirectories).Any(file => File.GetLastWriteTimeUtc(file) > start);

    private static string Hash(string path) => Convert.ToHexString(SHA256.HashData(File.ReadAllBytes(path)));
}
