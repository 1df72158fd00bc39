using System.Text.Json;
using Gemma.Extensions.AI.Cli.Documents;

namespace Gemma.Extensions.AI.Tests.Cli;

/// <summary><c>gemma ask</c>, <c>gemma embed</c>, and where prompts come from.</summary>
public sealed class DocumentCommandTests : IDisposable
{
    private readonly TempDirectory _temp = new();

    private static string Tiny => TestData.Local("tiny");

    public void Dispose() => _temp.Dispose();

    [Fact]
    public async Task AnAnswerComesWithItsSourcesAndTheFolderStaysAsItIs()
    {
        string folder = Folder(("pump.md", "# Pump\n\nThe pump is serviced in March by the mechanic.\n"), ("roof/roof.txt", "The roof was repaired in 2019."));
        string index = _temp.File("index.db");
        using JsonDocument first = JsonDocument.Parse(await CliRun.SucceedAsync("ask", folder, "When is the pump serviced?", "--model", "nano", "--index", index, "--json"));
        JsonElement root = first.RootElement;
        JsonElement passage = root.GetProperty("passages").EnumerateArray().Single(read => read.GetProperty("document").GetString() == "pump.md");
        Assert.Contains("March", passage.GetProperty("text").GetString(), StringComparison.Ordinal);
        Assert.Equal(("Pump", 3), (passage.GetProperty("section").GetString(), passage.GetProperty("line").GetInt32()));
        Assert.Equal(["pump.md", "roof"], Directory.EnumerateFileSystemEntries(folder).Select(Path.GetFileName).Order());
        Assert.True(File.Exists(index));

        // The same for people: the answer, and a line for each source that it cites.
        string[] sources = [.. root.GetProperty("sources").EnumerateArray().Select(source => $"  [{source.GetProperty("number").GetInt32()}] {source.GetProperty("document").GetString()}")];
        string[] lines = (await CliRun.SucceedAsync("ask", folder, "When is the pump serviced?", "--model", "nano", "--index", index)).TrimEnd('\n').Split('\n');
        Assert.Equal(root.GetProperty("answer").GetString(), string.Join('\n', lines[..^sources.Length]));
        Assert.Equal(sources, lines[^sources.Length..].Select(line => line.Split(',')[0]));

        string[] none = (await CliRun.SucceedAsync("ask", folder, "Who won the election in Peru?", "--model", "nano", "--index", index)).TrimEnd('\n').Split('\n');
        Assert.Equal(["That is not in the documents."], none);
    }

    [Fact]
    public async Task AQuestionMayBePipedInAndADocumentBeOne()
    {
        string folder = Folder(("pump.md", "# Pump\n\nThe pump is serviced in March by the mechanic.\n"), ("other.md", "The pump is somewhere else."));
        (int exit, string output, string error) = await CliRun.RunAsync("When is the pump serviced?\n", "ask", Path.Combine(folder, "pump.md"), "-", "--model", Tiny, "--max-tokens", "8", "--index", _temp.File("index.db"), "--json");
        Assert.Equal((0, ""), (exit, error));
        Assert.Equal("pump.md", Assert.Single(JsonElement.Parse(output).GetProperty("passages").EnumerateArray()).GetProperty("document").GetString());
    }

    [Fact]
    public async Task WhatCannotBeReadIsSaid()
    {
        string folder = Folder(("empty.txt", " \n"), ("pump.md", "The pump is serviced in March."));
        (int exit, _, string error) = await CliRun.RunAsync("", "ask", folder, "When is the pump serviced?", "--model", Tiny, "--max-tokens", "4", "--index", _temp.File("index.db"));
        Assert.Equal(0, exit);
        Assert.StartsWith("gemma: warning: empty.txt could not be read: ", error, StringComparison.Ordinal);
        Assert.Contains("There is no folder or document", await CliRun.FailAsync("ask", _temp.File("nowhere"), "what?", "--model", Tiny), StringComparison.Ordinal);
        Assert.Contains("no document that can be read", await CliRun.FailAsync("ask", Folder(("program.exe", "MZ")), "what?", "--model", Tiny, "--index", _temp.File("none.db")), StringComparison.Ordinal);
        Assert.Contains("The question is empty", await CliRun.FailAsync("ask", folder, " ", "--model", Tiny), StringComparison.Ordinal);
    }

