using Microsoft.Extensions.VectorData;

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
