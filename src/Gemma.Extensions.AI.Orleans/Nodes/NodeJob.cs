using System.Threading.Channels;
using Gemma.Extensions.AI.Orleans.Wire;

namespace Gemma.Extensions.AI.Orleans.Nodes;

/// <summary>One try to answer a call, at the node that answers it: written by the work, read batch by batch for the caller.</summary>
internal sealed class NodeJob(Guid attempt, string model, string node, NodeTimes times)
{
    private readonly Channel<WirePart> _parts = Channel.CreateUnbounded<WirePart>(new UnboundedChannelOptions { SingleWriter = true });
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _lock = new();
    private WireState _state = WireState.Running; // what the last batch will say
    private WireFault? _fault;
    private WireVectors? _vectors;
    private WireTokenAnswer? _answer;
    private string? _better;
    private string? _identity;
    private int[]? _prompt;
    private Task<bool>? _wait;
    private (int Sequence, Task<WireBatch> Batch) _last = (0, Task.FromResult(new WireBatch()));
    private long _readAt = times.Clock.GetTimestamp();

    public Guid Attempt => attempt;

    public string Model => model;

    /// <summary>The identity of the model that answers; null until it begins.</summary>
    public string? Identity => _identity;

    /// <summary>Cancelled when nobody wants the answer any more.</summary>
    public CancellationToken Stopped => _stop.Token;

    /// <summary>True once nothing more will come.</summary>
    public bool HasEnded => _state != WireState.Running;

    /// <summary>True if nobody waits for a batch and nobody has for longer than a caller takes to ask again.</summary>
    public bool IsForgotten
    {
        get
        {
            lock (_lock)
            {
                return _last.Batch.IsCompleted && times.Clock.GetElapsedTime(_readAt) > times.ReaderTimeout;
            }
        }
    }

    /// <summary>Says what the answer is computed with and from.</summary>
    public void Introduce(string identity, int[] prompt) => (_identity, _prompt) = (identity, prompt);

    public void Write(WirePart part) => _parts.Writer.TryWrite(part);

    /// <summary>Ends the answer behind what was written; the first word counts.</summary>
    public void End(WireState state, WireFault? fault = null, WireVectors? vectors = null, string? better = null, WireTokenAnswer? answer = null)
    {
        lock (_lock)
        {
            if (_state != WireState.Running)
            {
                return;
            }

            (_state, _fault, _vectors, _better, _answer) = (state, fault, vectors, better, answer);
        }

        _parts.Writer.TryComplete();
        _stop.Cancel();
    }

    /// <summary>The batch of a number: of the last one asked for again, the same.</summary>
    public Task<WireBatch> ReadAsync(int sequence)
    {
        lock (_lock)
        {
            if (sequence == _last.Sequence + 1 && _last.Batch.IsCompleted)
            {
                _last = (sequence, NextAsync(sequence));
            }

            return sequence == _last.Sequence ? _last.Batch : Task.FromResult(new WireBatch { State = WireState.Gone, Node = node, Sequence = sequence });
        }
    }

    private async Task<WireBatch> NextAsync(int sequence)
    {
        await Task.WhenAny(_wait ??= _parts.Reader.WaitToReadAsync().AsTask(), Task.Delay(times.Heartbeat, times.Clock)).ConfigureAwait(false);
        if (_wait.IsCompleted && sequence > 1 && !HasEnded)
        {
            // A batch for each token would cost more than it gives; the end is told at once.
            await Task.Delay(times.LeastPause, times.Clock, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        List<WirePart> parts = [];
        WireState state;
        lock (_lock)
        {
            state = _state; // before reading: what is written before the end belongs to it
        }

        while (parts.Count < times.MostParts && _parts.Reader.TryRead(out WirePart? part))
        {
            parts.Add(part);
        }

        state = _parts.Reader.TryPeek(out _) ? WireState.Running : state;
        _wait = _wait.IsCompleted ? null : _wait;
        bool introduces = parts.Count > 0;
        WireBatch batch = new()
        {
            Sequence = sequence,
            Node = node,
            State = state,
            Parts = [.. parts],
            Identity = introduces ? _identity : null,
            Prompt = introduces ? _prompt : null,
            Fault = state == WireState.Running ? null : _fault,
            Vectors = state == WireState.Running ? null : _vectors,
            Better = state == WireState.Running ? null : _better,
            Answer = state == WireState.Running ? null : _answer,
        };
        _prompt = introduces ? null : _prompt;
        lock (_lock)
        {
            _readAt = times.Clock.GetTimestamp();
        }

        return batch;
    }
}

/// <summary>Times and sizes of the talk between a node and its callers.</summary>
/// <param name="Heartbeat">A batch is returned after that time, whether or not there is something to say.</param>
/// <param name="LeastPause">Time between two batches of an answer while it is generated.</param>
/// <param name="ReaderTimeout">A caller who does not ask for the next batch within that time is taken for gone.</param>
/// <param name="MostParts">Parts of one batch at most.</param>
internal sealed record NodeTimes(TimeSpan Heartbeat, TimeSpan LeastPause, TimeSpan ReaderTimeout, int MostParts)
{
    /// <summary>Time between two looks for callers who are gone.</summary>
    public static readonly TimeSpan SweepInterval = TimeSpan.FromMilliseconds(50);

    public static NodeTimes Default { get; } = new(TimeSpan.FromMilliseconds(250), TimeSpan.FromMilliseconds(15), TimeSpan.FromMilliseconds(650), 512);

    /// <summary>The clock that these times are told by.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}
