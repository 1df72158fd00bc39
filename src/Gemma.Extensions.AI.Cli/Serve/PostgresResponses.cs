using Microsoft.Extensions.Caching.Distributed;
using Npgsql;

namespace Gemma.Extensions.AI.Cli.Serve;

/// <summary>
/// Keeps responses in a table of PostgreSQL, <c>gemma_responses</c>, so that every gateway finds them. It is made when the first one is kept, if the role may make tables; where it is there,
/// the role needs to read and write it only.
/// </summary>
internal sealed class PostgresResponses(NpgsqlDataSource database) : IDistributedCache, IAsyncDisposable, IDisposable
{
    /// <summary>Any number, the same in every gateway: they may make the table at the same time.</summary>
    private const string TableLock = "443546430818";

    private const string Table = """
        CREATE TABLE IF NOT EXISTS gemma_responses (key text PRIMARY KEY, value bytea NOT NULL, lifetime interval NOT NULL, expires timestamptz NOT NULL);
        CREATE INDEX IF NOT EXISTS gemma_responses_expires ON gemma_responses (expires);
        """;

    /// <summary>Takes some away that expired: more than one for each that comes, so that they do not grow.</summary>
    private const string Sweep = "DELETE FROM gemma_responses WHERE key IN (SELECT key FROM gemma_responses WHERE expires < now() ORDER BY expires LIMIT 20 FOR UPDATE SKIP LOCKED)";

    private bool _isThere;

    public byte[]? Get(string key) => GetAsync(key).GetAwaiter().GetResult();

    public async Task<byte[]?> GetAsync(string key, CancellationToken token = default)
    {
        await MakeTableAsync(token).ConfigureAwait(false);
        await using NpgsqlCommand command = database.CreateCommand("UPDATE gemma_responses SET expires = now() + lifetime WHERE key = $1 AND expires > now() RETURNING value");
        command.Parameters.Add(new() { Value = key });
        return await command.ExecuteScalarAsync(token).ConfigureAwait(false) as byte[];
    }

    public void Set(string key, byte[] value, DistributedCacheEntryOptions options) => SetAsync(key, value, options).GetAwaiter().GetResult();

    public async Task SetAsync(string key, byte[] value, DistributedCacheEntryOptions options, CancellationToken token = default)
    {
        TimeSpan lifetime = options.SlidingExpiration ?? throw new ArgumentException("A time is expected after which a value that is not used expires.", nameof(options));
        await MakeTableAsync(token).ConfigureAwait(false);
        await using NpgsqlCommand command = database.CreateCommand($"""
            {Sweep};
            INSERT INTO gemma_responses VALUES (@key, @value, @lifetime, now() + @lifetime)
            ON CONFLICT (key) DO UPDATE SET value = EXCLUDED.value, lifetime = EXCLUDED.lifetime, expires = EXCLUDED.expires
            """);
        command.Parameters.AddWithValue("key", key);
        command.Parameters.AddWithValue("value", value);
        command.Parameters.AddWithValue("lifetime", lifetime);
        await command.ExecuteNonQueryAsync(token).ConfigureAwait(false);
    }

    public void Refresh(string key) => Get(key);

    public Task RefreshAsync(string key, CancellationToken token = default) => GetAsync(key, token);

    public void Remove(string key) => RemoveAsync(key).GetAwaiter().GetResult();

    public async Task RemoveAsync(string key, CancellationToken token = default)
    {
        await MakeTableAsync(token).ConfigureAwait(false);
        await using NpgsqlCommand command = database.CreateCommand("DELETE FROM gemma_responses WHERE key = $1");
        command.Parameters.Add(new() { Value = key });
        await command.ExecuteNonQueryAsync(token).ConfigureAwait(false);
    }

    public ValueTask DisposeAsync() => database.DisposeAsync();

    public void Dispose() => database.Dispose();

    /// <exception cref="GemmaException">The table is not there, and the role may not make it.</exception>
    private async Task MakeTableAsync(CancellationToken cancellationToken)
    {
        if (_isThere)
        {
            return;
        }

        await using NpgsqlCommand look = database.CreateCommand("SELECT to_regclass('gemma_responses') IS NOT NULL");
        if (await look.ExecuteScalarAsync(cancellationToken).ConfigureAwait(false) is not true)
        {
            await using NpgsqlCommand make = database.CreateCommand($"SELECT pg_advisory_xact_lock({TableLock}); {Table}");
            try
            {
                await make.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
            }
            catch (PostgresException e) when (e.SqlState == PostgresErrorCodes.InsufficientPrivilege)
            {
                throw new GemmaException($"Responses cannot be kept: the table gemma_responses is not in the database, and the role may not make it ({e.MessageText}). Make it, and let the role read and write it: {Table.ReplaceLineEndings(" ")}", e);
            }
        }

        _isThere = true;
    }
}