    /// <summary>Without --index, passages go where the system keeps what can be made again.</summary>
    [Fact]
    public async Task PassagesAreKeptInTheCacheOfTheUser()
    {
        string folder = Folder(("pump.md", "The pump is serviced in March.")), cache = _temp.File("cache");
        (int exit, _, string errors) = await CliProcess.ToEndAsync(["ask", folder, "When is the pump serviced?", "--model", Tiny, "--max-tokens", "4"], ("XDG_CACHE_HOME", cache), ("HOME", _temp.File("home")));
        Assert.True(exit == 0, errors);
        Assert.Equal("pump.md", Path.GetFileName(Assert.Single(Directory.GetFileSystemEntries(folder))));
        Assert.Single(Directory.GetFiles(Path.Combine(cache, "gemma", "documents"), "*.db"));
        Assert.NotEqual(UserCache.IndexOf("/a/notes"), UserCache.IndexOf("/b/notes"));
        Assert.Equal(UserCache.IndexOf("/a/notes"), UserCache.IndexOf("/a/notes/"));
    }

    [Fact]
    public async Task TextsBecomeVectors()
    {
        float[][] vectors = [.. (await CliRun.SucceedAsync("embed", "a red car", "a blue boat", "--model", Tiny)).TrimEnd().Split('\n').Select(line => JsonSerializer.Deserialize<float[]>(line)!)];
        Assert.Equal(2, vectors.Length);
        Assert.All(vectors, vector => Assert.Equal(1, Math.Sqrt(vector.Sum(value => (double)value * value)), 1e-4));
        using GemmaModel model = GemmaModel.Load(Tiny);
        Assert.Equal((await model.AsIEmbeddingGenerator().GenerateAsync(["a red car"]))[0].Vector.ToArray(), vectors[0]);

        string[] table = (await CliRun.SucceedAsync("embed", "a red car", "a blue boat", "--similarity", "--model", Tiny)).TrimEnd().Split('\n');
        Assert.StartsWith("1.000  ", table[0], StringComparison.Ordinal);
        Assert.EndsWith("  1.000", table[1], StringComparison.Ordinal);

        string file = _temp.File("texts");
        File.WriteAllText(file, "a red car\r\n\r\na blue boat\n");
        Assert.Equal(2, (await CliRun.SucceedAsync("embed", "--file", file, "--model", Tiny)).TrimEnd().Split('\n').Length);
        (int exit, string piped, _) = await CliRun.RunAsync("a red car\n", "embed", "--model", Tiny);
        Assert.Equal(0, exit);
        Assert.Equal(vectors[0], JsonSerializer.Deserialize<float[]>(piped));
        Assert.Contains("Give one of the two", await CliRun.FailAsync("embed", "x", "--file", file, "--model", Tiny), StringComparison.Ordinal);
        Assert.Contains("that is empty", await CliRun.FailAsync("embed", "--model", Tiny), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WhatIsPipedInFollowsThePrompt()
    {
        string joined = await CliRun.SucceedAsync("chat", "--model", Tiny, "--temperature", "0", "--max-tokens", "8", "--prompt", "Sum up:\n\nA text.");
        Assert.Equal((0, joined, ""), await CliRun.RunAsync("A text.\n", "chat", "--model", Tiny, "--temperature", "0", "--max-tokens", "8", "--prompt", "Sum up:"));
        Assert.Equal((0, joined, ""), await CliRun.RunAsync("Sum up:\n\nA text.\n", "chat", "--model", Tiny, "--temperature", "0", "--max-tokens", "8", "--prompt", "-"));
        Assert.Contains("--prompt is '-'", await CliRun.FailAsync("chat", "--model", Tiny, "--prompt", "-"), StringComparison.Ordinal);
    }

    private string Folder(params (string Name, string Text)[] files)
    {
        string folder = _temp.File(Guid.NewGuid().ToString("N"));
        foreach ((string name, string text) in files)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(folder, name))!);
            File.WriteAllText(Path.Combine(folder, name), text);
        }

        return folder;
    }
}
