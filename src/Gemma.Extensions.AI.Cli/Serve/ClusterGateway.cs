using System.Diagnostics;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Gemma.Extensions.AI.AspNetCore.Models;
using Gemma.Extensions.AI.Orleans;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Metrics;
using Orleans;
using Orleans.Configuration;
using Orleans.Hosting;

namespace Gemma.Extensions.AI.Cli.Serve;

/// <summary>Makes a server the gateway of a cluster: it computes nothing and, with a store, keeps nothing, so that there may be any number of them.</summary>
internal static class ClusterGateway
{
    private static readonly TimeSpan s_defaultWait = TimeSpan.FromSeconds(15);

    /// <summary>Time after which Orleans' own first questions to a node are asked again. Those of clients have a time of their own.</summary>
    private static readonly TimeSpan s_answerTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Reads where the cluster's membership is.</summary>
    /// <param name="address"><c>localhost[:PORT]</c>, <c>redis[:CONNECTION]</c> or <c>postgresql[:CONNECTION]</c>.</param>
    /// <param name="id">The cluster's id, the service's behind a slash where it is another; null: Orleans' defaults.</param>
    /// <param name="wait">Time to wait for the first node; null: 15 s.</param>
    /// <param name="certificate">PEM file with certificate and key for TLS; null: without.</param>
    /// <exception cref="ArgumentException">Another form, or no connection string.</exception>
    public static ServedCluster Parse(string address, string? id, string? wait, string? certificate)
    {
        string[] ids = id?.Split('/') ?? [];
        if (ids.Length > 2 || ids.Any(string.IsNullOrWhiteSpace))
        {
            throw new ArgumentException($"--cluster-id is '{id}', expected the cluster's id, or CLUSTER/SERVICE where the service's is another.");
        }

        TimeSpan limit = s_defaultWait;
        if (wait is not null && !(KeepAlive.TryParse(wait, out limit) && limit > TimeSpan.Zero))
        {
            throw new ArgumentException($"--cluster-wait is '{wait}', expected a time such as 15s or 2m.");
        }

        X509Certificate2? own = certificate is null ? null : ReadCertificate(certificate);
        ClusterStore store = ClusterStore.Parse(address);
        return new ServedCluster(store.Description, (builder, models) => Configure(builder, models, new Connection(store, ids, limit, own)));
    }

    private static X509Certificate2 ReadCertificate(string path)
    {
        try
        {
            using X509Certificate2 read = X509Certificate2.CreateFromPemFile(path);
            return X509CertificateLoader.LoadPkcs12(read.Export(X509ContentType.Pkcs12), password: null); // Windows takes no key for TLS that was read from PEM
        }
        catch (Exception e) when (e is CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new ArgumentException($"--cluster-certificate is '{path}', which cannot be read ({e.Message}). Expected a PEM file with a certificate and its private key.");
        }
    }

    private static void Configure(WebApplicationBuilder builder, IReadOnlyDictionary<string, string> models, Connection connection)
    {
        builder.Logging.AddFilter("Orleans", LogLevel.Error); // its warnings tell of each attempt to connect, with the stack; calls that move to another node are logged by their client
        builder.UseOrleansClient(client =>
        {
            connection.Store.Join(client);

            // A node that was lost for a moment is asked again, and new ones are found, within this time; Orleans' default is a minute.
            client.Configure<GatewayOptions>(options => options.GatewayListRefreshPeriod = TimeSpan.FromSeconds(2));
            client.Configure<ClientMessagingOptions>(options => options.ResponseTimeout = connection.Wait < s_answerTimeout ? connection.Wait : s_answerTimeout);
            client.UseConnectionRetryFilter(new Patience(connection).AsksAgainAsync);
            if (connection.Certificate is { } own)
            {
                client.UseTls(own, tls =>
                {
                    tls.RemoteCertificateValidation = (other, _, problems) => problems == SslPolicyErrors.None || other.Thumbprint == own.Thumbprint;
                    tls.OnAuthenticateAsClient = (_, authentication) => authentication.TargetHost = own.GetNameInfo(X509NameType.DnsName, forIssuer: false);
                });
            }

            if (connection.Ids.Length > 0)
            {
                client.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = (connection.Ids[0], connection.Ids[^1]));
            }
        });
        foreach ((string name, string model) in models)
        {
            builder.Services.AddKeyedGemmaClusterChatClient(name, model);
            builder.Services.AddKeyedEmbeddingGenerator(name, provider => new GemmaClusterEmbeddingGenerator(
                provider.GetRequiredService<IGrainFactory>(), model, loggerFactory: provider.GetService<ILoggerFactory>()));
        }

        builder.Services.AddHealthChecks().AddGemmaCluster(models.Values);
        builder.Services.Configure<HealthCheckServiceOptions>(checks => // this process has no models of its own
        {
            foreach (HealthCheckRegistration own in checks.Registrations.Where(check => check.Name == "gemma").ToArray())
            {
                checks.Registrations.Remove(own);
            }
        });
        connection.Store.KeepResponses?.Invoke(builder.Services);
        builder.Services.AddOpenTelemetry().WithMetrics(static metrics => metrics.AddMeter(GemmaClusterDiagnostics.Name));
    }

    /// <summary>Where a cluster is, and how long its first node is waited for.</summary>
    private sealed record Connection(ClusterStore Store, string[] Ids, TimeSpan Wait, X509Certificate2? Certificate);

    /// <summary>Has the start ask again for as long as the command line says, and end with an error then: Orleans by itself tries for minutes.</summary>
    private sealed class Patience(Connection connection)
    {
        private readonly long _began = Stopwatch.GetTimestamp();

        public async Task<bool> AsksAgainAsync(Exception problem, CancellationToken cancellationToken)
        {
            if (Stopwatch.GetElapsedTime(_began) >= connection.Wait)
            {
                string shown = problem.Message.ReplaceLineEndings(" ").TrimEnd('.');
                throw new GemmaException($"No node of the cluster {connection.Store.Description} answered within {connection.Wait.TotalSeconds:0.#} s: {shown}. Start a node first, compare --cluster and --cluster-id with what the nodes were given, or wait longer with --cluster-wait.", problem);
            }

            await Task.Delay(TimeSpan.FromMilliseconds(200), cancellationToken);
            return true;
        }
    }
}
