using System.Linq.Expressions;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Store;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Tests.Rag;

public sealed class SqliteVectorStoreTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public static readonly TheoryData<string> Functions =
    [
        DistanceFunction.CosineSimilarity, DistanceFunction.CosineDistance, DistanceFunction.DotProductSimilarity, DistanceFunction.NegativeDotProductSimilarity,
        DistanceFunction.EuclideanDistance, DistanceFunction.EuclideanSquaredDistance,
    ];

    private string Path => _directory.File("store.db");

    public void Dispose() => _directory.Dispose();

    private static Everything Make(Random random, int id) => new()
    {
        Id = id,
        Text = random.Next(5) == 0 ? null : ((string[])["", "a", "ab", "b\"c'd", "ünï", "日本", "x\0y"])[random.Next(7)],
        Flag = random.Next(2) == 0,
        MaybeFlag = random.Next(3) switch { 0 => null, 1 => true, _ => false },
        Long = random.NextInt64(-3, 3),
        Short = random.Next(3) == 0 ? null : (short)random.Next(-2, 3),
        Byte = (byte)random.Next(4),
        Float = random.Next(-3, 4) / 7f,
        Double = random.Next(3) == 0 ? null : random.Next(-3, 4) / 3.0,
        Guid = new Guid(random.Next(3), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        DateTime = new DateTime(2024, 2, 29, 12, 0, 0, (DateTimeKind)random.Next(3)).AddTicks(random.Next(-2, 3)),
        Day = (DayOfWeek)random.Next(7),
        MaybeDay = random.Next(3) == 0 ? null : (DayOfWeek)random.Next(3),
        Offset = random.Next(3) == 0 ? null : new DateTimeOffset(2024, 5, 5, random.Next(20), 0, 0, TimeSpan.FromHours(random.Next(-3, 4))),
        Date = new DateOnly(2024, 1, 1).AddDays(random.Next(5)),
        Time = new TimeOnly(random.Next(3), 0, 0, 1),
        Bytes = random.Next(2) == 0 ? null : [0, 255, (byte)id],
        Words = random.Next(4) == 0 ? null : [.. Enumerable.Range(0, random.Next(3)).Select(_ => ((string[])["a", "ab", "日本"])[random.Next(3)])],
        Numbers = random.Next(4) == 0 ? null : [.. Enumerable.Range(0, random.Next(3)).Select(_ => random.Next(3))],
        Floats = random.Next(4) == 0 ? null : [id, random.NextSingle(), -1],
        Halves = random.Next(4) == 0 ? (ReadOnlyMemory<Half>?)null : new Half[] { (Half)id, (Half)0.5 },
    };

    private async Task<VectorStoreCollection<int, Everything>> FillAsync(VectorStore store, IEnumerable<Everything> records)
    {
        VectorStoreCollection<int, Everything> collection = store.GetCollection<int, Everything>("every'thing\"");
        await collection.EnsureCollectionExistsAsync();
        await collection.UpsertAsync(records);
        return collection;
    }

    [Fact]
    public async Task EveryTypeIsReadBackAsItWasWritten()
    {
        using SqliteVectorStore store = new(Path);
        Random random = new(1);
        Everything[] records = [.. Enumerable.Range(0, 50).Select(i => Make(random, i - 10))];
        VectorStoreCollection<int, Everything> collection = await FillAsync(store, records);
        foreach (Everything expected in records)
        {
            Everything actual = (await collection.GetAsync(expected.Id, new RecordRetrievalOptions { IncludeVectors = true }))!;
            Assert.Equivalent(expected, actual, strict: true);
            Assert.Equal(expected.DateTime.Kind, actual.DateTime.Kind);
        }

        Assert.Equal(records.Count(r => r.Halves is not null), await collection.SearchAsync(new Half[] { (Half)1, (Half)1 }, 100, new() { VectorProperty = r => r.Halves }).CountAsync());
    }

    /// <summary>Random filters over random records: SQL and compiled expression must agree, nulls included.</summary>
    [Fact]
    public async Task RandomFiltersSelectWhatTheCompiledExpressionSelects()
    {
        using SqliteVectorStore store = new(Path);
        Random random = new(2);
        Everything[] records = [.. Enumerable.Range(0, 80).Select(i => Make(random, i))];
        VectorStoreCollection<int, Everything> collection = await FillAsync(store, records);
        ParameterExpression record = Expression.Parameter(typeof(Everything), "r");
        int neitherAllNorNone = 0;
        for (int i = 0; i < 400; i++)
        {
            Expression<Func<Everything, bool>> filter = Expression.Lambda<Func<Everything, bool>>(RandomCondition(random, record, 3), record);
            int[] expected = [.. records.Where(filter.Compile()).Select(r => r.Id)];
            int[] actual = [.. (await collection.GetAsync(filter, 1000).ToListAsync()).Select(r => r.Id)];
            Assert.True(expected.SequenceEqual(actual), $"{filter}: expected [{string.Join(' ', expected)}], got [{string.Join(' ', actual)}].");
            neitherAllNorNone += expected.Length is > 0 and < 80 ? 1 : 0;
        }

        Assert.True(neitherAllNorNone > 200);
    }

    private static Expression RandomCondition(Random random, ParameterExpression record, int depth)
    {
        switch (depth == 0 ? 9 : random.Next(8))
        {
            case 0 or 1:
                return Expression.AndAlso(RandomCondition(random, record, depth - 1), RandomCondition(random, record, depth - 1));
            case 2 or 3:
                return Expression.OrElse(RandomCondition(random, record, depth - 1), RandomCondition(random, record, depth - 1));
            case 4:
                return Expression.Not(RandomCondition(random, record, depth - 1));
        }

        Everything sample = Make(random, random.Next(80));
        if (random.Next(5) == 0)
        {
            // Text that may be null is guarded, as C# would need it.
            Expression<Func<Everything, bool>> text = random.Next(11) switch
            {
                0 => r => r.Text != null && r.Text.Contains(sample.Text ?? "a"),
                1 => r => r.Text != null && r.Text.StartsWith((sample.Text + "b").Substring(0, 1), StringComparison.Ordinal),
                2 => r => r.Words != null && r.Words.Contains("ab"),
                3 => r => r.Numbers != null && r.Numbers.Any(n => n > sample.Byte - 2),
                4 => r => r.MaybeFlag.HasValue,
                5 => r => r.Text != null && r.Text.EndsWith(sample.Text ?? "b", StringComparison.Ordinal),
                6 => r => r.MaybeFlag.HasValue && r.MaybeFlag.Value == r.Flag,
                7 => r => new[] { sample.Day, DayOfWeek.Monday }.Contains(r.Day) || r.Day == DayOfWeek.Sunday && r.MaybeDay != null && r.MaybeDay.Value > sample.Day,
                9 => r => new HashSet<long> { sample.Long, 1 }.Contains(r.Long) || string.IsNullOrEmpty(r.Text),
                8 => r => new[] { sample.DateTime.ToUniversalTime() }.Contains(r.DateTime),
                _ => r => new List<short?> { sample.Short, null }.Contains(r.Short),
            };
            return new Rebind(text.Parameters[0], record).Visit(text.Body);
        }

        string[] names = [nameof(Everything.Id), nameof(Everything.Text), nameof(Everything.Flag), nameof(Everything.MaybeFlag), nameof(Everything.Long), nameof(Everything.Short), nameof(Everything.Byte),
            nameof(Everything.Float), nameof(Everything.Double), nameof(Everything.Guid), nameof(Everything.DateTime), nameof(Everything.Day), nameof(Everything.MaybeDay), nameof(Everything.Offset), nameof(Everything.Date), nameof(Everything.Time)];
        MemberExpression member = Expression.Property(record, names[random.Next(names.Length)]);
        Expression value = Expression.Constant(((System.Reflection.PropertyInfo)member.Member).GetValue(sample), member.Type);
        bool ordered = member.Type != typeof(string) && (Nullable.GetUnderlyingType(member.Type) ?? member.Type) is var t && t != typeof(bool) && t != typeof(Guid);
        return (ordered ? random.Next(6) : random.Next(2)) switch
        {
            0 => Expression.Equal(Widen(member), Widen(value)),
            1 => Expression.NotEqual(Widen(member), Widen(value)),
            2 => Expression.LessThan(Widen(member), Widen(value)),
            3 => Expression.LessThanOrEqual(Widen(member), Widen(value)),
            4 => Expression.GreaterThan(Widen(member), Widen(value)),
            _ => Expression.GreaterThanOrEqual(Widen(value), Widen(member)),
        };

        // C# compares bytes, shorts and enumerations as int.
        static Expression Widen(Expression e) =>
            e.Type == typeof(byte) || e.Type == typeof(DayOfWeek) ? Expression.Convert(e, typeof(int)) : e.Type == typeof(short?) || e.Type == typeof(DayOfWeek?) ? Expression.Convert(e, typeof(int?)) : e;
    }

    [Fact]
    public async Task AsManyAsThereAreCanBeAskedFor()
    {
        using SqliteVectorStore store = new(Path);
        VectorStoreCollection<Guid, DocumentChunk> collection = store.GetCollection<Guid, DocumentChunk>("c", DocumentChunk.CreateDefinition(2));
        await collection.EnsureCollectionExistsAsync();
        await collection.UpsertAsync(Enumerable.Range(0, 700).Select(i => new DocumentChunk { Id = DocumentChunk.Key("d", i), DocumentId = "d", ContentHash = "h", Title = "t", Text = $"word number{i}", Vector = new float[] { 1, i } }));
        float[] query = [1, 2];
        Assert.Equal(700, await collection.SearchAsync(query, int.MaxValue).CountAsync());
        Assert.Equal(690, await collection.SearchAsync(query, int.MaxValue, new() { Skip = 10 }).CountAsync());
        Assert.Equal(700, await collection.SearchAsync(query, int.MaxValue, new() { Filter = c => c.DocumentId == "d" }).CountAsync());
        IKeywordHybridSearchable<DocumentChunk> hybrid = (IKeywordHybridSearchable<DocumentChunk>)collection;
        Assert.Equal(695, await hybrid.HybridSearchAsync(query, ["word"], int.MaxValue, new() { Skip = 5 }).CountAsync());
        Assert.Equal(700, await ((SqliteVectorCollection<Guid, DocumentChunk>)collection).KeywordSearchAsync(["word"], int.MaxValue).CountAsync());
        Assert.Empty(await collection.SearchAsync(query, 5, new() { Skip = int.MaxValue }).ToListAsync());
    }

    [Fact]
    public async Task ALongListOfValuesFilters()
    {
        using SqliteVectorStore store = new(Path);
        VectorStoreCollection<int, Everything> collection = await FillAsync(store, Enumerable.Range(0, 50).Select(i => new Everything { Id = i, Text = i == 7 ? null : $"t{i}" }));
        string?[] texts = [null, .. Enumerable.Range(40, 20_000).Select(i => $"t{i}")];
        Assert.Equal([7, .. Enumerable.Range(40, 10)], (await collection.GetAsync(r => texts.Contains(r.Text), 100).ToListAsync()).Select(r => r.Id));
        Assert.Equal(39, await collection.GetAsync(r => !texts.Contains(r.Text), 100).CountAsync());
        Assert.Equal([2, 4], (await collection.GetAsync(r => Enumerable.Range(1, 2).Select(i => 2 * i).Contains(r.Id), 100).ToListAsync()).Select(r => r.Id));
        Assert.Empty(await collection.GetAsync(r => Array.Empty<int>().Contains(r.Id), 100).ToListAsync());
        HashSet<string> folded = new(StringComparer.OrdinalIgnoreCase) { "T5" };
        await Assert.ThrowsAsync<NotSupportedException>(() => collection.GetAsync(r => folded.Contains(r.Text!), 3).ToListAsync().AsTask());
    }

    /// <summary>Files with changed bytes: a result or the documented exception, nothing else.</summary>
    [Fact]
    public async Task DamagedFilesEndInTheDocumentedException()
    {
        Random random = new(11);
        using (SqliteVectorStore store = new(Path))
        {
            await FillAsync(store, Enumerable.Range(0, 60).Select(i => Make(random, i)));
        }

        byte[] sound = await File.ReadAllBytesAsync(Path);
        int failed = 0;
        for (int round = 0; round < 60; round++)
        {
            byte[] bytes = round % 6 == 0 ? sound[..random.Next(sound.Length)] : (byte[])sound.Clone();
            for (int change = random.Next(1, 60); change > 0 && bytes.Length > 0; change--)
            {
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            }

            string path = _directory.File($"{round}.db");
            await File.WriteAllBytesAsync(path, bytes);
            using SqliteVectorStore store = new(path, new SqliteVectorStoreOptions { BusyTimeout = TimeSpan.FromMilliseconds(100) });
            VectorStoreCollection<int, Everything> collection = store.GetCollection<int, Everything>("every'thing\"");
            foreach (Func<Task> operation in (Func<Task>[])
            [
                () => collection.GetAsync(r => r.Id >= 0, 1000, new() { IncludeVectors = true }).ToListAsync().AsTask(),
                () => collection.SearchAsync(new float[] { 1, 2, 3 }, 10, new() { VectorProperty = r => r.Floats }).ToListAsync().AsTask(),
                () => collection.UpsertAsync(Make(random, 5)),
                () => collection.DeleteAsync(6),
            ])
            {
                try
                {
                    await operation();
                }
                catch (VectorStoreException)
                {
                    failed++;
                }
            }
        }

        Assert.InRange(failed, 30, 235);
    }

    [Fact]
    public async Task AFilterWithoutSqlFormIsRefusedWithItsText()
    {
        using SqliteVectorStore store = new(Path);
        VectorStoreCollection<int, Everything> collection = await FillAsync(store, []);
        NotSupportedException error = await Assert.ThrowsAsync<NotSupportedException>(() => collection.GetAsync(r => r.Text!.Length > r.Id, 3).ToListAsync().AsTask());
        Assert.Contains("Length", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<NotSupportedException>(() => collection.GetAsync(r => r.Floats == null, 3).ToListAsync().AsTask());
    }

    private static VectorStoreCollectionDefinition Points(string function, string kind, int dimensions = 24) => new()
    {
        Properties =
        [
            new VectorStoreKeyProperty("Id", typeof(long)),
            new VectorStoreVectorProperty("Vector", typeof(ReadOnlyMemory<float>), dimensions) { DistanceFunction = function, IndexKind = kind },
        ],
    };

    /// <summary>Signed-byte codes with rescoring against the exact scan: 20 searches of 3,000 vectors.</summary>
    [Theory]
    [MemberData(nameof(Functions))]
    public async Task TheIndexFindsWhatTheExactScanFinds(string function)
    {
        using SqliteVectorStore store = new(Path);
        VectorStoreCollection<long, Point> exact = store.GetCollection<long, Point>("points", Points(function, IndexKind.Flat));
        VectorStoreCollection<long, Point> quantized = store.GetCollection<long, Point>("points", Points(function, IndexKind.QuantizedFlat));
        await exact.EnsureCollectionExistsAsync();
        Random random = new(3);
        float[] Vector() => [.. Enumerable.Range(0, 24).Select(_ => (float)(random.NextDouble() * 2 - 1) * (1 + random.Next(3)))];
        await exact.UpsertAsync(Enumerable.Range(0, 3000).Select(i => new Point { Id = i, Vector = Vector() }));
        int found = 0;
        for (int i = 0; i < 20; i++)
        {
            float[] query = Vector();
            List<VectorSearchResult<Point>> a = await exact.SearchAsync(query, 10).ToListAsync();
            List<VectorSearchResult<Point>> b = await quantized.SearchAsync(query, 10).ToListAsync();
            Dictionary<long, double?> scores = a.ToDictionary(r => r.Record.Id, r => r.Score);
            found += b.Count(r => scores.ContainsKey(r.Record.Id));
            Assert.All(b.Where(r => scores.ContainsKey(r.Record.Id)), r => Assert.Equal(scores[r.Record.Id], r.Score));
        }

        Assert.True(found >= 199, $"{found} of 200 found.");
    }

    [Fact]
    public async Task StoresOverOneFileSeeEachOthersChanges()
    {
        using SqliteVectorStore first = new(Path), second = new(Path);
        VectorStoreCollection<long, Point> a = first.GetCollection<long, Point>("points"), b = second.GetCollection<long, Point>("points");
        await a.EnsureCollectionExistsAsync();
        Point Make(int id) => new() { Id = id, Vector = Enumerable.Range(0, 24).Select(d => d == id % 24 ? 1f : id * 0.0001f).ToArray() };
        await a.UpsertAsync(Enumerable.Range(0, 2000).Select(Make));
        Assert.Equal(7, (await b.SearchAsync(Make(7).Vector, 1).SingleAsync()).Record.Id);
        await a.UpsertAsync(new Point { Id = 7, Vector = Make(8).Vector.ToArray().Select(v => -v).ToArray() });
        Assert.NotEqual(7, (await b.SearchAsync(Make(7).Vector, 1).SingleAsync()).Record.Id);
        Assert.Equal(7, (await b.SearchAsync(Make(8).Vector.ToArray().Select(v => -v).ToArray(), 1).SingleAsync()).Record.Id);

        // More deletes than rows are left: the traces are dropped, and the index of the other store starts again.
        await a.DeleteAsync(Enumerable.Range(100, 1900).Select(i => (long)i));
        Assert.Equal(Enumerable.Range(0, 100).Select(i => (long)i), (await b.SearchAsync(Make(3).Vector, 5000).ToListAsync()).Select(r => r.Record.Id).Order());
        await b.EnsureCollectionDeletedAsync();
        await b.EnsureCollectionExistsAsync();
        Assert.Empty(await a.SearchAsync(Make(3).Vector, 10).ToListAsync());
    }

    /// <summary>Each store has connections of its own and knows nothing of the others, as processes do: they create the file and write to it at once.</summary>
    [Fact]
    public async Task StoresThatWriteToOneFileAtOnceTakeTurns()
    {
        float[] vector = [.. Enumerable.Repeat(1f, 24)];
        await Task.WhenAll(Enumerable.Range(0, 6).Select(w => Task.Run(async () =>
        {
            using SqliteVectorStore own = new(Path);
            VectorStoreCollection<long, Point> points = own.GetCollection<long, Point>("points");
            await points.EnsureCollectionExistsAsync();
            for (int i = 0; i < 10; i++)
            {
                await points.UpsertAsync(Enumerable.Range(0, 5).Select(k => new Point { Id = w * 1000 + i * 5 + k, Vector = vector }));
                await points.DeleteAsync(w * 1000 + i * 5);
                Assert.NotEmpty(await points.SearchAsync(vector, 3).ToListAsync());
            }
        })));
        using SqliteVectorStore store = new(Path);
        Assert.Equal(6 * 10 * 4, await store.GetCollection<long, Point>("points").SearchAsync(vector, 10_000).CountAsync());
    }

    /// <summary>Building the index of many vectors takes seconds; a search that is cancelled meanwhile ends, and the next one builds it.</summary>
    [Fact]
    public async Task ACancelledSearchStopsBuildingTheIndex()
    {
        using (SqliteVectorStore store = new(Path))
        {
            VectorStoreCollection<long, Point> points = store.GetCollection<long, Point>("points");
            await points.EnsureCollectionExistsAsync();
            await points.UpsertAsync(Enumerable.Range(0, 600).Select(i => new Point { Id = i, Vector = Enumerable.Range(0, 24).Select(d => (float)(i % (d + 2))).ToArray() }));
        }

        using Microsoft.Data.Sqlite.SqliteConnection connection = new($"Data Source={Path};Pooling=False");
        connection.Open();
        using Microsoft.Data.Sqlite.SqliteTransaction transaction = connection.BeginTransaction(deferred: true);
        CollectionEntry entry = SqliteCatalogue.Find(connection, transaction, "points")!;
        SqliteVectorSearch search = new(new IndexCache(), long.MaxValue);
        List<ScoredRow> Search(Condition? condition, bool cancelled) =>
            search.Search(connection, transaction, entry, new VectorTarget(0, 24, false, null, null), new float[24], condition, 10, new CancellationToken(cancelled));
        Assert.Throws<OperationCanceledException>(() => Search(null, cancelled: true));
        Assert.Throws<OperationCanceledException>(() => Search(new Condition("1", []), cancelled: true));
        Assert.Equal(10, Search(null, cancelled: false).Count);
    }

    [Fact]
    public void AWaitThatCannotBeIsRefused()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => new SqliteVectorStore(Path, new SqliteVectorStoreOptions { BusyTimeout = Timeout.InfiniteTimeSpan }));
        Assert.Throws<ArgumentOutOfRangeException>(() => new SqliteVectorStore(Path, new SqliteVectorStoreOptions { BusyTimeout = TimeSpan.MaxValue }));
    }

    [Fact]
    public async Task AnotherDefinitionIsRefusedWithTheDifference()
    {
        using SqliteVectorStore store = new(Path);
        await store.GetCollection<long, Point>("points").EnsureCollectionExistsAsync();
        VectorStoreCollection<long, Point> other = store.GetCollection<long, Point>("points", Points(DistanceFunction.CosineSimilarity, IndexKind.Flat, 32));
        VectorStoreException error = await Assert.ThrowsAsync<VectorStoreException>(() => other.EnsureCollectionExistsAsync());
        Assert.Contains("24", error.Message, StringComparison.Ordinal);
        Assert.Contains("32", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<VectorStoreException>(() => other.SearchAsync(new float[32], 1).ToListAsync().AsTask());
    }

    [Fact]
    public async Task AFileThatIsNoDatabaseAndOneOfALaterLayoutAreRefused()
    {
        await File.WriteAllTextAsync(Path, new string('x', 5000));
        using SqliteVectorStore store = new(Path);
        VectorStoreException error = await Assert.ThrowsAsync<VectorStoreException>(() => store.CollectionExistsAsync("a"));
        Assert.Contains("not an SQLite database", error.Message, StringComparison.Ordinal);

        string later = _directory.File("later.db");
        using (Microsoft.Data.Sqlite.SqliteConnection connection = new($"Data Source={later};Pooling=False"))
        {
            connection.Open();
            using Microsoft.Data.Sqlite.SqliteCommand command = connection.CreateCommand();
            command.CommandText = "PRAGMA user_version = 9";
            command.ExecuteNonQuery();
        }

        using SqliteVectorStore newer = new(later);
        Assert.Contains("layout 9", (await Assert.ThrowsAsync<VectorStoreException>(() => newer.CollectionExistsAsync("a"))).Message, StringComparison.Ordinal);
        using SqliteVectorStore nowhere = new(_directory.File("no/such/directory/store.db"));
        Assert.Contains("directory", (await Assert.ThrowsAsync<VectorStoreException>(() => nowhere.CollectionExistsAsync("a"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void EveryKernelGivesTheSameInteger()
    {
        Random random = new(4);
        for (int n = 32; n <= 512; n += 32)
        {
            sbyte[] codes = [.. Enumerable.Range(0, n).Select(_ => (sbyte)random.Next(-127, 128))];
            short[] query = [.. Enumerable.Range(0, n).Select(_ => (short)random.Next(-127, 128))];
            if (n % 96 == 0)
            {
                Array.Fill(codes, (sbyte)127);
                Array.Fill(query, (short)-127);
            }

            int expected = codes.Zip(query, (c, q) => c * q).Sum();
            Assert.Equal(expected, QuantizedIndex.Dot(codes, query));
            Assert.Equal(expected, QuantizedIndex.DotPortable(ref MemoryMarshal.GetArrayDataReference(codes), ref MemoryMarshal.GetArrayDataReference(query), n));
            if (Avx2.IsSupported)
            {
                Assert.Equal(expected, QuantizedIndex.DotAvx2(ref MemoryMarshal.GetArrayDataReference(codes), ref MemoryMarshal.GetArrayDataReference(query), n));
            }
        }
    }

    public sealed class Everything
    {
        [VectorStoreKey]
        public int Id { get; set; }

        [VectorStoreData]
        public string? Text { get; set; }

        [VectorStoreData]
        public bool Flag { get; set; }

        [VectorStoreData]
        public bool? MaybeFlag { get; set; }

        [VectorStoreData]
        public long Long { get; set; }

        [VectorStoreData]
        public short? Short { get; set; }

        [VectorStoreData]
        public byte Byte { get; set; }

        [VectorStoreData]
        public float Float { get; set; }

        [VectorStoreData]
        public double? Double { get; set; }

        [VectorStoreData]
        public Guid Guid { get; set; }

        [VectorStoreData]
        public DateTime DateTime { get; set; }

        [VectorStoreData]
        public DayOfWeek Day { get; set; }

        [VectorStoreData]
        public DayOfWeek? MaybeDay { get; set; }

        [VectorStoreData]
        public DateTimeOffset? Offset { get; set; }

        [VectorStoreData]
        public DateOnly Date { get; set; }

        [VectorStoreData]
        public TimeOnly Time { get; set; }

        [VectorStoreData]
        public byte[]? Bytes { get; set; }

        [VectorStoreData]
        public List<string>? Words { get; set; }

        [VectorStoreData]
        public int[]? Numbers { get; set; }

        [VectorStoreVector(3)]
        public float[]? Floats { get; set; }

        [VectorStoreVector(2, DistanceFunction = DistanceFunction.EuclideanDistance)]
        public ReadOnlyMemory<Half>? Halves { get; set; }
    }

    private sealed class Rebind(ParameterExpression from, ParameterExpression to) : ExpressionVisitor
    {
        protected override Expression VisitParameter(ParameterExpression node) => node == from ? to : node;
    }

    public sealed class Point
    {
        [VectorStoreKey]
        public long Id { get; set; }

        [VectorStoreVector(24)]
        public ReadOnlyMemory<float> Vector { get; set; }
    }
}
