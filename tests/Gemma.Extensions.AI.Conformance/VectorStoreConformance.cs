using System.Linq.Expressions;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.VectorData;
using Xunit;

namespace Gemma.Extensions.AI.Conformance;

/// <summary>
/// What any vector store on Microsoft.Extensions.VectorData must do. Derive, and hand out a fresh, empty store.
/// </summary>
public abstract class VectorStoreConformance : IDisposable
{
    private VectorStore? _store;

    public static readonly TheoryData<string> FilterNames = [.. Filters.Keys];

    protected VectorStore Store => _store ??= CreateStore();

    /// <summary>Each must select what the compiled expression selects.</summary>
    private static Dictionary<string, Expression<Func<Hotel, bool>>> Filters
    {
        get
        {
            string oslo = "Oslo";
            int three = 3;
            string?[] cities = ["Lima", null];
            List<int> stars = [1, 5];
            DateTimeOffset moment = new(2025, 1, 1, 20, 0, 0, TimeSpan.FromHours(2));
            return new()
            {
                ["all"] = h => true,
                ["none"] = h => false,
                ["equal"] = h => h.City == "Oslo",
                ["captured"] = h => h.City == oslo,
                ["reversed"] = h => oslo == h.City,
                ["not equal meets null"] = h => h.City != "Oslo",
                ["null"] = h => h.City == null,
                ["not null"] = h => h.City != null,
                ["greater"] = h => h.Stars > three,
                ["at least"] = h => h.Stars >= 3,
                ["less"] = h => h.Stars < 3,
                ["at most"] = h => h.Stars <= three,
                ["nullable compare"] = h => h.Price > 100,
                ["negated nullable compare"] = h => !(h.Price > 100),
                ["boolean"] = h => h.Open,
                ["not boolean"] = h => !h.Open,
                ["boolean equal"] = h => h.Open == false,
                ["and"] = h => h.City == "Lima" && h.Stars > 1,
                ["or"] = h => h.City == "Lima" || h.Stars == 0,
                ["nested"] = h => (h.City == "Lima" || h.City == "Quito") && !(h.Stars == 2 || h.Open),
                ["list has tag"] = h => h.Tags!.Contains("odd"),
                ["value in list"] = h => stars.Contains(h.Stars),
                ["value in array with null"] = h => cities.Contains(h.City),
                ["value in new array"] = h => new[] { "Oslo", "Lima" }.Contains(h.City),
                ["moment"] = h => h.Updated >= moment,
                ["key"] = h => h.Id == "h0007",
                ["quote is text"] = h => h.City == "Os'lo\" OR 1=1 --",
            };
        }
    }

    /// <summary>A new store over empty storage.</summary>
    protected abstract VectorStore CreateStore(IEmbeddingGenerator? embeddingGenerator = null);

    public virtual void Dispose()
    {
        _store?.Dispose();
        GC.SuppressFinalize(this);
    }

    protected static Hotel MakeHotel(int i) => new()
    {
        Id = $"h{i:D4}",
        City = (i % 4) switch { 0 => "Oslo", 1 => "Lima", 2 => "Quito", _ => null },
        Description = $"House number{i} with {(i % 2 == 0 ? "a quiet garden" : "a view of the harbour")}",
        Stars = i % 6,
        Price = i % 5 == 0 ? null : 40 + 10.5 * i,
        Open = i % 3 == 0,
        Updated = new DateTimeOffset(2025, 1, 1, 0, 0, 0, TimeSpan.FromHours(i % 3)).AddHours(i),
        Tags = i % 7 == 0 ? null : [$"tag{i % 3}", i % 2 == 0 ? "even" : "odd"],
        Vector = new float[] { 1, i, i % 10, 0.5f },
    };

    protected async Task<VectorStoreCollection<string, Hotel>> FilledAsync(int count, string name = "hotels")
    {
        VectorStoreCollection<string, Hotel> hotels = Store.GetCollection<string, Hotel>(name);
        await hotels.EnsureCollectionExistsAsync();
        await hotels.UpsertAsync(Enumerable.Range(0, count).Select(MakeHotel));
        return hotels;
    }

