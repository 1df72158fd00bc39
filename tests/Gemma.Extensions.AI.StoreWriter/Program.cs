using Gemma.Extensions.AI.Rag;
using Microsoft.Extensions.VectorData;

// Writes to a store without end and says on the standard output what has been committed, until it is killed:
//   U n   batch n is stored: Size records of Version 0
//   V n   the first record of batch n has Version n + 1
//   D n   the last record of batch n is deleted
using SqliteVectorStore store = new(args[0]);
using VectorStoreCollection<long, StoredItem> items = store.GetCollection<long, StoredItem>(StoredItem.Collection);
await items.EnsureCollectionExistsAsync();
using StreamWriter output = new(Console.OpenStandardOutput()) { AutoFlush = true };
for (int n = int.Parse(args[1]); ; n++)
{
    await items.UpsertAsync(Enumerable.Range(0, StoredItem.Size).Select(i => StoredItem.Make(n, i)));
    output.WriteLine($"U {n}");
    StoredItem first = StoredItem.Make(n, 0);
    first.Version = n + 1;
    await items.UpsertAsync(first);
    output.WriteLine($"V {n}");
    await items.DeleteAsync((long)n * StoredItem.Size + StoredItem.Size - 1);
    output.WriteLine($"D {n}");
}

/// <summary>What the writer stores and the test checks.</summary>
public sealed class StoredItem
{
    public const string Collection = "items";

    /// <summary>Records of a batch.</summary>
    public const int Size = 6;

    [VectorStoreKey]
    public long Id { get; set; }

    [VectorStoreData(IsIndexed = true)]
    public int Batch { get; set; }

    [VectorStoreData]
    public int Version { get; set; }

    [VectorStoreData(IsFullTextIndexed = true)]
    public string Text { get; set; } = "";

    [VectorStoreVector(16)]
    public ReadOnlyMemory<float> Vector { get; set; }

    public static StoredItem Make(int batch, int i)
    {
        long id = (long)batch * Size + i;
        Random random = new((int)id);
        return new StoredItem { Id = id, Batch = batch, Text = $"item{id} of batch{batch}", Vector = Enumerable.Range(0, 16).Select(_ => random.NextSingle() - 0.5f).ToArray() };
    }
}
