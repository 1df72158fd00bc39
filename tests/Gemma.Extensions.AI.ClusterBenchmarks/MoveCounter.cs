using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using Gemma.Extensions.AI.Orleans;

namespace Gemma.Extensions.AI.ClusterBenchmarks;

/// <summary>Counts how calls moved from node to node.</summary>
internal sealed class MoveCounter : IDisposable
{
    private readonly ConcurrentDictionary<string, long> _moves = new();
    private readonly MeterListener _listener = new();

    public MoveCounter()
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (instrument.Meter.Name == GemmaClusterDiagnostics.Name && instrument.Name == "gemma.cluster.moves")
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<long>((_, count, tags, _) =>
        {
            foreach (KeyValuePair<string, object?> tag in tags)
            {
                if (tag.Key == "gemma.move")
                {
                    _moves.AddOrUpdate((string)tag.Value!, count, (_, before) => before + count);
                }
            }
        });
        _listener.Start();
    }

    public override string ToString() => _moves.IsEmpty ? "no moves" : string.Join(", ", _moves.OrderBy(move => move.Key).Select(move => $"{move.Value} {move.Key}"));

    public void Dispose() => _listener.Dispose();
}
