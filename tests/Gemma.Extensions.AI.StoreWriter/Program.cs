using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Text;
using Microsoft.Extensions.VectorData;

// Works on a store without end and says on the standard output what has been committed, until it is killed:
//   write FILE N               records, in batches from N on
//   ingest FILE TOKENIZER N    documents, brought up to date in versions from N on
//   reindex FILE               opens a file of the first layout
switch (args)
{
    case ["write", var path, var first]:
        await WriteAsync(path, int.Parse(first));
        break;
    case ["ingest", var path, var tokenizer, var first]:
        await IngestAsync(path, GemmaTokenizer.FromFile(tokenizer), int.Parse(first));
        break;
    case ["reindex", var path]:
        await ReindexAsync(path);
        break;
    default:
        throw new ArgumentException("write FILE N, ingest FILE TOKENIZER N, or reindex FILE");
}

//   U n   batch n is stored: Size records of Version 0
//   V n   the first record of batch n has Version n + 1
//   D n   the last record of batch n is deleted
static async Task WriteAsync(string path, int first)
{
    using SqliteVectorStore store = new(path);
    VectorStoreCollection<long, StoredItem> items = store.GetCollection<long, StoredItem>(StoredItem.Collection);
    await items.EnsureCollectionExistsAsync();
    using StreamWriter output = Output();
    for (int n = first; ; n++)
    {
        await items.UpsertAsync(Enumerable.Range(0, StoredItem.Size).Select(i => StoredItem.Make(n, i)));
        output.WriteLine($"U {n}");
        StoredItem changed = StoredItem.Make(n, 0);
        changed.Version = n + 1;
        await items.UpsertAsync(changed);
        output.WriteLine($"V {n}");
        await items.DeleteAsync((long)n * StoredItem.Size + StoredItem.Size - 1);
        output.WriteLine($"D {n}");
    }
}

//   I n   version n of all documents is stored
static async Task IngestAsync(string path, GemmaTokenizer tokenizer, int first)
{
    using SqliteVectorStore store = new(path);
    DocumentIngestor ingestor = new(store.GetCollection<Guid, DocumentChunk>("documents", DocumentChunk.CreateDefinition(null)), tokenizer, options: Paper.Options);
    using StreamWriter output = Output();
    for (int n = first; ; n++)
    {
        await ingestor.IngestAsync(Paper.Make(n));
        output.WriteLine($"I {n}");
    }
}

//   R n   n records are indexed anew; it waits a little then
static async Task ReindexAsync(string path)
{
    using StreamWriter output = Output();
    using SqliteVectorStore store = new(path, new SqliteVectorStoreOptions { ReindexProgress = new Slow(output) });
    await store.CollectionExistsAsync("documents");
}

static StreamWriter Output() => new(Console.OpenStandardOutput()) { AutoFlush = true };

internal sealed class Slow(StreamWriter output) : IProgress<SqliteReindexProgress>
{
    public void Report(SqliteReindexProgress value)
    {
        output.WriteLine($"R {value.Done}");
        Thread.Sleep(TimeSpan.FromMinutes(value.Done > 0 ? 1 : 0));
    }
}
