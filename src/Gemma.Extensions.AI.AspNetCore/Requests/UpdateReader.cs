using Gemma.Extensions.AI.AspNetCore.Http;

namespace Gemma.Extensions.AI.AspNetCore.Requests;

/// <summary>Reads the pieces of an answer for a response: sends the buffered text before each wait, and a heartbeat per interval of silence.</summary>
internal sealed class UpdateReader(IAsyncEnumerable<ChoiceUpdate> source, CancellationTokenSource ended, ResponseStream stream, IAnswerWriter writer) : IAsyncDisposable
{
    private readonly IAsyncEnumerator<ChoiceUpdate> _updates = source.GetAsyncEnumerator(ended.Token);
    private Task<bool>? _pending;

    public ChoiceUpdate Current => _updates.Current;

    /// <summary>Moves to the next piece; false at the end.</summary>
    public async ValueTask<bool> ReadAsync()
    {
        ValueTask<bool> next = _updates.MoveNextAsync();
        if (next.IsCompleted)
        {
            bool any = await next.ConfigureAwait(false);
            if (stream.IsFull)
            {
                await stream.FlushAsync().ConfigureAwait(false);
            }

            return any;
        }

        _pending = next.AsTask();
        if (stream.HasStarted)
        {
            await stream.FlushAsync().ConfigureAwait(false);
        }

        while (true)
        {
            try
            {
                return await _pending.WaitAsync(stream.Options.HeartbeatInterval, stream.Cancellation).ConfigureAwait(false);
            }
            catch (TimeoutException)
            {
                if (_pending.IsCompleted)
                {
                    return await _pending.ConfigureAwait(false);
                }

                writer.WriteHeartbeat(stream);
                await stream.FlushAsync().ConfigureAwait(false);
            }
        }
    }

    /// <summary>Ends the answer, if it has not ended: a piece that is on its way is waited for, since no enumerator may be disposed before.</summary>
    public async ValueTask DisposeAsync()
    {
        await ended.CancelAsync().ConfigureAwait(false);
        if (_pending is { } pending)
        {
            await ((Task)pending).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }

        await _updates.DisposeAsync().ConfigureAwait(false);
        ended.Dispose();
    }
}
