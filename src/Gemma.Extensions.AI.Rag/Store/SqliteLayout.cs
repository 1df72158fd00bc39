using System.Globalization;
using Gemma.Extensions.AI.Rag.Words;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>Detects the owner and layout of a file, creates new files and upgrades older ones. A file of another application is never written to.</summary>
internal static class SqliteLayout
{
    /// <summary>Layout of the tables. A file of a later one is refused.</summary>
    private const int Current = 2;

    /// <summary>SQLite's application id of the store's files, since layout 2: "GemD" in ASCII.</summary>
    private const int ApplicationId = 0x47656D44;

    /// <summary>Tokenizer that layout 1 had for a default.</summary>
    private const string FirstTokenizer = "porter unicode61 remove_diacritics 2";

    /// <summary>Columns of the table of collections in layout 1.</summary>
    private static readonly string[] s_firstColumns = ["id", "name", "definition", "sequence", "generation"];

    /// <summary>Makes the file ready for use.</summary>
    /// <exception cref="VectorStoreException">The file belongs to another program or to a later version.</exception>
    public static void Prepare(SqliteConnection connection, string path, IProgress<SqliteReindexProgress>? progress, CancellationToken cancellationToken)
    {
        State state;
        using (SqliteTransaction looking = connection.BeginTransaction(deferred: true))
        {
            state = Look(connection, looking, path);
        }

        using (SqliteCommand wal = SqliteDatabase.Command(connection, null, "PRAGMA journal_mode = WAL;"))
        {
            wal.ExecuteNonQuery();
        }

        if (state == State.UpToDate)
        {
            return;
        }

        // One transaction: a process that ends in between leaves the file as it was.
        using SqliteTransaction transaction = connection.BeginTransaction(deferred: false);
        switch (Look(connection, transaction, path))
        {
            case State.New:
                Execute(connection, transaction, """
                    CREATE TABLE vector_collections (
                        id INTEGER PRIMARY KEY AUTOINCREMENT,
                        name TEXT NOT NULL UNIQUE,
                        definition TEXT NOT NULL,
                        sequence INTEGER NOT NULL DEFAULT 0,
                        generation INTEGER NOT NULL DEFAULT 0,
                        tokenizer TEXT NOT NULL DEFAULT '') STRICT;
                    """);
                break;
            case State.Outdated:
                Execute(connection, transaction, "ALTER TABLE vector_collections ADD COLUMN tokenizer TEXT NOT NULL DEFAULT ''");
                foreach ((long id, string name, string definition) in Collections(connection, transaction))
                {
                    Reindex(connection, transaction, id, name, definition, progress, cancellationToken);
                }

                break;
            default:
                return; // Another process was faster.
        }

        Execute(connection, transaction, string.Create(CultureInfo.InvariantCulture, $"PRAGMA application_id = {ApplicationId}; PRAGMA user_version = {Current};"));
        transaction.Commit();
    }

