using System.Diagnostics;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Quantization;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary>Commands that write a file, killed at random bytes of it: the old file is there, or the new one, and what was begun is refused.</summary>
public sealed class KilledConversionTests(ITestOutputHelper output) : IDisposable
{
    private readonly TempDirectory _temp = new();

    public void Dispose() => _temp.Dispose();

    [Theory]
    [InlineData("convert")]
    [InlineData("quantize")]
    public async Task AKilledConversionLeavesTheOldFileOrTheNewOne(string command)
    {
        // Three pieces of a megabyte each; the second type takes longer to compute.
        (string Type, byte[] Whole)[] types = [.. new[] { "Q8_0", "Q6_K" }.Select(type => (type, Convert(type)))];
        string path = _temp.File("model.gguf"), partial = path + ".partial";
        Random random = new(3);
        int midway = 0, killed = 0, kills = CliProcess.Kills(few: 4), before = -1;
        for (int kill = 0; kill < kills; kill++)
        {
            int now = random.Next(2);
            long limit = random.NextInt64(-types[now].Whole.Length / 4, types[now].Whole.Length + 1);
            DateTime start = DateTime.UtcNow;
            using (Process process = CliProcess.Start([command, TestData.Local("tiny"), "--type", types[now].Type, "--threads", "1", "--output", path]))
            {
                killed += await process.KillWhenAsync(() => new FileInfo(partial) is { Exists: true } begun && begun.LastWriteTimeUtc > start && begun.Length >= limit) ? 1 : 0;
            }

            if (File.Exists(partial))
            {
                byte[] begun = File.ReadAllBytes(partial);
                midway += types.Any(type => type.Whole.AsSpan().SequenceEqual(begun)) ? 0 : 1;
                AssertIsRefusedOrWhole(begun, [.. types.Select(type => type.Whole)]); // of this command, or still of the one before
            }

            byte[]? found = File.Exists(path) ? File.ReadAllBytes(path) : null;
            bool isNew = found is not null && found.AsSpan().SequenceEqual(types[now].Whole);
            Assert.True(isNew || (before < 0 ? found is null : found is not null && found.AsSpan().SequenceEqual(types[before].Whole)), $"After kill {kill} at {limit:N0} bytes the file is neither the old one nor the new one.");
            before = isNew ? now : before;
        }

        output.WriteLine($"{killed} of {kills} processes were killed, {midway} with a part of the file written.");
        Assert.True(killed > 0);
        Assert.True(midway > 0 || kills < 20, $"None of {kills} was killed in the middle of the file.");

        // What was left behind is in nobody's way.
        (int exit, _, string errors) = await CliProcess.ToEndAsync([command, TestData.Local("tiny"), "--type", "Q8_0", "--output", path]);
        Assert.True(exit == 0, errors);
        Assert.Equal(types[0].Whole, File.ReadAllBytes(path));
        Assert.Equal([path], Directory.GetFiles(_temp.Path));
    }

    [Fact]
    public async Task AKilledCollectionLeavesTheOldMatrixOrTheNewOne()
    {
        string text = _temp.File("text.txt"), path = _temp.File("imatrix.gguf"), partial = path + ".partial";
        File.WriteAllText(text, string.Concat(Enumerable.Range(0, 200).Select(i => $"Line {i} of a text about the sea, the land and {i * i} other things.\n")));
        string[] command = ["imatrix", "--model", TestData.Local("tiny"), "--file", text, "--context", "64", "--threads", "1", "--output"];
        (int exit, _, string errors) = await CliProcess.ToEndAsync([.. command, _temp.File("whole.gguf")]);
        Assert.True(exit == 0, errors);
        byte[] expected = File.ReadAllBytes(_temp.File("whole.gguf")), old = [.. expected, 0];
        Random random = new(4);
        int midway = 0, killed = 0, kills = CliProcess.Kills(few: 3);
        for (int kill = 0; kill < kills; kill++)
        {
            // In the collection, which has written nothing yet, at the file's first moment, or after its last byte.
            File.WriteAllBytes(path, old);
            TimeSpan cpu = TimeSpan.FromSeconds(random.NextDouble() / 2);
            DateTime start = DateTime.UtcNow;
            using (Process process = CliProcess.Start([.. command, path]))
            {
                Func<bool> happened = (kill % 3) switch
                {
                    0 => () => File.GetLastWriteTimeUtc(partial) > start, // not what the one before left
                    1 => () => Used(process) > cpu,
                    _ => () => new FileInfo(path).Length == expected.Length,
                };
                killed += await process.KillWhenAsync(happened) ? 1 : 0;
            }

            if (File.Exists(partial))
            {
                byte[] begun = File.ReadAllBytes(partial);
                midway += File.GetLastWriteTimeUtc(partial) > start ? 1 : 0;
                AssertIsRefusedOrWhole(begun, [expected], partial => ImportanceMatrix.Load(partial));
            }

            byte[] found = File.ReadAllBytes(path);
            Assert.True(found.AsSpan().SequenceEqual(old) || found.AsSpan().SequenceEqual(expected), $"After kill {kill} the matrix is neither the old one nor the new one.");
        }

        output.WriteLine($"{killed} of {kills} processes were killed, {midway} with a part of the file written.");
        Assert.True(killed > 0);
    }

    private static TimeSpan Used(Process process)
    {
        try
        {
            return process.TotalProcessorTime;
        }
        catch (InvalidOperationException)
        {
            return TimeSpan.MaxValue; // it has ended
        }
    }

    private byte[] Convert(string type)
    {
        using ModelFile source = ModelFile.Open(TestData.Local("tiny"));
        string path = _temp.File("whole.gguf");
        ModelConverter.Write(source, QuantizationRecipe.Get(type), path);
        byte[] whole = File.ReadAllBytes(path);
        File.Delete(path);
        return whole;
    }

    /// <summary>Who gives an unfinished file its name by hand is told so.</summary>
    private void AssertIsRefusedOrWhole(byte[] begun, byte[][] whole, Action<string>? open = null)
    {
        if (whole.Any(file => file.AsSpan().SequenceEqual(begun)))
        {
            return;
        }

        string renamed = _temp.File("renamed.gguf");
        File.WriteAllBytes(renamed, begun);
        Assert.Contains(renamed, Assert.Throws<GemmaModelFormatException>(() => (open ?? (path => ModelFile.Open(path).Dispose()))(renamed)).Message, StringComparison.Ordinal);
        File.Delete(renamed);
    }
}
