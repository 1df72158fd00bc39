using System.Diagnostics;
using System.Text;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Text;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

/// <summary>Files of the first layout, and files of others.</summary>
public sealed class LayoutTests : IDisposable
{
    private static readonly GemmaTokenizer s_tokenizer = GemmaTokenizer.FromFile(TestData.Local("tiny/tokenizer.model"));

    private static readonly string[] s_texts = ["製品の保証期間は五年です。", "Die Straße nach Köln", "The pumps are serviced in March.", "版本 GPU加速 支持"];

    private readonly TempDirectory _directory = new();

    private string Path => _directory.File("store.db");

    public void Dispose() => _directory.Dispose();

    private static object? Sql(string path, string sql)
    {
        using SqliteConnection connection = new($"Data Source={path};Pooling=False");
        connection.Open();
        using SqliteCommand command = connection.CreateCommand();
        command.CommandText = sql;
        return command.ExecuteScalar();
    }

    /// <summary>A file as the first layout had it: statements and definitions are those that its version wrote.</summary>
    private static void WriteFirstLayout(string path, int more = 0, string tokenizer = "porter unicode61 remove_diacritics 2")
    {
        StringBuilder sql = new($"""
            PRAGMA journal_mode = WAL;
            BEGIN;
            CREATE TABLE IF NOT EXISTS vector_collections (
                id INTEGER PRIMARY KEY AUTOINCREMENT,
                name TEXT NOT NULL UNIQUE,
                definition TEXT NOT NULL,
                sequence INTEGER NOT NULL DEFAULT 0,
                generation INTEGER NOT NULL DEFAULT 0) STRICT;
            PRAGMA user_version = 1;
            INSERT INTO vector_collections (name, definition, sequence) VALUES ('documents', 'key Id TEXT
            data DocumentId TEXT indexed
            data Ordinal INTEGER indexed
            data ContentHash TEXT
            data Title TEXT
            data Section TEXT
            data Page INTEGER
            data Line INTEGER
            data TokenCount INTEGER
            data Text TEXT full-text
            vector Vector 2 float32
            ', 1), ('lists', 'key Id INTEGER
            data a name TEXT indexed full-text
            data Words JSON full-text
            ', 1), ('plain', 'key Id INTEGER
            data Text TEXT
            ', 0);
            CREATE TABLE vc1 (_id_ INTEGER PRIMARY KEY AUTOINCREMENT, "Id" TEXT NOT NULL UNIQUE, "DocumentId" TEXT, "Ordinal" INTEGER, "ContentHash" TEXT, "Title" TEXT, "Section" TEXT, "Page" INTEGER, "Line" INTEGER, "TokenCount" INTEGER, "Text" TEXT) STRICT;
            CREATE INDEX vc1_index0 ON vc1 ("DocumentId");
            CREATE INDEX vc1_index1 ON vc1 ("Ordinal");
            CREATE VIRTUAL TABLE vc1_text USING fts5(t0, content='', contentless_delete=1, tokenize='{tokenizer}');
            CREATE TABLE vc1_vectors0 (id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, vector BLOB) STRICT;
            CREATE INDEX vc1_vectors0_sequence ON vc1_vectors0 (sequence);
            CREATE TABLE vc2 (_id_ INTEGER PRIMARY KEY AUTOINCREMENT, "Id" INTEGER NOT NULL UNIQUE, "a name" TEXT, "Words" TEXT) STRICT;
            CREATE VIRTUAL TABLE vc2_text USING fts5(t0, t1, content='', contentless_delete=1, tokenize='{tokenizer}');
            INSERT INTO vc2 VALUES (1, 1, 'ﬁrst', '["ｏｎｅ","二番"]'), (2, 2, NULL, NULL);
            INSERT INTO vc2_text (rowid, t0, t1) VALUES (1, 'ﬁrst', 'ｏｎｅ' || char(10) || '二番'), (2, NULL, NULL);
            CREATE TABLE vc3 (_id_ INTEGER PRIMARY KEY AUTOINCREMENT, "Id" INTEGER NOT NULL UNIQUE, "Text" TEXT) STRICT;
            INSERT INTO vc3 VALUES (1, 1, 'kept');

            """);
        string[] texts = [.. s_texts, .. Enumerable.Range(0, more).Select(i => $"number{i} of many 中文{i}")];
        for (int i = 0; i < texts.Length; i++)
        {
            sql.Append($"INSERT INTO vc1 VALUES ({i + 1}, '{DocumentChunk.Key($"d{i}", 0)}', 'd{i}', 0, 'h', 't', NULL, NULL, 1, 3, '{texts[i]}'); INSERT INTO vc1_text (rowid, t0) VALUES ({i + 1}, '{texts[i]}'); INSERT INTO vc1_vectors0 VALUES ({i + 1}, 1, x'0000803F0000803F');\n");
        }

        Sql(path, sql.Append("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);").ToString());
    }

