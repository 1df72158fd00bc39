using System.Diagnostics.Metrics;
using Gemma.Extensions.AI.Orleans.Nodes;
using Gemma.Extensions.AI.Orleans.Wire;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Orleans;

namespace Gemma.Extensions.AI.Orleans.Clients;

/// <summary>Asks the cluster of a client again and again which nodes serve what, so that whoever wants to know need not wait.</summary>
internal sealed partial class ClusterWatch : BackgroundService
{
    /// <summary>Time for which an answer counts: a few questions may go to nodes that were just lost.</summary>
    public static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    private readonly IGrainFactory _grains;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;
    private readonly Meter _meter = new(GemmaClusterDiagnostics.Name);
    private volatile Heard? _last;

    public ClusterWatch(IGrainFactory grains, ILogger<ClusterWatch> logger, TimeProvider? time = null)
    {
        (_grains, _logger, _time) = (grains, logger, time ?? TimeProvider.System);
        _meter.CreateObservableGauge("gemma.cluster.nodes", Measure, "{node}", "Nodes that take calls for a model, as this client last heard.");
    }

    /// <summary>The last answer, however old; null: there was none.</summary>
    public WireCluster? Last => _last?.Cluster;

    /// <summary>Time since the last answer; null: there was none.</summary>
    public TimeSpan? Age => _last is { } last ? _time.GetElapsedTime(last.At) : null;

    public override void Dispose()
    {
        _meter.Dispose();
        base.Dispose();
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using PeriodicTimer timer = new(s_interval);
        try
        {
            do
            {
                await AskAsync(stoppingToken).ConfigureAwait(false);
            }
            while (await timer.WaitForNextTickAsync(stoppingToken).ConfigureAwait(false));
        }
        catch (OperationCanceledException)
        {
            // The application stops.
        }
    }

    /// <summary>Asks any node: each question is to a grain of its own, so that one after another may answer it.</summary>
    private async Task AskAsync(CancellationToken cancellationToken)
    {
        try
        {
            Task<WireCluster> answer = _grains.GetGrain<IEntryGrain>(Guid.NewGuid().ToString("N")).DescribeAsync();
            _ = answer.ContinueWith(static late => _ = late.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted, TaskScheduler.Default);
            _last = new Heard(await answer.WaitAsync(s_interval, cancellationToken).ConfigureAwait(false), _time.GetTimestamp());
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            LogUnanswered(_logger, e.GetType().Name); // not connected yet, or the node is lost
        }
    }

    private IEnumerable<Measurement<int>> Measure() => Age <= Lifetime ? Last!.Models.Select(model => new Measurement<int>(model.Nodes, new KeyValuePair<string, object?>("gen_ai.request.model", model.Name))) : [];

    [LoggerMessage(1, LogLevel.Debug, "No node of the cluster said what is served: {Reason}")]
    private static partial void LogUnanswered(ILogger logger, string reason);

    private sealed record Heard(WireCluster Cluster, long At);
}
