using Npgsql;

namespace Cluster;

/// <summary>
/// Makes the tables and statements that Orleans' clustering over ADO.NET expects in a PostgreSQL database. Orleans looks its statements up by name in the table OrleansQuery and knows
/// nothing else of the database; its packages carry no scripts. Where the database administrator has run the scripts of Orleans' repository, this is not needed.
/// </summary>
internal static class PostgresMembership
{
    /// <summary>Any number, the same in every node: they may start at the same time.</summary>
    private const long StartLock = 0x6745_6D6D_61;

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

    /// <summary>Makes what is not there yet.</summary>
    /// <param name="connection">Connection string of the database.</param>
    public static async Task CreateAsync(string connection)
    {
        await using NpgsqlDataSource database = NpgsqlDataSource.Create(connection);
        await using NpgsqlConnection open = await database.OpenConnectionAsync();
        await using NpgsqlTransaction transaction = await open.BeginTransactionAsync();
        await using NpgsqlCommand command = new($"SELECT pg_advisory_xact_lock({StartLock}); {Tables}", open, transaction);
        await command.ExecuteNonQueryAsync();
        foreach ((string name, string text) in s_statements)
        {
            await using NpgsqlCommand put = new("INSERT INTO OrleansQuery VALUES ($1, $2) ON CONFLICT DO NOTHING", open, transaction) { Parameters = { new() { Value = name }, new() { Value = text } } };
            await put.ExecuteNonQueryAsync();
        }

        await transaction.CommitAsync();
    }
}
