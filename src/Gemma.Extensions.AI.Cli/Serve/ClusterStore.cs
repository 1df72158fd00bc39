using System.Globalization;
using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Orleans.Hosting;
using StackExchange.Redis;

namespace Gemma.Extensions.AI.Cli.Serve;

/// <summary>Where a cluster's membership lies, and with it the responses that its gateways keep.</summary>
/// <param name="Description">For people, without secrets.</param>
/// <param name="Join">Has a client find the nodes.</param>
/// <param name="KeepResponses">Registers where responses are kept, so that they are found by their id at every gateway; null: each gateway keeps its own in memory.</param>
internal sealed record ClusterStore(string Description, Action<IClientBuilder> Join, Action<IServiceCollection>? KeepResponses)
{
    /// <summary>Has the connection string where the command line names none: .NET's name for it in the environment, which Aspire sets too.</summary>
    public const string RedisVariable = "ConnectionStrings__redis";

    /// <summary>The same for PostgreSQL.</summary>
    public const string PostgresVariable = "ConnectionStrings__postgresql";

    private const string Local = "localhost";
    private const string Redis = "redis";
    private const string Postgres = "postgresql";

    /// <summary>Port of the first silo's gateway with localhost clustering, unless it was given another.</summary>
    private const int DefaultPort = 30000;

    /// <summary>Reads where it is.</summary>
    /// <param name="address"><c>localhost[:PORT]</c>, <c>redis[:CONNECTION]</c> or <c>postgresql[:CONNECTION]</c>.</param>
    /// <exception cref="ArgumentException">Another form, or no connection string.</exception>
    public static ClusterStore Parse(string address)
    {
        string[] parts = address.Split(':', 2);
        string? given = parts.Length > 1 ? parts[1] : null;
        return parts[0].ToLowerInvariant() switch
        {
            Redis => InRedis(given ?? FromEnvironment(Redis, RedisVariable, "10.0.0.5:6379,password=…")),
            Postgres => InPostgres(given ?? FromEnvironment(Postgres, PostgresVariable, "Host=10.0.0.5;Database=orleans;Username=…;Password=…")),
            Local when ReadPort(given) is { } port => new ClusterStore($"{Local}:{port}", client => client.UseLocalhostClustering(port), KeepResponses: null),
            _ => throw new ArgumentException($"--cluster is '{parts[0]}{(given is not null && given.All(char.IsAsciiDigit) ? $":{given}" : "")}', expected localhost or localhost:PORT with the port of the first node's gateway, or redis or postgresql with or without a connection string, such as redis:10.0.0.5:6379,ssl=true."),
        };
    }

    private static int? ReadPort(string? text) =>
        text is null ? DefaultPort : int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int port) && port is > 0 and <= 65535 ? port : null;

    private static string FromEnvironment(string kind, string variable, string example) => Environment.GetEnvironmentVariable(variable)
        ?? throw new ArgumentException($"--cluster is '{kind}', but the environment variable {variable} is not set. Set it to the connection string, such as {example}, or give one that anybody may see as --cluster {kind}:CONNECTION.");

    private static ClusterStore InRedis(string connection)
    {
        ConfigurationOptions redis = ReadRedis(connection);
        return new ClusterStore(
            $"in Redis {string.Join(", ", redis.EndPoints)}",
            client => client.UseRedisClustering(options => options.ConfigurationOptions = redis.Clone()),
            services => services.AddStackExchangeRedisCache(cache => (cache.ConfigurationOptions, cache.InstanceName) = (redis.Clone(), "gemma/responses/")));
    }

    private static ConfigurationOptions ReadRedis(string text)
    {
        ConfigurationOptions? options = null;
        string problem = "it names no server";
        try
        {
            options = ConfigurationOptions.Parse(text);
        }
        catch (ArgumentException e)
        {
            problem = e.Message;
        }

        // Not the text itself, which may hold a password.
        return options is { EndPoints.Count: > 0 } && !text.StartsWith('/') ? options
            : throw new ArgumentException($"The connection string of --cluster redis cannot be read ({problem}). Expected HOST:PORT and settings behind commas, such as 10.0.0.5:6379,ssl=true.");
    }

    private static ClusterStore InPostgres(string connection)
    {
        NpgsqlConnectionStringBuilder postgres = ReadPostgres(connection);
        string text = postgres.ConnectionString;
        return new ClusterStore(
            $"in PostgreSQL {postgres.Host}:{postgres.Port}{(postgres.Database is { } database ? $"/{database}" : "")}",
            client => client.UseAdoNetClustering(options => (options.Invariant, options.ConnectionString) = ("Npgsql", text)),
            services => services.AddSingleton<IDistributedCache>(_ => new PostgresResponses(NpgsqlDataSource.Create(text))));
    }

    private static NpgsqlConnectionStringBuilder ReadPostgres(string text)
    {
        string problem = "it names no host";
        try
        {
            NpgsqlConnectionStringBuilder options = new(text);
            if (!string.IsNullOrWhiteSpace(options.Host))
            {
                return options;
            }
        }
        catch (Exception e) when (e is ArgumentException or FormatException or KeyNotFoundException)
        {
            problem = e.Message;
        }

        throw new ArgumentException($"The connection string of --cluster postgresql cannot be read ({problem}). Expected Npgsql's form, such as Host=10.0.0.5;Database=orleans;Username=gateway;Password=….");
    }
}