    [Fact]
    public async Task CollectionsAreCreatedListedAndDeleted()
    {
        VectorStoreCollection<string, Hotel> hotels = Store.GetCollection<string, Hotel>("hotels");
        Assert.Equal("hotels", hotels.Name);
        Assert.False(await hotels.CollectionExistsAsync());
        await hotels.EnsureCollectionExistsAsync();
        await hotels.EnsureCollectionExistsAsync();
        await Store.GetCollection<string, Hotel>("others").EnsureCollectionExistsAsync();
        Assert.True(await Store.CollectionExistsAsync("hotels"));
        Assert.Equal(["hotels", "others"], (await Store.ListCollectionNamesAsync().ToListAsync()).Order());
        await hotels.UpsertAsync(MakeHotel(1));
        await hotels.EnsureCollectionDeletedAsync();
        await hotels.EnsureCollectionDeletedAsync();
        Assert.False(await hotels.CollectionExistsAsync());
        Assert.Equal(["others"], await Store.ListCollectionNamesAsync().ToListAsync());

        await hotels.EnsureCollectionExistsAsync();
        Assert.Null(await hotels.GetAsync("h0001"));
        Assert.Empty(await hotels.SearchAsync(MakeHotel(1).Vector, 5).ToListAsync());
    }

    [Fact]
    public async Task AMissingCollectionIsNamedInTheError()
    {
        VectorStoreCollection<string, Hotel> hotels = Store.GetCollection<string, Hotel>("nowhere");
        VectorStoreException error = await Assert.ThrowsAsync<VectorStoreException>(() => hotels.UpsertAsync(MakeHotel(1)));
        Assert.Contains("nowhere", error.Message, StringComparison.Ordinal);
        await Assert.ThrowsAsync<VectorStoreException>(() => hotels.GetAsync("h0001"));
    }

    [Fact]
    public async Task WhatWasUpsertedIsReadBack()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(20);
        for (int i = 0; i < 20; i++)
        {
            Hotel expected = MakeHotel(i);
            Hotel? actual = await hotels.GetAsync(expected.Id, new RecordRetrievalOptions { IncludeVectors = true });
            Assert.NotNull(actual);
            Assert.Equal(
                (expected.Id, expected.City, expected.Description, expected.Stars, expected.Price, expected.Open, expected.Updated),
                (actual.Id, actual.City, actual.Description, actual.Stars, actual.Price, actual.Open, actual.Updated));
            Assert.Equal(expected.Tags, actual.Tags);
            Assert.Equal(expected.Vector.ToArray(), actual.Vector.ToArray());
        }

