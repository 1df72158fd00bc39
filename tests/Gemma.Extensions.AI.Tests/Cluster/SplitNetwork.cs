using System.Buffers;
using System.Collections.Concurrent;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Configuration;
using Orleans.Hosting;

namespace Gemma.Extensions.AI.Tests.Cluster;

/// <summary>
/// The network between the silos and clients of a test, in two sides. While it is split, what one side sends the other lies on the way, as with a broken cable: nothing is refused, and
/// what was sent arrives once it is whole again.
/// </summary>
internal sealed class SplitNetwork
{
    private readonly ConcurrentDictionary<int, int> _sides = new(); // by port
    private volatile TaskCompletionSource? _whole;

    /// <summary>Keeps the bytes that go from side to side; null: not kept.</summary>
    private readonly MemoryStream? _kept;

    private long _crossed;

    public SplitNetwork(bool keepsBytes = false) => _kept = keepsBytes ? new MemoryStream() : null;

    /// <summary>Number of bytes that went from side to side.</summary>
    public long Crossed => Interlocked.Read(ref _crossed);

    /// <summary>True if a text went from side to side as it is.</summary>
    public bool HasSeen(string text)
    {
        lock (_kept!)
        {
            return _kept.GetBuffer().AsSpan(0, (int)_kept.Length).IndexOf(Encoding.UTF8.GetBytes(text)) >= 0;
        }
    }

    public void Split() => _whole ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Heal()
    {
        TaskCompletionSource? whole = _whole;
        _whole = null;
        whole?.TrySetResult();
    }

    /// <summary>Puts a silo, with the ports that others reach it at, on a side.</summary>
    public void Place(ISiloBuilder silo, int side, params int[] ports)
    {
        foreach (int port in ports)
        {
            _sides[port] = side;
        }

        silo.Services.Configure<SiloConnectionOptions>(options => options.ConfigureSiloOutboundConnection(connection => connection.Use(next => context => PassAsync(next, context, side))));
    }

    /// <summary>Puts a client on a side.</summary>
    public void Place(IClientBuilder client, int side) =>
        client.Services.Configure<ClientConnectionOptions>(options => options.ConfigureConnection(connection => connection.Use(next => context => PassAsync(next, context, side))));

    private async Task PassAsync(ConnectionDelegate next, ConnectionContext context, int side)
    {
        if (!_sides.TryGetValue(((IPEndPoint)context.RemoteEndPoint!).Port, out int other) || other == side)
        {
            await next(context);
            return;
        }

        IDuplexPipe wire = context.Transport;
        Pipe incoming = new(), outgoing = new();
        Task[] pumps = [PumpAsync(wire.Input, incoming.Writer, context.ConnectionClosed), PumpAsync(outgoing.Reader, wire.Output, context.ConnectionClosed)];
        context.Transport = new Ends(incoming.Reader, outgoing.Writer);
        try
        {
            await next(context);
        }
        finally
        {
            wire.Input.CancelPendingRead();
            await outgoing.Writer.CompleteAsync();
            await incoming.Reader.CompleteAsync();
            await Task.WhenAny(Task.WhenAll(pumps), Task.Delay(TimeSpan.FromSeconds(1)));
        }
    }

    private async Task PumpAsync(PipeReader from, PipeWriter to, CancellationToken closed)
    {
        try
        {
            while (true)
            {
                ReadResult read = await from.ReadAsync(closed);
                if (_whole is { } whole)
                {
                    await whole.Task.WaitAsync(closed);
                }

                foreach (ReadOnlyMemory<byte> piece in read.Buffer)
                {
                    Count(piece.Span);
                    await to.WriteAsync(piece, closed);
                }

                from.AdvanceTo(read.Buffer.End);
                if (read.IsCompleted || read.IsCanceled)
                {
                    break;
                }
            }
        }
        catch (Exception e) when (e is OperationCanceledException or InvalidOperationException or IOException)
        {
            // The connection is closed.
        }

        await to.CompleteAsync();
    }

    private void Count(ReadOnlySpan<byte> bytes)
    {
        Interlocked.Add(ref _crossed, bytes.Length);
        if (_kept is not null)
        {
            lock (_kept)
            {
                _kept.Write(bytes);
            }
        }
    }

    private sealed record Ends(PipeReader Input, PipeWriter Output) : IDuplexPipe;
}