    private static VectorStoreCollection<Guid, DocumentChunk> Documents(VectorStore store) => store.GetCollection<Guid, DocumentChunk>("documents", DocumentChunk.CreateDefinition(2));

    private static async Task CheckAsync(VectorStore store)
    {
        DocumentRetriever retriever = new(Documents(store), options: new DocumentRetrieverOptions { Mode = RetrievalMode.Keywords });
        foreach ((string question, string document) in ((string, string)[])[("保証期間は何年ですか？", "d0"), ("Strasse", "d1"), ("When is the pump serviced?", "d2"), ("GPU", "d3")])
        {
            Assert.Equal(document, (await retriever.SearchAsync(question, 3))[0].Chunk.DocumentId);
        }
    }

    [Fact]
    public async Task AFileOfTheFirstLayoutIsIndexedAnewWhenItIsOpened()
    {
        WriteFirstLayout(Path, more: 2500);
        List<SqliteReindexProgress> reports = [];
        using (SqliteVectorStore store = new(Path, new SqliteVectorStoreOptions { ReindexProgress = new Reports(reports) }))
        {
            await CheckAsync(store);
            Assert.Equal(["documents 0/2504", "documents 1000/2504", "documents 2000/2504", "documents 2504/2504", "lists 0/2", "lists 2/2"], reports.Select(r => $"{r.Collection} {r.Done}/{r.Total}"));

            // All else is as it was.
            Assert.Equal(2504, await Documents(store).SearchAsync(new float[] { 1, 1 }, 3000).CountAsync());
            Assert.Equal("kept", (await store.GetDynamicCollection("plain", new() { Properties = [new VectorStoreKeyProperty("Id", typeof(int)), new VectorStoreDataProperty("Text", typeof(string))] }).GetAsync(1))!["Text"]);
            SqliteVectorCollection<object, Dictionary<string, object?>> lists = (SqliteVectorCollection<object, Dictionary<string, object?>>)store.GetDynamicCollection("lists", new()
            {
                Properties =
                [
                    new VectorStoreKeyProperty("Id", typeof(int)), new VectorStoreDataProperty("a name", typeof(string)) { IsIndexed = true, IsFullTextIndexed = true },
                    new VectorStoreDataProperty("Words", typeof(string[])) { IsFullTextIndexed = true },
                ],
            });
            Assert.Single(await lists.KeywordSearchAsync(["one"], 3, new() { AdditionalProperty = r => r["Words"] }).ToListAsync());
            Assert.Single(await lists.KeywordSearchAsync(["番"], 3, new() { AdditionalProperty = r => r["Words"] }).ToListAsync());
            Assert.Single(await lists.KeywordSearchAsync(["first"], 3, new() { AdditionalProperty = r => r["a name"] }).ToListAsync());

            // What is written now stands beside it.
            await new DocumentIngestor(Documents(store), s_tokenizer, new ConstantEmbeddings()).IngestAsync([SourceDocument.FromText("new", "Der Fluß ist breit.")], removeMissing: false);
            Assert.Equal("new", (await new DocumentRetriever(Documents(store), options: new() { Mode = RetrievalMode.Keywords }).SearchAsync("Fluss", 3))[0].Chunk.DocumentId);
        }

        reports.Clear();
        using (SqliteVectorStore again = new(Path, new SqliteVectorStoreOptions { ReindexProgress = new Reports(reports) }))
        {
            await CheckAsync(again);
        }

        Assert.Empty(reports);
        Assert.Equal("ok", Sql(Path, "PRAGMA integrity_check"));
        Sql(Path, "INSERT INTO vc1_text(vc1_text) VALUES('integrity-check')");
    }

