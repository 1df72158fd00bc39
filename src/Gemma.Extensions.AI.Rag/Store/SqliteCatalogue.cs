using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>A collection as the file knows it at one moment.</summary>
/// <param name="Id">Never reused; the names of its tables are made from it.</param>
/// <param name="Definition">Columns and types, one a line.</param>
/// <param name="Sequence">Number of the last change.</param>
/// <param name="Generation">Raised when the traces of deleted rows are dropped.</param>
/// <param name="Tokenizer">FTS5 tokenizer of its full text.</param>
internal sealed record CollectionEntry(long Id, string Definition, long Sequence, long Generation, string Tokenizer)
{
    public string Rows => $"vc{Id}";

    public string Text => $"vc{Id}_text";

    public string Vectors(int property) => $"vc{Id}_vectors{property}";
}

/// <summary>In-memory indexes of a store by collection and vector property.</summary>
internal sealed class IndexCache
{
    private readonly ConcurrentDictionary<(long Collection, int Property), QuantizedIndex> _indexes = [];

    public QuantizedIndex Get(long collection, int property, int dimensions) =>
        _indexes.GetOrAdd((collection, property), static (_, d) => new QuantizedIndex(d), dimensions);

    public void Remove(long collection)
    {
        foreach ((long Collection, int Property) key in _indexes.Keys.Where(k => k.Collection == collection))
        {
            _indexes.TryRemove(key, out _);
        }
    }
}

/// <summary>The table of collections.</summary>
internal static class SqliteCatalogue
{
    public static CollectionEntry? Find(SqliteConnection connection, SqliteTransaction transaction, string name)
    {
        using SqliteCommand command = SqliteDatabase.Command(
            connection, transaction, "SELECT id, definition, sequence, generation, tokenizer FROM vector_collections WHERE name = $name", ("$name", name));
        using SqliteDataReader reader = command.ExecuteReader();
        return reader.Read() ? new CollectionEntry(reader.GetInt64(0), reader.GetString(1), reader.GetInt64(2), reader.GetInt64(3), reader.GetString(4)) : null;
    }

    /// <summary>Creates the row of a new collection.</summary>
    public static CollectionEntry Add(SqliteConnection connection, SqliteTransaction transaction, string name, string definition, string tokenizer)
    {
        using SqliteCommand command = SqliteDatabase.Command(
            connection, transaction, "INSERT INTO vector_collections (name, definition, tokenizer) VALUES ($name, $definition, $tokenizer) RETURNING id", ("$name", name), ("$definition", definition), ("$tokenizer", tokenizer));
        return new CollectionEntry((long)command.ExecuteScalar()!, definition, 0, 0, tokenizer);
    }

    /// <summary>Numbers a change.</summary>
    public static long NextSequence(SqliteConnection connection, SqliteTransaction transaction, CollectionEntry entry)
    {
        using SqliteCommand command = SqliteDatabase.Command(
            connection, transaction, "UPDATE vector_collections SET sequence = sequence + 1 WHERE id = $id RETURNING sequence", ("$id", entry.Id));
        return (long)command.ExecuteScalar()!;
    }

    public static Task<bool> ExistsAsync(SqliteDatabase database, string name, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        return database.ReadAsync("CollectionExists", name, (connection, transaction) => Find(connection, transaction, name) is not null, cancellationToken);
    }

    public static async Task DeleteAsync(SqliteDatabase database, IndexCache indexes, string name, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        long id = await database.WriteAsync(
            "EnsureCollectionDeleted",
            name,
            (connection, transaction) =>
            {
                if (Find(connection, transaction, name) is not { } entry)
                {
                    return 0;
                }

                List<string> tables = [];
                using (SqliteCommand list = SqliteDatabase.Command(
                    connection, transaction, "SELECT name FROM sqlite_schema WHERE type = 'table' AND (name = $rows OR name = $text OR name GLOB $vectors)",
                    ("$rows", entry.Rows), ("$text", entry.Text), ("$vectors", $"{entry.Rows}_vectors[0-9]*")))
                using (SqliteDataReader reader = list.ExecuteReader())
                {
                    while (reader.Read())
                    {
                        tables.Add(reader.GetString(0));
                    }
                }

                foreach (string table in tables)
                {
                    using SqliteCommand drop = SqliteDatabase.Command(connection, transaction, $"DROP TABLE \"{table}\"");
                    drop.ExecuteNonQuery();
                }

                using SqliteCommand delete = SqliteDatabase.Command(connection, transaction, "DELETE FROM vector_collections WHERE id = $id", ("$id", entry.Id));
                delete.ExecuteNonQuery();
                return entry.Id;
            },
            cancellationToken).ConfigureAwait(false);
        indexes.Remove(id);
    }
}
