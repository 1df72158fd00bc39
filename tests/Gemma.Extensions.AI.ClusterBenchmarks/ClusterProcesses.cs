using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans;
using Orleans.Configuration;
using Orleans.Hosting;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>A cluster of processes on this machine, with a store for its membership, and a client of it in this process.</summary>
/// <param name="program">The assembly with the command "node".</param>
/// <param name="model">What each node serves, as "model".</param>
/// <param name="kvBytes">Bytes of a node's key/value memory; 0 for what it chooses.</param>
/// <param name="store">Keeps the membership, and is started and ended with the cluster; null: Redis.</param>
internal sealed class ClusterProcesses(string program, string model, long kvBytes = 0, MembershipStore? store = null) : IAsyncDisposable
{
    private static int s_lastPort = Random.Shared.Next(23_000, 30_000);

    private readonly string _cluster = $"gemma-{Guid.NewGuid():N}";
    private readonly MembershipStore _store = store ?? new MembershipStore.OfRedis();
    private readonly List<NodeProcess> _nodes = [];
    private IHost? _client;
    private long _messages;

    /// <summary>Id of the cluster and of its service.</summary>
    public string Id => _cluster;

    /// <summary>The kind of store with its membership and the connection string, with a colon between.</summary>
    public string StoreAddress => _store.Address;

    public IReadOnlyList<NodeProcess> Nodes
    {
        get
        {
            lock (_nodes)
            {
                return [.. _nodes];
            }
        }
    }

    /// <summary>Messages that the client has had from nodes, each asked for.</summary>
    public long Messages => Interlocked.Read(ref _messages);

    /// <summary>The silo that the last of them came from.</summary>
    public string? LastNode { get; private set; }

    public IClusterClient Client => _client!.Services.GetRequiredService<IClusterClient>();

    public async Task StartAsync(int nodes)
    {
        await _store.StartAsync();
        await Task.WhenAll(Enumerable.Range(0, nodes).Select(_ => AddNodeAsync()));
        _client = await ConnectAsync(_cluster, _store.Address, batch =>
        {
            Interlocked.Increment(ref _messages);
            LastNode = batch.Node;
        });
    }

    /// <summary>A client of a cluster in this process.</summary>
    /// <param name="cluster">Its id.</param>
    /// <param name="store">The store of its membership.</param>
    /// <param name="heard">Told of every batch of an answer that comes; null: nobody is.</param>
    public static async Task<IHost> ConnectAsync(string cluster, string store, Action<WireBatch>? heard = null)
    {
        HostApplicationBuilder builder = Host.CreateApplicationBuilder();
        builder.Logging.ClearProviders();
        builder.UseOrleansClient(client =>
        {
            client.Configure<ClusterOptions>(options => (options.ClusterId, options.ServiceId) = (cluster, cluster));
            MembershipStore.Join(client, store);
            if (heard is not null)
            {
                client.AddOutgoingGrainCallFilter(async call =>
                {
                    await call.Invoke();
                    if (call.Result is WireBatch batch)
                    {
                        heard(batch);
                    }
                });
            }

            client.Configure<GatewayOptions>(options => options.GatewayListRefreshPeriod = TimeSpan.FromSeconds(2));
        });
        IHost client = builder.Build();
        await client.StartAsync();
        return client;
    }

    /// <summary>
    /// Waits, under load, until nodes and this process compile no code any more. The runtime compiles what is used often once more, better, on a thread of its own: more than half of what a node does in its first
    /// seconds, and where cores are short it takes a minute and longer.
    /// </summary>
    /// <exception cref="InvalidOperationException">They still do after three minutes.</exception>
    public async Task SettleAsync()
    {
        long began = Stopwatch.GetTimestamp();
        double before = Compiling();
        for (int calm = 0; calm < 2;)
        {
            await Task.Delay(2000);
            double now = Compiling();
            calm = now - before < 0.02 ? calm + 1 : 0;
            before = now;
            if (Stopwatch.GetElapsedTime(began) > TimeSpan.FromMinutes(3))
            {
                throw new InvalidOperationException("Nodes still compile code after three minutes: the machine is too busy to measure, or there is no load.");
            }
        }

        double Compiling() => Nodes.Sum(node => node.ThreadSeconds().Compiler) + ThreadTimes.OfThisProcess().Compiler;
    }