    [Fact]
    public async Task ATokenizerThatWasChosenIsKept()
    {
        WriteFirstLayout(Path, tokenizer: "trigram");
        using SqliteVectorStore store = new(Path);
        await CheckAsync(store);
        Assert.Single(await ((SqliteVectorCollection<Guid, DocumentChunk>)Documents(store)).KeywordSearchAsync(["ervic"], 3).ToListAsync());
        Assert.Equal("trigram", Sql(Path, "SELECT tokenizer FROM vector_collections WHERE id = 1"));
    }

    /// <summary>Ended in between, by an exception, by a cancelled call or by the end of the process: the file is as it was, and the next one does it.</summary>
    [Fact]
    public async Task AFileThatIsHalfIndexedAnewIsAsItWas()
    {
        WriteFirstLayout(Path, more: 3000);
        using (SqliteVectorStore failing = new(Path, new SqliteVectorStoreOptions { ReindexProgress = new Failing(2000) }))
        {
            await Assert.ThrowsAsync<InvalidOperationException>(() => CheckAsync(failing));
            Assert.Equal(1L, Sql(Path, "PRAGMA user_version"));
        }

        using CancellationTokenSource stop = new();
        using (SqliteVectorStore stopped = new(Path, new SqliteVectorStoreOptions { ReindexProgress = new Stopping(stop) }))
        {
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stopped.CollectionExistsAsync("documents", stop.Token));
        }

        for (int kill = 0; kill < 3; kill++)
        {
            using Process process = StoreWriterProcess.Start("reindex", Path);
            for (int line = 0; line <= kill % 2; line++)
            {
                await process.StandardOutput.ReadLineAsync();
            }

            process.Kill();
            await process.WaitForExitAsync();
            Assert.Equal(1L, Sql(Path, "PRAGMA user_version"));
            Assert.Equal(3L, Sql(Path, "SELECT rowid FROM vc1_text WHERE vc1_text MATCH 'pump'"));
        }

