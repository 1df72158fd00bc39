using System.Numerics.Tensors;
using System.Runtime.InteropServices;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>A vector property as a search needs it.</summary>
internal sealed record VectorTarget(int Property, int Dimensions, bool IsHalf, string? DistanceFunction, string? IndexKind);

/// <summary>
/// Nearest vectors. Two ways to them: an exact scan of the stored vectors, and a scan of the in-memory codes whose best candidates are scored
/// exactly. Few rows after filtering are always scored exactly.
/// </summary>
internal sealed class SqliteVectorSearch(IndexCache indexes, long memoryLimit)
{
    /// <summary>Candidates for each row asked for. Measured recall@10 is in tests/Gemma.Extensions.AI.Benchmarks/results.</summary>
    private const int Oversampling = 4;

    private const int LeastCandidates = 64;

    /// <summary>Below this many rows after filtering, reading their vectors is cheaper than a scan.</summary>
    private const int FewRows = 512;

    public static bool IsDistance(string? function) =>
        function is DistanceFunction.CosineDistance or DistanceFunction.EuclideanDistance or DistanceFunction.EuclideanSquaredDistance or DistanceFunction.NegativeDotProductSimilarity;

    /// <summary>The best rows by the property's distance function, cosine similarity where it names none. Best first.</summary>
    public List<ScoredRow> Search(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, VectorTarget target, float[] query, Condition? condition, int count, CancellationToken cancellationToken)
    {
        Func<ReadOnlySpan<float>, double> score = Scorer(target.DistanceFunction, query);
        HashSet<long>? allowed = condition is null ? null : Filter(connection, transaction, entry, condition, cancellationToken);
        IEnumerable<long>? candidates = allowed;
        if (allowed is null || allowed.Count > Math.Max(FewRows, Oversampling * count))
        {
            candidates = UsesIndex(connection, transaction, entry, target)
                ? Candidates(connection, transaction, entry, target, query, count, allowed, cancellationToken)
                : null;
        }

        List<ScoredRow> rows = candidates is null
            ? ScanFile(connection, transaction, entry, target, score, allowed, count, cancellationToken)
            : Rescore(connection, transaction, entry, target, score, candidates);
        bool ascending = IsDistance(target.DistanceFunction);
        rows.Sort((a, b) => (ascending ? a.Score.CompareTo(b.Score) : b.Score.CompareTo(a.Score)) is var order and not 0 ? order : a.Id.CompareTo(b.Id));
        return rows.Count > count ? rows[..count] : rows;
    }

    private static VectorMetric Metric(string? function) => function switch
    {
        null or DistanceFunction.CosineSimilarity or DistanceFunction.CosineDistance => VectorMetric.Cosine,
        DistanceFunction.DotProductSimilarity or DistanceFunction.NegativeDotProductSimilarity => VectorMetric.Dot,
        DistanceFunction.EuclideanDistance or DistanceFunction.EuclideanSquaredDistance => VectorMetric.Euclidean,
        _ => throw new NotSupportedException($"The distance function '{function}' is not supported. Supported are cosine, dot product and Euclidean ones."),
    };

    private static Func<ReadOnlySpan<float>, double> Scorer(string? function, float[] query)
    {
        VectorMetric metric = Metric(function);
        double queryNorm = TensorPrimitives.Norm<float>(query);
        return metric switch
        {
            VectorMetric.Cosine when function == DistanceFunction.CosineDistance => v => 1 - Cosine(v),
            VectorMetric.Cosine => Cosine,
            VectorMetric.Dot when function == DistanceFunction.NegativeDotProductSimilarity => v => -TensorPrimitives.Dot(v, query),
            VectorMetric.Dot => v => TensorPrimitives.Dot(v, query),
            _ when function == DistanceFunction.EuclideanSquaredDistance => v => Math.Pow(TensorPrimitives.Distance(v, query), 2),
            _ => v => TensorPrimitives.Distance(v, query),
        };

        // The cosine with a zero vector is taken as 0, so that such a record sorts low instead of being NaN.
        double Cosine(ReadOnlySpan<float> v)
        {
            double norm = TensorPrimitives.Norm(v) * queryNorm;
            return norm > 0 ? TensorPrimitives.Dot(v, query) / norm : 0;
        }
    }

