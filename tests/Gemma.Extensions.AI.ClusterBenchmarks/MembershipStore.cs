using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Gemma.Extensions.AI.Orleans;
using Microsoft.Extensions.Hosting;
using Npgsql;
using Orleans.Hosting;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>A server on this machine that keeps the membership of a cluster. It is started for that, and gone afterwards.</summary>
internal abstract class MembershipStore : IAsyncDisposable
{
    private const string Redis = "redis:";
    private const string Postgres = "postgresql:";

    private Process? _server;

    /// <summary>The kind of server and its connection string, with a colon between: what nodes are told.</summary>
    public abstract string Address { get; }

    protected int Port { get; } = ClusterProcesses.FreePort();

    public static void Join(ISiloBuilder silo, string address)
    {
        if (address.StartsWith(Redis, StringComparison.Ordinal))
        {
            silo.UseRedisClustering(options => options.ConfigurationOptions = StackExchange.Redis.ConfigurationOptions.Parse(address[Redis.Length..]));
        }
        else
        {
            silo.UseAdoNetClustering(options => (options.Invariant, options.ConnectionString) = ("Npgsql", address[Postgres.Length..]));
        }
    }

    public static void Join(IClientBuilder client, string address)
    {
        if (address.StartsWith(Redis, StringComparison.Ordinal))
        {
            client.UseRedisClustering(options => options.ConfigurationOptions = StackExchange.Redis.ConfigurationOptions.Parse(address[Redis.Length..]));
        }
        else
        {
            client.UseAdoNetClustering(options => (options.Invariant, options.ConnectionString) = ("Npgsql", address[Postgres.Length..]));
        }
    }

    public async Task StartAsync()
    {
        _server = await BeginAsync();
        _server.BeginOutputReadLine();
        _server.BeginErrorReadLine();
        using CancellationTokenSource limit = new(TimeSpan.FromMinutes(2)); // as for nodes: the machine may be busy
        while (!await AnswersAsync())
        {
            if (_server.HasExited)
            {
                throw new InvalidOperationException($"The server of the membership ended with {_server.ExitCode} before it took connections.");
            }

            await Task.Delay(50, limit.Token);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await EndAsync(_server);
            _server.Dispose();
        }
    }

    protected abstract Task<Process> BeginAsync();

    /// <summary>True once it takes connections.</summary>
    protected virtual async Task<bool> AnswersAsync()
    {
        try
        {
            using TcpClient client = new();
            await client.ConnectAsync(IPAddress.Loopback, Port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    protected virtual Task EndAsync(Process server)
    {
        server.Kill();
        return server.WaitForExitAsync();
    }

    protected static Process Start(string program, IEnumerable<string> arguments) =>
        Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = Path.GetTempPath() })!;

    protected static string? Find(string program, params IEnumerable<string> folders) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Concat(folders).Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    internal sealed class OfRedis : MembershipStore
    {
        private static readonly string? s_program = Find("redis-server");

        public static bool IsInstalled => s_program is not null;

        public override string Address => $"{Redis}127.0.0.1:{Port}";

        protected override Task<Process> BeginAsync() => Task.FromResult(Start(
            s_program ?? throw new InvalidOperationException("redis-server is not installed (Debian: redis-server)."), ["--port", $"{Port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]));
    }

    /// <summary>PostgreSQL in a folder of its own. It refuses to run as root, so root runs it as the user of Debian's package.</summary>
    internal sealed class OfPostgres : MembershipStore
    {
        private static readonly string? s_initialize = Find("initdb", Directory.Exists("/usr/lib/postgresql") ? [.. Directory.GetDirectories("/usr/lib/postgresql").OrderDescending().Select(version => Path.Combine(version, "bin"))] : []);

        private static readonly string[] s_asUser = Environment.UserName == "root" ? ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] : ["env"];

        private readonly string _folder = Directory.CreateTempSubdirectory("gemma-postgresql-").FullName;

        public static bool IsInstalled => s_initialize is not null;

        public override string Address => $"{Postgres}{Connection}";

        private string Connection => $"Host=127.0.0.1;Port={Port};Username=gemma;Database=postgres";

        protected override async Task<Process> BeginAsync()
        {
            string initialize = s_initialize ?? throw new InvalidOperationException("PostgreSQL is not installed (Debian: postgresql).");
            if (s_asUser.Length > 1)
            {
                await RunAsync("chown", ["postgres", _folder]);
            }

            string data = Path.Combine(_folder, "data");
            await RunAsync(s_asUser[0], [.. s_asUser[1..], initialize, "-D", data, "-U", "gemma", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
            string server = Path.Combine(Path.GetDirectoryName(initialize)!, "postgres");
            return Start(s_asUser[0], [.. s_asUser[1..], server, "-D", data, "-p", $"{Port}", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "shared_buffers=16MB"]);
        }

        /// <summary>It takes connections, and has the tables.</summary>
        protected override async Task<bool> AnswersAsync()
        {
            try
            {
                await using NpgsqlConnection database = new(Connection);
                await GemmaPostgresMembership.CreateTablesAsync(database);
                return true;
            }
            catch (NpgsqlException)
            {
                return false;
            }
        }

        protected override async Task EndAsync(Process server)
        {
            NpgsqlConnection.ClearAllPools();
            if (!server.HasExited)
            {
                await RunAsync("kill", ["-QUIT", $"{server.Id}"]); // at once, its own processes with it
                await server.WaitForExitAsync();
            }

            Directory.Delete(_folder, recursive: true);
        }

        private static async Task RunAsync(string program, string[] arguments)
        {
            using Process process = Start(program, arguments);
            Task<string> errors = process.StandardError.ReadToEndAsync();
            await process.StandardOutput.ReadToEndAsync();
            await process.WaitForExitAsync();
            if (process.ExitCode != 0)
            {
                throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} failed: {await errors}");
            }
        }
    }
}