        using SqliteVectorStore store = new(Path);
        await CheckAsync(store);
        Assert.Equal("ok", Sql(Path, "PRAGMA integrity_check"));
    }

    [Theory]
    [InlineData("CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO customers VALUES (1, 'x')", "'customers'")]
    [InlineData("CREATE VIEW totals AS SELECT 1", "'totals'")]
    [InlineData("CREATE TABLE a (x); CREATE TABLE b (x); CREATE TABLE c (x); CREATE TABLE d (x); PRAGMA user_version = 1", "'a', 'b', 'c' and others")]
    [InlineData("CREATE TABLE customers (id); PRAGMA user_version = 2", "user_version 2")]
    [InlineData("CREATE TABLE customers (id); PRAGMA user_version = 77", "user_version 77")]
    [InlineData("PRAGMA application_id = 252006673", "application_id 252006673")]
    [InlineData("CREATE TABLE vector_collections (id, name, colour); PRAGMA user_version = 1", "'vector_collections'")]
    [InlineData("CREATE TABLE vector_collections (id, name, definition, sequence, generation)", "user_version 0")]
    [InlineData("CREATE TABLE vector_collections (id, name, definition, sequence, generation); PRAGMA user_version = 2", "another program")]
    [InlineData("PRAGMA user_version = 1", "no tables")]
    [InlineData("CREATE VIEW vector_collections AS SELECT 1 id, 'x' name, '{}' definition, 0 sequence, 0 generation; PRAGMA user_version = 1", "another program")]
    [InlineData("CREATE VIEW vector_collections AS SELECT 1 id; PRAGMA user_version = 2; PRAGMA application_id = 1197829444", "another program")]
    [InlineData("CREATE TABLE t (x); CREATE INDEX vector_collections ON t (x); PRAGMA user_version = 1", "another program")]
    [InlineData("CREATE TABLE t (x); CREATE TRIGGER vector_collections AFTER INSERT ON t BEGIN DELETE FROM t; END; PRAGMA user_version = 1", "another program")]
    [InlineData("CREATE VIRTUAL TABLE notes USING fts5(body)", "'notes'")]
    [InlineData("PRAGMA user_version = -1", "user_version -1")]
    [InlineData("PRAGMA application_id = -1", "application_id -1")]
    public async Task ADatabaseOfAnotherProgramIsRefusedAndLeftAlone(string sql, string named)
    {
        Sql(Path, sql);
        byte[] before = await File.ReadAllBytesAsync(Path);
        using (SqliteVectorStore store = new(Path))
        {
            foreach (Func<Task> operation in (Func<Task>[])
            [
                () => store.CollectionExistsAsync("documents"), () => Documents(store).EnsureCollectionExistsAsync(), () => Documents(store).UpsertAsync(new DocumentChunk()),
                () => store.ListCollectionNamesAsync().ToListAsync().AsTask(), () => store.EnsureCollectionDeletedAsync("customers"),
            ])
            {
                VectorStoreException error = await Assert.ThrowsAsync<VectorStoreException>(operation);
                Assert.Contains("another program", error.Message, StringComparison.Ordinal);
                Assert.Contains(named, error.Message, StringComparison.Ordinal);
            }
        }

        Assert.Equal(before, await File.ReadAllBytesAsync(Path));
        Assert.False(File.Exists(Path + "-wal"));
    }

    [Fact]
    public async Task AFileOfALaterLayoutIsNamedAsOneAndAnEmptyFileIsUsed()
    {
        await File.WriteAllBytesAsync(Path, []);
        using (SqliteVectorStore store = new(Path))
        {
            await Documents(store).EnsureCollectionExistsAsync();
        }

        // Tables of others may come in later.
        Sql(Path, "CREATE TABLE notes (x)");
        using (SqliteVectorStore store = new(Path))
        {
            Assert.True(await store.CollectionExistsAsync("documents"));
        }

        Sql(Path, "PRAGMA user_version = 3");
        using (SqliteVectorStore store = new(Path))
        {
            Assert.Contains("layout 3", (await Assert.ThrowsAsync<VectorStoreException>(() => store.CollectionExistsAsync("documents"))).Message, StringComparison.Ordinal);
        }

        using SqliteVectorStore folder = new(_directory.Path);
        await Assert.ThrowsAsync<VectorStoreException>(() => folder.CollectionExistsAsync("documents"));
    }

    [Fact]
    public async Task StoresThatOpenAnOldOrANewFileAtOnceMakeItReadyOnce()
    {
        WriteFirstLayout(Path, more: 500);
        foreach (string path in (string[])[Path, _directory.File("new.db")])
        {
            SqliteVectorStore[] stores = [.. Enumerable.Range(0, 6).Select(_ => new SqliteVectorStore(path))];
            await Task.WhenAll(stores.Select(s => Task.Run(() => Documents(s).EnsureCollectionExistsAsync())));
            foreach (SqliteVectorStore store in stores)
            {
                Assert.Equal(1, await store.ListCollectionNamesAsync().CountAsync(name => name == "documents"));
                store.Dispose();
            }
        }

        using SqliteVectorStore last = new(Path);
        await CheckAsync(last);
    }

    private sealed class Reports(List<SqliteReindexProgress> list) : IProgress<SqliteReindexProgress>
    {
        public void Report(SqliteReindexProgress value) => list.Add(value);
    }

    private sealed class Failing(long at) : IProgress<SqliteReindexProgress>
    {
        public void Report(SqliteReindexProgress value) => _ = value.Done >= at ? throw new InvalidOperationException("stopped") : 0;
    }

    private sealed class Stopping(CancellationTokenSource stop) : IProgress<SqliteReindexProgress>
    {
        public void Report(SqliteReindexProgress value) => stop.Cancel();
    }
}
