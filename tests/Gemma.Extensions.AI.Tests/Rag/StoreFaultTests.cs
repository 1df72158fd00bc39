using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Tests.Cli;
using Gemma.Extensions.AI.Text;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>Damage, full disks and ends in the middle: what is there is whole, or the documented exception says what is wrong.</summary>
public sealed class StoreFaultTests : IDisposable
{
    private static readonly GemmaTokenizer s_tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));
    private readonly TempDirectory _directory = new();

    private static DocumentIngestorOptions Small => new() { MaxTokens = 64, MinTokens = 16, OverlapTokens = 0, BatchSize = 2 };

    public void Dispose() => _directory.Dispose();

    private static VectorStoreCollection<Guid, DocumentChunk> Documents(VectorStore store) => store.GetCollection<Guid, DocumentChunk>("documents", DocumentChunk.CreateDefinition(null));

    private static SourceDocument[] Make(int documents, string word = "river", int sentences = 12) =>
    [
        .. Enumerable.Range(0, documents).Select(d => SourceDocument.FromText(
            $"paper{d}", string.Join("\n\n", Enumerable.Range(0, sentences).Select(i => $"Sentence {i} of {word}{d} says that number {i * 7} comes after number {i}.")))),
    ];

    /// <summary>All that a user does with a file. Counts the calls that end in the documented exception; any other ends the test.</summary>
    private static async Task<int> UseAsync(string path)
    {
        using SqliteVectorStore store = new(path, new SqliteVectorStoreOptions { BusyTimeout = TimeSpan.FromMilliseconds(100) });
        VectorStoreCollection<Guid, DocumentChunk> collection = Documents(store);
        int failed = 0;
        foreach (Func<Task> operation in (Func<Task>[])
        [
            () => store.ListCollectionNamesAsync().ToListAsync().AsTask(),
            () => new DocumentRetriever(collection).SearchAsync("What does river3 say of number 7?"),
            () => collection.GetAsync(c => c.Ordinal >= 0, 1000).ToListAsync().AsTask(),
            () => new DocumentIngestor(collection, s_tokenizer, options: Small).IngestAsync(Make(3, "lake")),
        ])
        {
            try
            {
                await operation();
            }
            catch (VectorStoreException error)
            {
                Assert.Contains(path, error.Message, StringComparison.Ordinal);
                failed++;
            }
        }

        return failed;
    }

    private async Task<byte[]> SoundAsync()
    {
        string path = _directory.File("sound.db");
        using (SqliteVectorStore store = new(path))
        {
            await new DocumentIngestor(Documents(store), s_tokenizer, options: Small).IngestAsync(Make(12));
        }

        Assert.False(File.Exists(path + "-wal"));
        return await File.ReadAllBytesAsync(path);
    }

    /// <summary>Single bits, of the header and each page in turn, and files that end early.</summary>
    [Fact]
    public async Task FlippedBitsAndLostEndsGiveTheDocumentedException()
    {
        byte[] sound = await SoundAsync();
        Random random = new(21);
        int failed = 0;
        string path = _directory.File("damaged.db");
        for (int round = 0; round < 120; round++)
        {
            byte[] bytes = (byte[])sound.Clone();
            if (round % 4 == 3)
            {
                bytes = bytes[..(round % 8 == 3 ? random.Next(bytes.Length) : random.Next(bytes.Length / 4096) * 4096)];
            }
            else
            {
                for (int flips = round % 4 == 0 ? 1 : 200; flips > 0; flips--)
                {
                    int at = round % 4 == 1 ? random.Next(100) : random.Next(bytes.Length);
                    bytes[at] ^= (byte)(1 << random.Next(8));
                }
            }

            foreach (string old in (string[])[path, path + "-wal", path + "-shm"])
            {
                File.Delete(old);
            }

            await File.WriteAllBytesAsync(path, bytes);
            failed += await UseAsync(path);
        }

        Assert.InRange(failed, 60, 470);
    }

    /// <summary>A log that was left over by a process that ended: whole, damaged, cut, of another file, or not a log at all.</summary>
    [Fact]
    public async Task ALogThatWasLeftOverIsTakenUpOrIgnored()
    {
        string path = _directory.File("written.db");
        byte[] sound = await SoundAsync();
        await File.WriteAllBytesAsync(path, sound);
        byte[] file, log;
        using (SqliteVectorStore store = new(path))
        {
            await new DocumentIngestor(Documents(store), s_tokenizer, options: Small).IngestAsync([.. Make(12), .. Make(13)[12..]]);
            file = await ReadSharedAsync(path);
            log = await ReadSharedAsync(path + "-wal");
            Assert.True(log.Length > 4096);
        }

        // As the end of the machine leaves it: what was committed into the log is there.
        async Task<int> CountAsync(byte[] main, byte[] left)
        {
            string copy = _directory.File($"{Guid.NewGuid()}.db");
            await File.WriteAllBytesAsync(copy, main);
            await File.WriteAllBytesAsync(copy + "-wal", left);
            using SqliteVectorStore store = new(copy, new SqliteVectorStoreOptions { BusyTimeout = TimeSpan.FromMilliseconds(100) });
            DocumentRetriever retriever = new(Documents(store));
            return (await retriever.SearchAsync("river12", 20)).Count;
        }

        int whole = await CountAsync(file, log);
        Assert.True(whole > 1);
        Assert.Equal(0, await CountAsync(sound, []));

        // Cut or damaged at any place: all of a document is found, or nothing of it.
        Random random = new(4);
        int none = 0;
        for (int round = 0; round < 60; round++)
        {
            byte[] bytes = round % 2 == 0 ? log[..random.Next(log.Length)] : (byte[])log.Clone();
            if (round % 2 == 1)
            {
                bytes[random.Next(bytes.Length)] ^= (byte)(1 << random.Next(8));
            }

            int found = await CountAsync(file, bytes);
            Assert.True(found == 0 || found == whole, $"{found} of {whole} passages are found.");
            none += found == 0 ? 1 : 0;
        }

        Assert.InRange(none, 5, 60);
        byte[] noise = new byte[9000];
        random.NextBytes(noise);
        Assert.Equal(0, await CountAsync(sound, noise));
    }

    private static async Task<byte[]> ReadSharedAsync(string path)
    {
        await using FileStream stream = new(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        byte[] bytes = new byte[stream.Length];
        await stream.ReadExactlyAsync(bytes);
        return bytes;
    }

    /// <summary>
    /// A process that brings documents up to date, again and again, is killed at random moments: as often as GEMMA_KILLS says, or a few times, since each start takes a while. Whoever searches then finds each document as a whole: the version that was
    /// reported, or the one that was being written.
    /// </summary>
    [Fact]
    public async Task AKilledIngestionLeavesEachDocumentWhole()
    {
        string path = _directory.File("papers.db");
        Random random = new(9);
        int version = 0, midway = 0, kills = CliProcess.Kills(few: 8);
        for (int kill = 0; kill < kills; kill++)
        {
            List<string> said = StoreWriterProcess.RunAndKill(TimeSpan.FromMilliseconds(random.Next(0, 60)), "ingest", path, TestData.Local("tiny/tokenizer.model"), $"{version}");
            int reported = said.Where(line => line.StartsWith("I ", StringComparison.Ordinal)).Select(line => int.Parse(line.AsSpan(2))).DefaultIfEmpty(version - 1).Max();
            using SqliteVectorStore store = new(path);
            VectorStoreCollection<Guid, DocumentChunk> collection = Documents(store);
            midway += (await collection.GetAsync(c => c.Ordinal >= 1, 1000).ToListAsync()).GroupBy(c => c.DocumentId).Any(g => g.Select(c => c.ContentHash).Distinct().Count() > 1) ? 1 : 0;
            foreach (PaperVersion paper in await FoundAsync(collection))
            {
                Assert.True(paper.IsWhole, $"After kill {kill}, '{paper.Document}' is found as {paper}.");
                Assert.InRange(paper.Version, reported, reported + 1);
            }

            version = Math.Max(version, reported + 1);
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{midway} of {kills} were killed within a document.");
        Assert.True(midway >= 1, $"None of {kills} was killed within a document.");
        using (SqliteVectorStore store = new(path))
        {
            // The next run brings all to one state, and leaves nothing behind.
            await new DocumentIngestor(Documents(store), s_tokenizer, options: Paper.Options).IngestAsync(Paper.Make(version));
            Assert.All(await FoundAsync(Documents(store)), p => Assert.True(p.IsWhole && p.Version == version, p.ToString()));
            List<DocumentChunk> all = await Documents(store).GetAsync(c => c.Ordinal >= 0, 10_000).ToListAsync();
            Assert.All(all.GroupBy(c => c.DocumentId), g => Assert.Equal(Enumerable.Range(0, g.Count()), g.Select(c => c.Ordinal).Order()));
        }

        using SqliteConnection connection = new($"Data Source={path};Pooling=False");
        connection.Open();
        using SqliteCommand check = connection.CreateCommand();
        check.CommandText = "PRAGMA integrity_check";
        Assert.Equal("ok", check.ExecuteScalar());
    }

    /// <summary>What a search for each document's own word finds of it.</summary>
    private static async Task<List<PaperVersion>> FoundAsync(VectorStoreCollection<Guid, DocumentChunk> collection)
    {
        DocumentRetriever retriever = new(collection);
        List<PaperVersion> papers = [];
        for (int d = 0; d < Paper.Count; d++)
        {
            DocumentChunk[] chunks = [.. (await retriever.SearchAsync(Paper.Name(d), 100)).Select(p => p.Chunk).Where(c => c.DocumentId == Paper.Name(d)).OrderBy(c => c.Ordinal)];
            if (chunks.Length > 0)
            {
                string[] versions = [.. chunks.Select(c => System.Text.RegularExpressions.Regex.Match(c.Text, @"version(\d+)").Groups[1].Value).Distinct()];
                int version = int.Parse(versions[0]);
                int sentences = System.Text.RegularExpressions.Regex.Matches(string.Join('\n', chunks.Select(c => c.Text)), "Sentence").Count;
                papers.Add(new PaperVersion(
                    Paper.Name(d), version, versions.Length == 1 && sentences == Paper.Sentences(version) && chunks.Select(c => c.Ordinal).SequenceEqual(Enumerable.Range(0, chunks.Length)),
                    $"versions {string.Join(' ', versions)}, {sentences} sentences, passages {string.Join(' ', chunks.Select(c => c.Ordinal))}"));
            }
        }

        return papers;
    }

    /// <summary>A document that is being replaced is found as it was until the new version is stored as a whole.</summary>
    [Fact]
    public async Task UntilADocumentIsStoredItsOldVersionIsFound()
    {
        using SqliteVectorStore store = new(_directory.File("replaced.db"));
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("documents", DocumentChunk.CreateDefinition(2));
        await new DocumentIngestor(collection, s_tokenizer, new ConstantEmbeddings(), Paper.Options).IngestAsync(Paper.Make(1));
        await Assert.ThrowsAsync<InvalidOperationException>(() => new DocumentIngestor(collection, s_tokenizer, new ConstantEmbeddings { FailAfterCalls = 1 }, Paper.Options).IngestAsync(Paper.Make(2)));
        Assert.Equal(2, (await collection.GetAsync(c => c.Ordinal >= 1, 1000).ToListAsync()).Select(c => c.ContentHash).Distinct().Count());
        Assert.All(await FoundAsync(collection), p => Assert.True(p.IsWhole && p.Version == 1, p.ToString()));

        // Back to what is stored already: nothing is written, and what was begun is gone.
        IngestionResult again = await new DocumentIngestor(collection, s_tokenizer, new ConstantEmbeddings(), Paper.Options).IngestAsync(Paper.Make(1));
        Assert.Equal((0, Paper.Count), (again.Stored, again.Unchanged));
        Assert.Single((await collection.GetAsync(c => c.Ordinal >= 0, 1000).ToListAsync()).Select(c => c.ContentHash).Distinct());
    }

    /// <summary>A disk of 1 MiB.</summary>
    [Fact]
    public async Task AFullDiskIsSaidAndWhatWasStoredStays()
    {
        using SmallDisk disk = new(_directory.File("disk"), megabytes: 1);
        string path = disk.File("papers.db");
        using SqliteVectorStore store = new(path);
        VectorStoreCollection<Guid, DocumentChunk> collection = Documents(store);
        List<IngestionProgress> reports = [];
        VectorStoreException error = await Assert.ThrowsAsync<VectorStoreException>(
            () => new DocumentIngestor(collection, s_tokenizer, options: Small).IngestAsync(Make(2000, sentences: 40), progress: new Reports(reports)));
        Assert.Contains("disk is full", error.Message, StringComparison.Ordinal);
        Assert.NotEmpty(reports);

        // What was reported is there as a whole, and what was not is not found.
        DocumentRetriever retriever = new(collection);
        foreach (int d in (int[])[0, reports.Count - 1])
        {
            Assert.Equal(reports[d].Passages, (await retriever.SearchAsync($"river{d}", 100)).Count(p => p.Chunk.DocumentId == $"paper{d}"));
        }

        Assert.DoesNotContain(await retriever.SearchAsync($"river{reports.Count}", 100), p => p.Chunk.DocumentId == $"paper{reports.Count}");

        // Room is made, and it goes on.
        disk.Grow(megabytes: 8);
        IngestionResult result = await new DocumentIngestor(collection, s_tokenizer, options: Small).IngestAsync(Make(reports.Count + 2, sentences: 40));
        Assert.Equal((2, reports.Count), (result.Stored, result.Unchanged));
    }

    private sealed record PaperVersion(string Document, int Version, bool IsWhole, string Found);

    private sealed class Reports(List<IngestionProgress> list) : IProgress<IngestionProgress>
    {
        public void Report(IngestionProgress value) => list.Add(value);
    }
}
