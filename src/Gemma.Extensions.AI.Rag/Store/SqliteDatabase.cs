using Microsoft.Data.Sqlite;
using Microsoft.Extensions.VectorData;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>
/// One SQLite file: connections, transactions and the catalogue of collections. Readers see a snapshot and never wait; writers take turns,
/// in this process by a semaphore and between processes by SQLite's lock.
/// </summary>
internal sealed class SqliteDatabase : IDisposable
{
    private readonly string _connectionString;
    private readonly int _busyMilliseconds;
    private readonly IProgress<SqliteReindexProgress>? _reindexing;
    private readonly SemaphoreSlim _writer = new(1, 1);
    private readonly Lock _initialising = new();
    private volatile bool _initialised;

    public SqliteDatabase(string path, TimeSpan busyTimeout, IProgress<SqliteReindexProgress>? reindexing)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        Path = System.IO.Path.GetFullPath(path);
        _busyMilliseconds = (int)busyTimeout.TotalMilliseconds;
        _reindexing = reindexing;
        _connectionString = new SqliteConnectionStringBuilder
        {
            DataSource = Path,
            Mode = SqliteOpenMode.ReadWriteCreate,
            DefaultTimeout = Math.Max(1, (int)busyTimeout.TotalSeconds),
        }.ToString();
    }

    public string Path { get; }

    /// <summary>Runs against one snapshot of the file.</summary>
    public Task<T> ReadAsync<T>(string operation, string? collection, Func<SqliteConnection, SqliteTransaction, T> work, CancellationToken cancellationToken) =>
        Task.Run(
            () =>
            {
                try
                {
                    using SqliteConnection connection = Open(cancellationToken);
                    using SqliteTransaction transaction = connection.BeginTransaction(deferred: true);
                    return work(connection, transaction);
                }
                catch (Exception error) when (IsOfTheFile(error))
                {
                    throw Failure(error, operation, collection);
                }
            },
            cancellationToken);

    /// <summary>Runs in a transaction that is committed when the work returns, and leaves nothing behind when it throws.</summary>
    public async Task<T> WriteAsync<T>(string operation, string? collection, Func<SqliteConnection, SqliteTransaction, T> work, CancellationToken cancellationToken)
    {
        await _writer.WaitAsync(cancellationToken).ConfigureAwait(false);
        try
        {
            return await Task.Run(
                () =>
                {
                    try
                    {
                        using SqliteConnection connection = Open(cancellationToken);
                        using SqliteTransaction transaction = connection.BeginTransaction(deferred: false);
                        T result = work(connection, transaction);
                        transaction.Commit();
                        return result;
                    }
                    catch (Exception error) when (IsOfTheFile(error))
                    {
                        throw Failure(error, operation, collection);
                    }
                },
                cancellationToken).ConfigureAwait(false);
        }
        finally
        {
            _writer.Release();
        }
    }

    public static SqliteCommand Command(SqliteConnection connection, SqliteTransaction? transaction, string sql, params ReadOnlySpan<(string Name, object Value)> parameters)
    {
        SqliteCommand command = connection.CreateCommand();
        command.Transaction = transaction;
        command.CommandText = sql;
        foreach ((string name, object value) in parameters)
        {
            command.Parameters.AddWithValue(name, value);
        }

        return command;
    }

    /// <summary>SQLite's own, and what reading a value gives that is not what was written.</summary>
    private static bool IsOfTheFile(Exception error) =>
        error is SqliteException or InvalidDataException or FormatException or System.Text.Json.JsonException or OverflowException or InvalidCastException;

    public VectorStoreException Failure(Exception error, string operation, string? collection)
    {
        string hint = (error as SqliteException)?.SqliteErrorCode switch
        {
            SQLitePCL.raw.SQLITE_BUSY or SQLitePCL.raw.SQLITE_LOCKED =>
                $" Another process has held the write lock for more than {_busyMilliseconds / 1000.0:0.#} s; try again, or raise SqliteVectorStoreOptions.BusyTimeout.",
            SQLitePCL.raw.SQLITE_NOTADB => " The file is not an SQLite database; choose another path.",
            SQLitePCL.raw.SQLITE_CORRUPT => " The file is damaged; restore it from a backup or ingest again into a new file.",
            SQLitePCL.raw.SQLITE_READONLY => " The file or its directory can't be written; SQLite needs both, to read too (WAL).",
            SQLitePCL.raw.SQLITE_FULL => " The disk is full.",
            SQLitePCL.raw.SQLITE_CANTOPEN => " The file can't be opened or created; check that its directory exists and can be written.",
            null => " The file holds a damaged value; restore it from a backup or ingest again into a new file.",
            _ => "",
        };
        return new VectorStoreException($"{operation} failed on '{Path}': {error.Message}{hint}", error)
        {
            VectorStoreSystemName = "sqlite",
            VectorStoreName = Path,
            CollectionName = collection,
            OperationName = operation,
        };
    }

    public void Dispose()
    {
        using (SqliteConnection connection = new(_connectionString))
        {
            // Pooled connections keep the file open; a closed store's file can be moved or deleted.
            SqliteConnection.ClearPool(connection);
        }

        _writer.Dispose();
    }

    private SqliteConnection Open(CancellationToken cancellationToken)
    {
        SqliteConnection connection = new(_connectionString);
        try
        {
            connection.Open();

            // FULL: a commit is on the disk when the call returns, also when the power fails.
            Execute(connection, $"PRAGMA busy_timeout = {_busyMilliseconds}; PRAGMA synchronous = FULL; PRAGMA cache_size = -8192;");
            if (!_initialised)
            {
                lock (_initialising)
                {
                    if (!_initialised)
                    {
                        SqliteLayout.Prepare(connection, Path, _reindexing, cancellationToken);
                        _initialised = true;
                    }
                }
            }

            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private static void Execute(SqliteConnection connection, string sql)
    {
        using SqliteCommand command = Command(connection, null, sql);
        command.ExecuteNonQuery();
    }
}
