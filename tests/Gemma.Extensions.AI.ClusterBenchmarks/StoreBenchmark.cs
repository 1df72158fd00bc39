using System.Diagnostics;
using System.Net;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Orleans;
using Orleans.Configuration;
using Orleans.Hosting;
using Orleans.Runtime;
using StackExchange.Redis;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>What the store of the membership has to do for many silos: Orleans' own table over Redis with so many rows, its reads and heartbeats, and what follows of Orleans' default settings.</summary>
internal static class StoreBenchmark
{
    private const int Times = 20;

    public static async Task<int> RunAsync(int most)
    {
        await using MembershipStore store = new MembershipStore.OfRedis();
        await store.StartAsync();
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.UseOrleans(silo =>
        {
            silo.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = ("gemma", "gemma"));
            silo.ConfigureEndpoints(IPAddress.Loopback, ClusterProcesses.FreePort(), ClusterProcesses.FreePort());
            MembershipStore.Join(silo, store.Address);
        });
        using IHost host = builder.Build();
        IMembershipTable table = host.Services.GetRequiredService<IMembershipTable>();
        await table.InitializeMembershipTableAsync(true, default);
        await using ConnectionMultiplexer redis = await ConnectionMultiplexer.ConnectAsync(store.Address[(store.Address.IndexOf(':', StringComparison.Ordinal) + 1)..]);
        ClusterMembershipOptions defaults = new();
        int rows = 0;
        Console.WriteLine($"Orleans' defaults: every silo reads all rows each {defaults.TableRefreshTimeout.TotalSeconds:0} s and writes its own each {defaults.IAmAliveTablePublishTimeout.TotalSeconds:0} s, callers read all each {new GatewayOptions().GatewayListRefreshPeriod.TotalSeconds:0} s; a silo probes {defaults.NumProbedSilos} others.");
        for (int silos = 1; silos <= most; silos *= 10)
        {
            for (; rows < silos; rows++)
            {
                MembershipEntry entry = Row(rows);
                MembershipTableData now = await table.ReadRowAsync(entry.SiloAddress, default);
                if (!await table.InsertRowAsync(entry, now.Version.Next(), default))
                {
                    throw new InvalidOperationException($"Row {rows} was not taken.");
                }
            }

            await table.ReadAllAsync(default);
            double before = await BytesAsync(redis);
            long began = Stopwatch.GetTimestamp();
            for (int i = 0; i < Times; i++)
            {
                MembershipTableData all = await table.ReadAllAsync(default);
                if (all.Members.Count != silos)
                {
                    throw new InvalidOperationException($"{all.Members.Count} of {silos} rows were read.");
                }
            }

            double read = Stopwatch.GetElapsedTime(began).TotalSeconds / Times, bytes = (await BytesAsync(redis) - before) / Times;
            began = Stopwatch.GetTimestamp();
            for (int i = 0; i < Times; i++)
            {
                await table.UpdateIAmAliveAsync(Row(i % silos), default);
            }

            double write = Stopwatch.GetElapsedTime(began).TotalSeconds / Times, reads = silos / defaults.TableRefreshTimeout.TotalSeconds, writes = silos / defaults.IAmAliveTablePublishTimeout.TotalSeconds;
            Console.WriteLine($"{silos,5} silos: all rows are {bytes:N0} bytes and read in {read * 1e3:0.00} ms, a heartbeat is written in {write * 1e3:0.00} ms. In a second of the whole cluster {reads:0.0} reads, {reads * bytes / 1e6:0.000} MB, and {writes:0.0} heartbeats; a silo that comes or goes has all others read, {silos * bytes / 1e6:0.0} MB");
        }

        return 0;
    }

    private static MembershipEntry Row(int number)
    {
        DateTime now = DateTime.UtcNow;
        return new MembershipEntry
        {
            SiloAddress = SiloAddress.New(IPAddress.Parse($"10.0.{number / 250}.{number % 250}"), 11111, 100_000_000 + number),
            Status = SiloStatus.Active,
            HostName = $"gemma-node-{number}",
            SiloName = $"gemma-node-{number}",
            RoleName = "gemma",
            ProxyPort = 30000,
            StartTime = now,
            IAmAliveTime = now,
            SuspectTimes = [],
        };
    }

    /// <summary>Bytes that the server has sent.</summary>
    private static async Task<double> BytesAsync(ConnectionMultiplexer redis)
    {
        string statistics = (string)(await redis.GetDatabase().ExecuteAsync("INFO", "stats"))!;
        return double.Parse(statistics.Split('\n').First(line => line.StartsWith("total_net_output_bytes:", StringComparison.Ordinal)).Split(':')[1]);
    }
}