    public async Task<NodeProcess> AddNodeAsync()
    {
        NodeProcess node = NodeProcess.Start(program, _cluster, _store.Address, FreePort(), FreePort(), model, kvBytes);
        lock (_nodes)
        {
            _nodes.Add(node);
        }

        await node.SaysAsync("ready");
        return node;
    }

    /// <summary>As <c>kill -9</c>.</summary>
    public void Kill(NodeProcess node)
    {
        node.Kill();
        Remove(node);
    }

    public async Task StopAsync(NodeProcess node)
    {
        await node.StopAsync();
        Remove(node);
    }

    public async ValueTask DisposeAsync()
    {
        if (_client is not null)
        {
            await _client.StopAsync();
            _client.Dispose();
        }

        foreach (NodeProcess node in Nodes)
        {
            node.Kill();
        }

        await _store.DisposeAsync();
    }

    private void Remove(NodeProcess node)
    {
        lock (_nodes)
        {
            _nodes.Remove(node);
        }
    }

    /// <summary>
    /// A port that nobody uses and this process has not returned before. It is below those that systems give out by themselves, so that nothing that starts meanwhile is given it
    /// before a node listens on it.
    /// </summary>
    internal static int FreePort()
    {
        while (true)
        {
            int port = Interlocked.Increment(ref s_lastPort);
            try
            {
                using TcpListener listener = new(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // Somebody listens there; the next may be free.
            }
        }
    }
}

/// <summary>A node's process.</summary>
internal sealed class NodeProcess
{
    private readonly Process _process;

    private NodeProcess(Process process, int siloPort) => (_process, SiloPort) = (process, siloPort);

    public int SiloPort { get; }

    /// <summary>Processor time that it has taken.</summary>
    public double ProcessorSeconds
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime.TotalSeconds;
        }
    }

    public static NodeProcess Start(string program, string cluster, string store, int siloPort, int gatewayPort, string model, long kvBytes)
    {
        ProcessStartInfo start = new("dotnet", [program, "node", cluster, store, $"{siloPort}", $"{gatewayPort}", model, "1", $"{kvBytes}"])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        Process process = Process.Start(start)!;
        process.ErrorDataReceived += (_, line) =>
        {
            if (line.Data is { Length: > 0 } text && Environment.GetEnvironmentVariable("GEMMA_CLUSTER_LOG") == "1")
            {
                Console.Error.WriteLine(text);
            }
        };
        process.BeginErrorReadLine();
        return new NodeProcess(process, siloPort);
    }

    /// <summary>Seconds that its engine's thread has computed, that code was compiled for while it runs, and that all other threads took, those that have ended included (Linux).</summary>
    public ThreadTimes ThreadSeconds() => ThreadTimes.Of(_process.Id, ProcessorSeconds);

    public async Task<string> SaysAsync(string word)
    {
        using CancellationTokenSource limit = new(TimeSpan.FromMinutes(2));
        while (await _process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
        {
            if (line.StartsWith(word, StringComparison.Ordinal))
            {
                return line;
            }
        }

        throw new InvalidOperationException($"A node ended before it said '{word}'.");
    }

    /// <summary>Calls that it answers.</summary>
    public async Task<int> RunningCallsAsync()
    {
        await _process.StandardInput.WriteLineAsync();
        return int.Parse((await SaysAsync("running")).Split(' ')[1]);
    }

    /// <summary>Its memory.</summary>
    /// <param name="collect">True: after a full collection.</param>
    public async Task<NodeMemory> MemoryAsync(bool collect)
    {
        await _process.StandardInput.WriteLineAsync(collect ? "collect" : "");
        return NodeMemory.Parse((await SaysAsync("running")).Split(' ', 3)[2]);
    }

    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
    }

    /// <summary>Has it stand still, as a machine that is cut off or stalls.</summary>
    public Task PauseAsync() => SignalAsync("-STOP");

    public Task ResumeAsync() => SignalAsync("-CONT");

    /// <summary>Waits until it ends by itself.</summary>
    public Task EndAsync(CancellationToken cancellationToken) => _process.WaitForExitAsync(cancellationToken);

    public async Task StopAsync()
    {
        _process.StandardInput.Close();
        await _process.WaitForExitAsync();
    }

    private async Task SignalAsync(string signal)
    {
        using Process kill = Process.Start("kill", [signal, $"{_process.Id}"]);
        await kill.WaitForExitAsync();
    }
}
