using Gemma.Extensions.AI.Rag;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class StoreDurabilityTests
{
    /// <summary>A writing process is killed 100 times at random moments: what it said is committed is there, batches are whole, the file is sound.</summary>
    [Fact]
    public async Task AKilledWriterLosesNothingCommittedAndCorruptsNothing()
    {
        using TempDirectory directory = new();
        string path = directory.File("store.db");
        Random random = new(17);
        int next = 0;
        List<(char Kind, int Batch)> acknowledged = [];
        int killedMidway = 0;
        for (int kill = 0; kill < 100; kill++)
        {
            List<(char Kind, int Batch)> said = WriteAndKill(path, next, TimeSpan.FromMilliseconds(random.Next(0, 40)));
            acknowledged.AddRange(said);
            killedMidway += said.Count > 0 ? 1 : 0;
            using SqliteVectorStore store = new(path);
            VectorStoreCollection<long, StoredItem> items = store.GetCollection<long, StoredItem>(StoredItem.Collection);
            if (await items.CollectionExistsAsync())
            {
                next = await CheckAsync(items, said, next);
            }
        }

        Assert.True(killedMidway > 50, $"Only {killedMidway} of 100 writers had begun to write.");
        using (SqliteVectorStore store = new(path))
        {
            VectorStoreCollection<long, StoredItem> items = store.GetCollection<long, StoredItem>(StoredItem.Collection);
            await CheckAsync(items, acknowledged, 0);

            // The three kinds of tables agree: every row is found by its words and by its vector.
            List<StoredItem> all = await items.GetAsync(i => true, int.MaxValue).ToListAsync();
            Assert.Equal(all.Count, await items.SearchAsync(StoredItem.Make(0, 0).Vector, all.Count + 10).CountAsync());
            foreach (StoredItem item in all.Where((_, i) => i % 37 == 0))
            {
                Assert.Equal(item.Id, (await items.SearchAsync(StoredItem.Make(item.Batch, (int)(item.Id % StoredItem.Size)).Vector, 1).SingleAsync()).Record.Id);
                Assert.Equal(item.Id, (await ((SqliteVectorCollection<long, StoredItem>)items).KeywordSearchAsync([$"item{item.Id}"], 2).SingleAsync()).Record.Id);
            }
        }

        using SqliteConnection connection = new($"Data Source={path};Pooling=False");
        connection.Open();
        using SqliteCommand check = connection.CreateCommand();
        check.CommandText = "PRAGMA integrity_check";
        Assert.Equal("ok", check.ExecuteScalar());
        check.CommandText = "INSERT INTO vc1_text(vc1_text) VALUES('integrity-check')";
        check.ExecuteNonQuery();
    }

    /// <summary>Checks what was said and that no batch from <paramref name="first"/> on is half there. Returns the next free batch.</summary>
    private static async Task<int> CheckAsync(VectorStoreCollection<long, StoredItem> items, List<(char Kind, int Batch)> said, int first)
    {
        ILookup<int, StoredItem> batches = (await items.GetAsync(i => i.Batch >= first, int.MaxValue).ToListAsync()).ToLookup(i => i.Batch);
        foreach ((char kind, int batch) in said)
        {
            StoredItem[] stored = [.. batches[batch]];
            Assert.True(stored.Length >= StoredItem.Size - 1, $"Batch {batch} was committed but has {stored.Length} records.");
            if (kind == 'V')
            {
                Assert.Equal(batch + 1, stored.Single(i => i.Id == (long)batch * StoredItem.Size).Version);
            }
            else if (kind == 'D')
            {
                Assert.DoesNotContain(stored, i => i.Id % StoredItem.Size == StoredItem.Size - 1);
            }
        }

        foreach (IGrouping<int, StoredItem> batch in batches)
        {
            // Only the delete, which comes last, makes a batch smaller.
            Assert.True(
                batch.Count() == StoredItem.Size || (batch.Count() == StoredItem.Size - 1 && batch.Any(i => i.Version == batch.Key + 1)),
                $"Batch {batch.Key} is half there: {batch.Count()} records.");
        }

        return batches.Select(b => b.Key + 1).Append(first).Max();
    }

    private static List<(char Kind, int Batch)> WriteAndKill(string path, int next, TimeSpan delay) =>
        [.. StoreWriterProcess.RunAndKill(delay, "write", path, $"{next}").Select(line => (line[0], int.Parse(line.AsSpan(2))))];
}