    private static HashSet<long> Filter(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, Condition condition, CancellationToken cancellationToken)
    {
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, $"SELECT _id_ FROM {entry.Rows} WHERE {condition.Sql}");
        condition.Bind(command);
        HashSet<long> ids = [];
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            ids.Add(reader.GetInt64(0));
        }

        return ids;
    }

    private bool UsesIndex(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, VectorTarget target)
    {
        switch (target.IndexKind)
        {
            case IndexKind.Flat:
                return false;
            case null or IndexKind.QuantizedFlat or IndexKind.Dynamic:
                using (SqliteCommand command = SqliteDatabase.Command(connection, transaction, $"SELECT count(*) FROM {entry.Rows}"))
                {
                    return QuantizedIndex.EstimateBytes((long)command.ExecuteScalar()!, target.Dimensions) <= memoryLimit;
                }

            default:
                throw new NotSupportedException($"The index kind '{target.IndexKind}' is not supported. Supported are '{IndexKind.QuantizedFlat}' (the default) and '{IndexKind.Flat}'.");
        }
    }

    private List<long> Candidates(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, VectorTarget target, float[] query, int count, HashSet<long>? allowed, CancellationToken cancellationToken)
    {
        QuantizedIndex index = indexes.Get(entry.Id, target.Property, target.Dimensions);
        index.Lock.EnterUpgradeableReadLock();
        try
        {
            // A search on an older snapshot may meet a newer index: rows it doesn't see yet fall out when they are scored.
            if (index.Sequence < entry.Sequence || index.Generation < entry.Generation)
            {
                index.Lock.EnterWriteLock();
                try
                {
                    Refresh(connection, transaction, entry, target, index, cancellationToken);
                }
                finally
                {
                    index.Lock.ExitWriteLock();
                }
            }

            index.Lock.EnterReadLock();
        }
        finally
        {
            index.Lock.ExitUpgradeableReadLock();
        }

        try
        {
            return index.Scan(query, Metric(target.DistanceFunction), Math.Max(LeastCandidates, Oversampling * count), allowed);
        }
        finally
        {
            index.Lock.ExitReadLock();
        }
    }

    /// <summary>Reads what has changed since the index was last brought up to date. If it is cancelled, the next search reads the same again.</summary>
    private static void Refresh(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, VectorTarget target, QuantizedIndex index, CancellationToken cancellationToken)
    {
        if (index.Generation != entry.Generation)
        {
            index.Clear();
            index.Sequence = -1;
        }

        float[] vector = new float[target.Dimensions];
        string changed = index.Sequence < 0 ? "" : " WHERE sequence > $sequence";
        using SqliteCommand command = SqliteDatabase.Command(
            connection, transaction, $"SELECT id, vector FROM {entry.Vectors(target.Property)}{changed}", ("$sequence", index.Sequence));
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            long id = reader.GetInt64(0);
            ReadOnlySpan<byte> blob = SQLitePCL.raw.sqlite3_column_blob(reader.Handle, 1);
            if (blob.IsEmpty)
            {
                index.Remove(id);
            }
            else
            {
                SqliteValues.FromBlob(blob, target.IsHalf, vector);
                index.Set(id, vector);
            }
        }

        index.Sequence = entry.Sequence;
        index.Generation = entry.Generation;
    }

    private static List<ScoredRow> Rescore(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, VectorTarget target, Func<ReadOnlySpan<float>, double> score, IEnumerable<long> candidates)
    {
        List<ScoredRow> rows = [];
        float[] vector = new float[target.Dimensions];
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, $"SELECT vector FROM {entry.Vectors(target.Property)} WHERE id = $id");
        SqliteParameter parameter = command.Parameters.AddWithValue("$id", 0L);
        foreach (long id in candidates)
        {
            parameter.Value = id;
            using SqliteDataReader reader = command.ExecuteReader();
            if (reader.Read() && SQLitePCL.raw.sqlite3_column_blob(reader.Handle, 0) is { IsEmpty: false } blob)
            {
                SqliteValues.FromBlob(blob, target.IsHalf, vector);
                rows.Add(new ScoredRow(id, score(vector)));
            }
        }

        return rows;
    }

    private static List<ScoredRow> ScanFile(
        SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry, VectorTarget target, Func<ReadOnlySpan<float>, double> score,
        HashSet<long>? allowed, int count, CancellationToken cancellationToken)
    {
        double sign = IsDistance(target.DistanceFunction) ? -1 : 1;
        PriorityQueue<ScoredRow, double> best = new();
        float[] vector = new float[target.Dimensions];
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, $"SELECT id, vector FROM {entry.Vectors(target.Property)}");
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            long id = reader.GetInt64(0);
            if (allowed is not null && !allowed.Contains(id))
            {
                continue;
            }

            ReadOnlySpan<byte> blob = SQLitePCL.raw.sqlite3_column_blob(reader.Handle, 1);
            if (blob.IsEmpty)
            {
                continue;
            }

            ReadOnlySpan<float> values = vector;
            if (target.IsHalf)
            {
                SqliteValues.FromBlob(blob, half: true, vector);
            }
            else
            {
                SqliteValues.CheckLength(blob, half: false, target.Dimensions);
                values = MemoryMarshal.Cast<byte, float>(blob);
            }

            double s = score(values);
            if (best.Count < count)
            {
                best.Enqueue(new ScoredRow(id, s), sign * s);
            }
            else
            {
                best.EnqueueDequeue(new ScoredRow(id, s), sign * s);
            }
        }

        return [.. best.UnorderedItems.Select(i => i.Element)];
    }
}
