using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using System.Numerics.Tensors;
using Gemma.Extensions.AI.Rag;
using Gemma.Extensions.AI.Rag.Store;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Benchmarks.Rag;

/// <summary>Latency, recall and memory of similarity search in the SQLite store. The search runs on one thread.</summary>
internal static class VectorSearchBenchmark
{
    private const string Name = "points";

    public static Command Create()
    {
        Option<string> file = new("--file") { Description = "Database; made on the first run, measured on the next.", Required = true };
        Option<int> count = new("--count") { DefaultValueFactory = _ => 100_000, Description = "Vectors." };
        Option<int> dimensions = new("--dimensions") { DefaultValueFactory = _ => 2304, Description = "Dimensions of a vector." };
        Option<bool> clustered = new("--clustered") { Description = "Vectors around 1,000 centres instead of independent ones." };
        Command command = new("vector-search", "Latency, recall and memory of similarity search in the SQLite store.") { file, count, dimensions, clustered };
        command.SetAction((parse, cancellation) => RunAsync(
            parse.GetRequiredValue(file), parse.GetValue(count), parse.GetValue(dimensions), parse.GetValue(clustered), cancellation));
        return command;
    }

    private static async Task RunAsync(string file, int count, int dimensions, bool clustered, CancellationToken cancellation)
    {
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        using SqliteVectorStore store = new(file);
        VectorStoreCollection<long, Point> quantized = store.GetCollection<long, Point>(Name, Definition(IndexKind.QuantizedFlat, dimensions));
        VectorStoreCollection<long, Point> flat = store.GetCollection<long, Point>(Name, Definition(IndexKind.Flat, dimensions));
        Source source = new(dimensions, clustered);
        if (!await quantized.CollectionExistsAsync(cancellation))
        {
            Stopwatch writing = Stopwatch.StartNew();
            await quantized.EnsureCollectionExistsAsync(cancellation);
            for (int first = 0; first < count; first += 1000)
            {
                await quantized.UpsertAsync(Enumerable.Range(first, Math.Min(1000, count - first)).Select(i => new Point { Id = i, Vector = source.Vector(i) }), cancellation);
            }

            Console.WriteLine($"Written: {count:N0} vectors of {dimensions:N0} dimensions in {writing.Elapsed.TotalSeconds:0.0} s, {new FileInfo(file).Length / 1e6:N0} MB. Run again to measure.");
            return;
        }

        float[][] queries = [.. Enumerable.Range(0, 50).Select(i => source.Vector(-1 - i))];
        long before = GC.GetTotalMemory(forceFullCollection: true);
        Stopwatch clock = Stopwatch.StartNew();
        await quantized.SearchAsync(queries[0], 10, cancellationToken: cancellation).ToListAsync(cancellation);
        TimeSpan load = clock.Elapsed;
        long memory = GC.GetTotalMemory(forceFullCollection: true) - before;

        List<double> times = [];
        List<HashSet<long>> answers = [];
        foreach (float[] query in queries)
        {
            clock.Restart();
            List<VectorSearchResult<Point>> results = await quantized.SearchAsync(query, 10, cancellationToken: cancellation).ToListAsync(cancellation);
            times.Add(clock.Elapsed.TotalMilliseconds);
            answers.Add([.. results.Select(r => r.Record.Id)]);
        }

        // Exact answers in one pass over the vectors, which are made again from their seeds.
        PriorityQueue<long, float>[] best = [.. queries.Select(_ => new PriorityQueue<long, float>())];
        for (int i = 0; i < count; i++)
        {
            float[] vector = source.Vector(i);
            float norm = TensorPrimitives.Norm<float>(vector);
            for (int q = 0; q < queries.Length; q++)
            {
                float score = TensorPrimitives.Dot<float>(vector, queries[q]) / norm;
                if (best[q].Count < 10)
                {
                    best[q].Enqueue(i, score);
                }
                else
                {
                    best[q].EnqueueDequeue(i, score);
                }
            }
        }

        double recall = queries.Select((_, q) => best[q].UnorderedItems.Count(b => answers[q].Contains(b.Element)) / 10.0).Average();
        clock.Restart();
        await flat.SearchAsync(queries[0], 10, cancellationToken: cancellation).ToListAsync(cancellation);
        TimeSpan exact = clock.Elapsed;

        times.Sort();
        Console.WriteLine($"""
            {count:N0} vectors of {dimensions:N0} dimensions, {(clustered ? "around 1,000 centres" : "independent Gaussian")}, float32 in the file, 50 queries, one thread
            | | |
            |---|---|
            | search, median | {times[times.Count / 2]:0.0} ms |
            | search, slowest | {times[^1]:0.0} ms |
            | recall@10 | {recall:0.0000} |
            | index memory (measured / computed) | {memory / 1e6:N0} / {QuantizedIndex.EstimateBytes(count, dimensions) / 1e6:N0} MB |
            | first search, which builds the index | {load.TotalSeconds:0.00} s |
            | exact scan of the file (IndexKind.Flat) | {exact.TotalMilliseconds:N0} ms |
            """);
    }

    private static VectorStoreCollectionDefinition Definition(string kind, int dimensions) => new()
    {
        Properties = [new VectorStoreKeyProperty("Id", typeof(long)), new VectorStoreVectorProperty("Vector", typeof(ReadOnlyMemory<float>), dimensions) { IndexKind = kind }],
    };

    private sealed class Point
    {
        [VectorStoreKey]
        public long Id { get; set; }

        [VectorStoreVector(1)]
        public ReadOnlyMemory<float> Vector { get; set; }
    }

    /// <summary>Vectors from seeds, so that none has to be kept.</summary>
    private sealed class Source(int dimensions, bool clustered)
    {
        private readonly Dictionary<int, float[]> _centres = [];

        public float[] Vector(int id)
        {
            float[] vector = Gaussian(id);
            if (clustered)
            {
                int centre = (int)((uint)(id * 2654435761L) % 1000);
                if (!_centres.TryGetValue(centre, out float[]? middle))
                {
                    _centres[centre] = middle = Gaussian(1_000_000_000 + centre);
                }

                TensorPrimitives.MultiplyAdd(vector, 0.5f, middle, vector);
            }

            return vector;
        }

        /// <summary>Sum of four uniform numbers: near enough to a normal one, and quick.</summary>
        private float[] Gaussian(int seed)
        {
            float[] vector = new float[dimensions];
            ulong state = (ulong)(uint)seed * 0x9E3779B97F4A7C15 + 1;
            for (int d = 0; d < dimensions; d++)
            {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                vector[d] = ((state & 0xFFFF) + (state >> 16 & 0xFFFF) + (state >> 32 & 0xFFFF) + (state >> 48)) / 65536f - 2;
            }

            return vector;
        }
    }
}