    /// <summary>Creates the full text of a collection. It holds no text, since the rows do, but the words that were made of it.</summary>
    public static string CreateText(string table, int columns, string tokenizer) =>
        $"CREATE VIRTUAL TABLE {table} USING fts5({string.Join(", ", Enumerable.Range(0, columns).Select(i => $"t{i}"))}, content='', contentless_delete=1, tokenize='{tokenizer.Replace("'", "''", StringComparison.Ordinal)}')";

    private static State Look(SqliteConnection connection, SqliteTransaction transaction, string path)
    {
        long application = (long)Scalar(connection, transaction, "PRAGMA application_id")!;
        long version = (long)Scalar(connection, transaction, "PRAGMA user_version")!;
        List<string> tables = Strings(connection, transaction, "SELECT name FROM sqlite_schema WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name = 'vector_collections' DESC, rowid LIMIT 4");
        bool bare = application == 0 && tables.Count == 0;
        if (bare && version == 0)
        {
            return State.New;
        }

        if ((bare || application == ApplicationId) && version > Current)
        {
            throw new VectorStoreException($"'{path}' has layout {version}, but this version of the library reads layout {Current}. Update the library, or choose another file.");
        }

        bool catalogue = tables is ["vector_collections", ..] && (string)Scalar(connection, transaction, "SELECT type FROM sqlite_schema WHERE name = 'vector_collections' ORDER BY type = 'table' DESC")! == "table";
        if (application == ApplicationId && version == Current && catalogue)
        {
            return State.UpToDate;
        }

        if (application == 0 && version == 1 && catalogue
            && Strings(connection, transaction, "SELECT name FROM pragma_table_info('vector_collections') ORDER BY cid").SequenceEqual(s_firstColumns))
        {
            return State.Outdated;
        }

        string found = tables.Count == 0 ? "no tables" : $"the tables {string.Join(", ", tables.Take(3).Select(t => $"'{t}'"))}{(tables.Count > 3 ? " and others" : "")}";
        throw new VectorStoreException(
            $"'{path}' is an SQLite database of another program (application_id {application}, user_version {version}, {found}). The store keeps a file of its own; nothing was changed. Choose another path.");
    }

    private static List<(long Id, string Name, string Definition)> Collections(SqliteConnection connection, SqliteTransaction transaction)
    {
        List<(long, string, string)> collections = [];
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, "SELECT id, name, definition FROM vector_collections ORDER BY id");
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            collections.Add((reader.GetInt64(0), reader.GetString(1), reader.GetString(2)));
        }

        return collections;
    }

    /// <summary>Makes the full text of a collection anew from its rows.</summary>
    private static void Reindex(
        SqliteConnection connection, SqliteTransaction transaction, long id, string name, string definition, IProgress<SqliteReindexProgress>? progress, CancellationToken cancellationToken)
    {
        (string Column, bool IsList)[] columns = [.. definition.Split('\n').Select(FullTextColumn).OfType<(string, bool)>()];
        if (columns.Length == 0)
        {
            return;
        }

        CollectionEntry entry = new(id, definition, 0, 0, "");
        string tokenizer = TokenizerOf((string)(Scalar(connection, transaction, $"SELECT sql FROM sqlite_schema WHERE name = '{entry.Text}'") ?? throw new InvalidDataException($"The table '{entry.Text}' is missing.")));
        tokenizer = tokenizer == FirstTokenizer ? SqliteVectorStoreOptions.DefaultTokenizer : tokenizer;
        Execute(connection, transaction, $"DROP TABLE {entry.Text}");
        Execute(connection, transaction, CreateText(entry.Text, columns.Length, tokenizer));
        long total = (long)Scalar(connection, transaction, $"SELECT count(*) FROM {entry.Rows}")!, done = 0;
        using SqliteCommand insert = SqliteDatabase.Command(
            connection, transaction,
            $"INSERT INTO {entry.Text} (rowid, {string.Join(", ", columns.Select((_, i) => $"t{i}"))}) VALUES ($id, {string.Join(", ", columns.Select((_, i) => $"$t{i}"))})");
        SqliteParameter row = insert.Parameters.AddWithValue("$id", 0L);
        SqliteParameter[] texts = [.. columns.Select((_, i) => insert.Parameters.AddWithValue($"$t{i}", DBNull.Value))];
        using SqliteCommand select = SqliteDatabase.Command(
            connection, transaction, $"SELECT _id_, {string.Join(", ", columns.Select(c => $"\"{c.Column.Replace("\"", "\"\"", StringComparison.Ordinal)}\""))} FROM {entry.Rows}");
        using SqliteDataReader reader = select.ExecuteReader();
        progress?.Report(new SqliteReindexProgress(name, 0, total));
        while (reader.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            row.Value = reader.GetInt64(0);
            for (int i = 0; i < columns.Length; i++)
            {
                texts[i].Value = SqliteValues.FullText(reader.GetValue(i + 1), columns[i].IsList) is { } text ? SearchWords.Indexed(text, tokenizer) : DBNull.Value;
            }

            insert.ExecuteNonQuery();
            if (++done % SqliteReindexProgress.Rows == 0 || done == total)
            {
                progress?.Report(new SqliteReindexProgress(name, done, total));
            }
        }

        using SqliteCommand update = SqliteDatabase.Command(connection, transaction, "UPDATE vector_collections SET tokenizer = $tokenizer WHERE id = $id", ("$tokenizer", tokenizer), ("$id", id));
        update.ExecuteNonQuery();
    }

    /// <summary>Column of a line "data NAME TYPE[ indexed] full-text" of a definition; null where the line is another. Names may hold spaces.</summary>
    private static (string Column, bool IsList)? FullTextColumn(string line)
    {
        const string Data = "data ", FullText = " full-text", Indexed = " indexed";
        if (!line.StartsWith(Data, StringComparison.Ordinal) || !line.EndsWith(FullText, StringComparison.Ordinal))
        {
            return null;
        }

        line = line[Data.Length..^FullText.Length];
        line = line.EndsWith(Indexed, StringComparison.Ordinal) ? line[..^Indexed.Length] : line;
        int space = line.LastIndexOf(' ');
        return (line[..space], line[(space + 1)..] == "JSON");
    }

    /// <summary>The value of 'tokenize' in a table's CREATE statement, also in one by <see cref="CreateText"/>.</summary>
    private static string TokenizerOf(string sql)
    {
        const string Before = "tokenize='";
        int start = sql.LastIndexOf(Before, StringComparison.Ordinal);
        return start >= 0 && sql.EndsWith("')", StringComparison.Ordinal)
            ? sql[(start + Before.Length)..^2].Replace("''", "'", StringComparison.Ordinal)
            : throw new InvalidDataException("The full text of a collection has no tokenizer.");
    }

    private static void Execute(SqliteConnection connection, SqliteTransaction transaction, string sql)
    {
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, sql);
        command.ExecuteNonQuery();
    }

    private static object? Scalar(SqliteConnection connection, SqliteTransaction transaction, string sql)
    {
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, sql);
        return command.ExecuteScalar();
    }

    private static List<string> Strings(SqliteConnection connection, SqliteTransaction transaction, string sql)
    {
        List<string> strings = [];
        using SqliteCommand command = SqliteDatabase.Command(connection, transaction, sql);
        using SqliteDataReader reader = command.ExecuteReader();
        while (reader.Read())
        {
            strings.Add(reader.GetString(0));
        }

        return strings;
    }

    private enum State
    {
        New,
        Outdated,
        UpToDate,
    }
}
