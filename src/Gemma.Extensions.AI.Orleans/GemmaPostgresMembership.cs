using System.Data;
using System.Data.Common;

namespace Gemma.Extensions.AI.Orleans;

/// <summary>
/// The tables and statements that Orleans' clustering over ADO.NET expects in a PostgreSQL database. Orleans looks its statements up by name in the table <c>OrleansQuery</c> and knows
/// nothing else of the database; its packages carry no scripts. Where the scripts of Orleans' repository were run, this is not needed, and changes nothing.
/// </summary>
public static class GemmaPostgresMembership
{
    /// <summary>Any number, the same in every node: they may start at the same time.</summary>
    private const string StartLock = "443546430817";

    private const string Tables = """
        CREATE TABLE IF NOT EXISTS OrleansQuery (QueryKey text PRIMARY KEY, QueryText text NOT NULL);
        CREATE TABLE IF NOT EXISTS OrleansMembershipVersionTable (DeploymentId text PRIMARY KEY, Version integer NOT NULL DEFAULT 0);
        CREATE TABLE IF NOT EXISTS OrleansMembershipTable (
            DeploymentId text NOT NULL REFERENCES OrleansMembershipVersionTable,
            Address text NOT NULL, Port integer NOT NULL, Generation integer NOT NULL,
            SiloName text NOT NULL, HostName text NOT NULL, Status integer NOT NULL, ProxyPort integer, SuspectTimes text,
            StartTime timestamptz NOT NULL, IAmAliveTime timestamptz NOT NULL,
            PRIMARY KEY (DeploymentId, Address, Port, Generation));
        """;

    private const string ThisSilo = "DeploymentId = @DeploymentId AND Address = @Address AND Port = @Port AND Generation = @Generation";

    private const string Members = "SELECT v.Version, m.* FROM OrleansMembershipVersionTable v LEFT JOIN OrleansMembershipTable m ON m.DeploymentId = v.DeploymentId";

    /// <summary>Takes the next version of the membership, unless somebody else has: then no row comes of it, and what follows changes nothing.</summary>
    private const string NextVersion = "WITH next AS (UPDATE OrleansMembershipVersionTable SET Version = Version + 1 WHERE DeploymentId = @DeploymentId AND Version = @Version RETURNING Version)";

    private static readonly (string Name, string Text)[] s_statements =
    [
        ("GatewaysQueryKey", "SELECT Address, ProxyPort, Generation FROM OrleansMembershipTable WHERE DeploymentId = @DeploymentId AND Status = @Status AND ProxyPort > 0"),
        ("MembershipReadAllKey", $"{Members} WHERE v.DeploymentId = @DeploymentId"),
        ("MembershipReadRowKey", $"{Members} AND m.Address = @Address AND m.Port = @Port AND m.Generation = @Generation WHERE v.DeploymentId = @DeploymentId"),
        ("InsertMembershipVersionKey", "WITH made AS (INSERT INTO OrleansMembershipVersionTable (DeploymentId) VALUES (@DeploymentId) ON CONFLICT DO NOTHING RETURNING 1) SELECT EXISTS (SELECT FROM made)"),
        ("InsertMembershipKey", $"""
            {NextVersion}, made AS (
                INSERT INTO OrleansMembershipTable (DeploymentId, Address, Port, Generation, SiloName, HostName, Status, ProxyPort, StartTime, IAmAliveTime)
                SELECT @DeploymentId, @Address, @Port, @Generation, @SiloName, @HostName, @Status, @ProxyPort, @StartTime, @IAmAliveTime FROM next
                ON CONFLICT DO NOTHING RETURNING 1)
            SELECT EXISTS (SELECT FROM made)
            """),
        ("UpdateMembershipKey", $"""
            {NextVersion}, changed AS (
                UPDATE OrleansMembershipTable SET Status = @Status, SuspectTimes = @SuspectTimes, IAmAliveTime = @IAmAliveTime WHERE {ThisSilo} AND EXISTS (SELECT FROM next)
                RETURNING 1)
            SELECT EXISTS (SELECT FROM changed)
            """),
        ("UpdateIAmAlivetimeKey", $"UPDATE OrleansMembershipTable SET IAmAliveTime = @IAmAliveTime WHERE {ThisSilo}"),
        ("DeleteMembershipTableEntriesKey", "DELETE FROM OrleansMembershipTable WHERE DeploymentId = @DeploymentId; DELETE FROM OrleansMembershipVersionTable WHERE DeploymentId = @DeploymentId"),
        ("CleanupDefunctSiloEntriesKey", "DELETE FROM OrleansMembershipTable WHERE DeploymentId = @DeploymentId AND IAmAliveTime < @IAmAliveTime AND Status = 6"),
    ];

    /// <summary>
    /// Makes what is not there yet, in one transaction. Every node may call it before it starts, at the same time as others. Clients, <c>gemma serve --cluster</c> among them, only read
    /// <c>OrleansQuery</c> and <c>OrleansMembershipTable</c>.
    /// </summary>
    /// <param name="connection">A connection to the database, such as an <c>NpgsqlConnection</c>; opened where it is closed. Its role must be allowed to make tables.</param>
    /// <param name="cancellationToken">Gives up; nothing is made then.</param>
    /// <exception cref="DbException">The database cannot be reached, or the role may not make tables.</exception>
    public static async Task CreateTablesAsync(DbConnection connection, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(connection);
        if (connection.State == ConnectionState.Closed)
        {
            await connection.OpenAsync(cancellationToken).ConfigureAwait(false);
        }

        DbTransaction transaction = await connection.BeginTransactionAsync(cancellationToken).ConfigureAwait(false);
        await using (transaction.ConfigureAwait(false))
        {
            await ExecuteAsync(connection, transaction, $"SELECT pg_advisory_xact_lock({StartLock}); {Tables}", [], cancellationToken).ConfigureAwait(false);
            foreach ((string name, string text) in s_statements)
            {
                await ExecuteAsync(connection, transaction, "INSERT INTO OrleansQuery VALUES (@name, @text) ON CONFLICT DO NOTHING", [("name", name), ("text", text)], cancellationToken).ConfigureAwait(false);
            }

            await transaction.CommitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    private static async Task ExecuteAsync(DbConnection connection, DbTransaction transaction, string sql, (string Name, string Value)[] parameters, CancellationToken cancellationToken)
    {
        DbCommand command = connection.CreateCommand();
        await using (command.ConfigureAwait(false))
        {
            (command.Transaction, command.CommandText) = (transaction, sql);
            foreach ((string name, string value) in parameters)
            {
                DbParameter parameter = command.CreateParameter();
                (parameter.ParameterName, parameter.Value) = (name, value);
                command.Parameters.Add(parameter);
            }

            await command.ExecuteNonQueryAsync(cancellationToken).ConfigureAwait(false);
        }
    }
}