        Assert.True((await hotels.GetAsync("h0003"))!.Vector.IsEmpty);
        Assert.Null(await hotels.GetAsync("h9999"));
    }

    [Fact]
    public async Task UpsertReplacesEveryPropertyOfAnExistingRecord()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(5);
        Hotel changed = MakeHotel(17);
        changed.Id = "h0002";
        changed.Description = "Now a lighthouse";
        changed.Vector = new float[] { 0, 0, 0, -1 };
        await hotels.UpsertAsync(changed);

        Hotel? read = await hotels.GetAsync("h0002", new RecordRetrievalOptions { IncludeVectors = true });
        Assert.Equal(changed.Description, read!.Description);
        Assert.Equal(changed.Stars, read.Stars);
        Assert.Equal(changed.Vector.ToArray(), read.Vector.ToArray());
        Assert.Equal(5, await hotels.GetAsync(h => true, 100).CountAsync());
        Assert.Equal("h0002", (await hotels.SearchAsync(changed.Vector, 1).SingleAsync()).Record.Id);
    }

    [Fact]
    public async Task BatchesAreReadAndDeletedAndAbsentKeysAreIgnored()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(10);
        Assert.Equal(["h0001", "h0004"], (await hotels.GetAsync(["h0001", "missing", "h0004"]).ToListAsync()).Select(h => h.Id).Order());
        await hotels.DeleteAsync(["h0001", "missing", "h0004"]);
        await hotels.DeleteAsync("missing");
        Assert.Null(await hotels.GetAsync("h0001"));
        Assert.Equal(8, await hotels.GetAsync(h => true, 100).CountAsync());
        Assert.DoesNotContain(await hotels.SearchAsync(MakeHotel(4).Vector, 10).ToListAsync(), r => r.Record.Id is "h0001" or "h0004");
    }

    [Theory]
    [MemberData(nameof(FilterNames))]
    public async Task AFilterSelectsWhatTheExpressionSays(string name)
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(40);
        Expression<Func<Hotel, bool>> filter = Filters[name];
        Func<Hotel, bool> compiled = filter.Compile();
        string[] expected = [.. Enumerable.Range(0, 40).Select(MakeHotel).Where(h => (h.Tags is not null || !name.Contains("tag")) && compiled(h)).Select(h => h.Id)];

        Assert.Equal(expected, (await hotels.GetAsync(filter, 100).ToListAsync()).Select(h => h.Id).Order());
        Assert.Equal(
            expected,
            (await hotels.SearchAsync(MakeHotel(3).Vector, 100, new VectorSearchOptions<Hotel> { Filter = filter }).ToListAsync()).Select(r => r.Record.Id).Order());
    }

    [Fact]
    public async Task PagesOfAnOrderedReadJoinToTheWhole()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(25);
        List<string> pages = [];
        for (int skip = 0; skip < 30; skip += 7)
        {
            pages.AddRange((await hotels.GetAsync(
                h => h.Stars >= 0, 7, new FilteredRecordRetrievalOptions<Hotel> { Skip = skip, OrderBy = o => o.Descending(h => h.Stars).Ascending(h => h.Id) }).ToListAsync()).Select(h => h.Id));
        }

        Assert.Equal(Enumerable.Range(0, 25).Select(MakeHotel).OrderByDescending(h => h.Stars).ThenBy(h => h.Id).Select(h => h.Id), pages);
    }

    [Fact]
    public async Task SearchReturnsTheNearestFirstWithScoresAndPages()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(30);
        float[] query = [1, 12, 2, 0.5f];
        List<VectorSearchResult<Hotel>> all = await hotels.SearchAsync(query, 30, new VectorSearchOptions<Hotel> { IncludeVectors = true }).ToListAsync();
        Assert.Equal("h0012", all[0].Record.Id);
        Assert.Equal(MakeHotel(12).Vector.ToArray(), all[0].Record.Vector.ToArray());
        Assert.Equal(1, all[0].Score!.Value, 1e-5);
        Assert.Equal(30, all.Count);
        Assert.All(all.Zip(all.Skip(1)), pair => Assert.True(pair.First.Score >= pair.Second.Score));
        List<VectorSearchResult<Hotel>> page = await hotels.SearchAsync(query, 4, new VectorSearchOptions<Hotel> { Skip = 3 }).ToListAsync();
        Assert.Equal(all.Skip(3).Take(4).Select(r => r.Record.Id), page.Select(r => r.Record.Id));
        List<VectorSearchResult<Hotel>> near = await hotels.SearchAsync(query, 30, new VectorSearchOptions<Hotel> { ScoreThreshold = all[9].Score }).ToListAsync();
        Assert.Equal(all.Take(10).Select(r => r.Record.Id), near.Select(r => r.Record.Id));
    }

    [Fact]
    public async Task WrongVectorsAreRefusedAndNothingOfTheBatchIsKept()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(2);
        Hotel wrong = MakeHotel(8);
        wrong.Vector = new float[] { 1, 2, 3 };
        await Assert.ThrowsAnyAsync<Exception>(() => hotels.UpsertAsync([MakeHotel(7), wrong]));
        Assert.Null(await hotels.GetAsync("h0007"));
        await Assert.ThrowsAnyAsync<Exception>(async () => await hotels.SearchAsync(new float[] { 1 }, 3).ToListAsync());
    }

    [Fact]
    public async Task HybridSearchFusesWordsAndVectors()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(30);
        Assert.SkipUnless(hotels is IKeywordHybridSearchable<Hotel>, "the store has no hybrid search");
        IKeywordHybridSearchable<Hotel> hybrid = (IKeywordHybridSearchable<Hotel>)hotels;
        float[] query = MakeHotel(12).Vector.ToArray();

        List<VectorSearchResult<Hotel>> results = await hybrid.HybridSearchAsync(query, ["number5"], 30).ToListAsync();
        Assert.Contains("h0005", results.Take(2).Select(r => r.Record.Id));
        Assert.Contains("h0012", results.Take(2).Select(r => r.Record.Id));
        Assert.All(results.Zip(results.Skip(1)), pair => Assert.True(pair.First.Score >= pair.Second.Score));

        List<VectorSearchResult<Hotel>> both = await hybrid.HybridSearchAsync(query, ["number12"], 1).ToListAsync();
        Assert.Equal("h0012", both.Single().Record.Id);
        List<VectorSearchResult<Hotel>> filtered = await hybrid.HybridSearchAsync(query, ["garden"], 30, new HybridSearchOptions<Hotel> { Filter = h => h.City == "Quito" }).ToListAsync();
        Assert.NotEmpty(filtered);
        Assert.All(filtered, r => Assert.Equal("Quito", r.Record.City));
        List<VectorSearchResult<Hotel>> page = await hybrid.HybridSearchAsync(query, ["number5"], 5, new HybridSearchOptions<Hotel> { Skip = 2 }).ToListAsync();
        Assert.Equal(results.Skip(2).Take(5).Select(r => r.Record.Id), page.Select(r => r.Record.Id));
        Assert.NotEmpty(await hybrid.HybridSearchAsync(query, ["no\"such AND (word* NEAR"], 3).ToListAsync());
    }

    [Fact]
    public async Task DynamicRecordsWorkLikeTypedOnes()
    {
        VectorStoreCollectionDefinition definition = new()
        {
            Properties =
            [
                new VectorStoreKeyProperty("Id", typeof(long)),
                new VectorStoreDataProperty("Name", typeof(string)) { IsFullTextIndexed = true },
                new VectorStoreDataProperty("Size", typeof(int?)),
                new VectorStoreVectorProperty("Vector", typeof(ReadOnlyMemory<float>), 3),
            ],
        };
        VectorStoreCollection<object, Dictionary<string, object?>> items = Store.GetDynamicCollection("items", definition);
        await items.EnsureCollectionExistsAsync();
        await items.UpsertAsync(Enumerable.Range(1, 9).Select(i => new Dictionary<string, object?>
        {
            ["Id"] = (long)i,
            ["Name"] = $"item {i}",
            ["Size"] = i % 2 == 0 ? i : null,
            ["Vector"] = new ReadOnlyMemory<float>([i, 1, 0]),
        }));
        Dictionary<string, object?>? read = await items.GetAsync(4L, new RecordRetrievalOptions { IncludeVectors = true });
        Assert.Equal("item 4", read!["Name"]);
        Assert.Equal(4, read["Size"]);
        Assert.Equal([4, 1, 0], ((ReadOnlyMemory<float>)read["Vector"]!).ToArray());
        Assert.Null((await items.GetAsync(5L))!["Size"]);
        Assert.Equal([6L, 8L], (await items.GetAsync(r => (int?)r["Size"] > 4, 10).ToListAsync()).Select(r => r["Id"]).Order());
        Assert.Equal(1L, (await items.SearchAsync(new ReadOnlyMemory<float>([1, 1, 0]), 1).SingleAsync()).Record["Id"]);
        await items.DeleteAsync(4L);
        Assert.Null(await items.GetAsync(4L));
    }

    [Fact]
    public async Task TextIsEmbeddedByTheConfiguredGenerator()
    {
        using VectorStore store = CreateStore(new LetterGenerator());
        VectorStoreCollection<Guid, Note> notes = store.GetCollection<Guid, Note>("notes");
        await notes.EnsureCollectionExistsAsync();
        Note[] records = [new() { Id = Guid.NewGuid(), Text = "aaaa" }, new() { Id = Guid.NewGuid(), Text = "bbbb" }, new() { Id = Guid.NewGuid(), Text = "aabb" }];
        await notes.UpsertAsync(records);
        Assert.Equal([records[1].Id, records[2].Id, records[0].Id], (await notes.SearchAsync("bb", 3).ToListAsync()).Select(r => r.Record.Id));
        Note generated = new() { Text = "cccc" };
        await notes.UpsertAsync(generated);
        Assert.NotEqual(Guid.Empty, generated.Id);
        Assert.Equal(generated.Id, (await notes.SearchAsync("c", 1).SingleAsync()).Record.Id);
    }

    [Fact]
    public async Task ConcurrentWritersAndReadersLoseNothing()
    {
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(10);
        using CancellationTokenSource done = new();
        Task reader = Task.Run(async () =>
        {
            while (!done.IsCancellationRequested)
            {
                List<VectorSearchResult<Hotel>> results = await hotels.SearchAsync(MakeHotel(5).Vector, 5).ToListAsync();
                Assert.Equal(5, results.Count);
            }
        });
        await Task.WhenAll(Enumerable.Range(0, 8).Select(w => Task.Run(async () =>
        {
            VectorStoreCollection<string, Hotel> own = Store.GetCollection<string, Hotel>("hotels");
            for (int i = 0; i < 10; i++)
            {
                int id = 100 + w * 100 + i * 5;
                await own.UpsertAsync(Enumerable.Range(id, 5).Select(MakeHotel));
                await own.DeleteAsync($"h{id:D4}");
            }
        })));
        await done.CancelAsync();
        await reader;
        List<Hotel> stored = await hotels.GetAsync(h => true, 10_000).ToListAsync();
        Assert.Equal(10 + 8 * 10 * 4, stored.Count);
        List<VectorSearchResult<Hotel>> found = await hotels.SearchAsync(MakeHotel(5).Vector, 10_000).ToListAsync();
        Assert.Equal(stored.Select(h => h.Id).Order(), found.Select(r => r.Record.Id).Order());
    }

    [Fact]
    public async Task ServicesAreAnswered()
    {
        Assert.NotNull(Store.GetService(typeof(VectorStoreMetadata)));
        VectorStoreCollection<string, Hotel> hotels = await FilledAsync(1);
        Assert.Equal("hotels", ((VectorStoreCollectionMetadata)hotels.GetService(typeof(VectorStoreCollectionMetadata))!).CollectionName);
        Assert.Same(hotels, hotels.GetService(hotels.GetType()));
        Assert.Null(hotels.GetService(typeof(string)));
    }

    public sealed class Hotel
    {
        [VectorStoreKey]
        public string Id { get; set; } = "";

        [VectorStoreData(IsIndexed = true)]
        public string? City { get; set; }

        [VectorStoreData(IsFullTextIndexed = true)]
        public string? Description { get; set; }

        [VectorStoreData]
        public int Stars { get; set; }

        [VectorStoreData]
        public double? Price { get; set; }

        [VectorStoreData]
        public bool Open { get; set; }

        [VectorStoreData]
        public DateTimeOffset Updated { get; set; }

        [VectorStoreData]
        public string[]? Tags { get; set; }

        [VectorStoreVector(4)]
        public ReadOnlyMemory<float> Vector { get; set; }
    }

    public sealed class Note
    {
        [VectorStoreKey]
        public Guid Id { get; set; }

        [VectorStoreVector(8)]
        public string? Text { get; set; }
    }

    /// <summary>Counts the letters a to h: similar texts by a rule that a test can foresee.</summary>
    protected sealed class LetterGenerator : IEmbeddingGenerator<string, Embedding<float>>
    {
        public Task<GeneratedEmbeddings<Embedding<float>>> GenerateAsync(IEnumerable<string> values, EmbeddingGenerationOptions? options = null, CancellationToken cancellationToken = default) =>
            Task.FromResult(new GeneratedEmbeddings<Embedding<float>>(values.Select(v => new Embedding<float>(Enumerable.Range('a', 8).Select(c => (float)v.Count(x => x == c)).ToArray()))));

        public object? GetService(Type serviceType, object? serviceKey = null) => serviceType.IsInstanceOfType(this) ? this : null;

        public void Dispose()
        {
        }
    }
}
