using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Nodes;
using System.Threading.Channels;
using ModelContextProtocol.Protocol;
using ModelContextProtocol.Server;

namespace Gemma.Extensions.AI.Cli.Mcp;

/// <summary>Messages over two streams, of which the end of the input counts once everything asked before has been answered: who pipes requests in and closes the pipe gets the answers.</summary>
internal sealed class AnsweringTransport : ITransport
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(20);

    private readonly Lock _lock = new();
    private readonly HashSet<RequestId> _unanswered = [];
    private readonly StreamServerTransport _inner;
    private readonly Reader _reader;

    public AnsweringTransport(Stream input, Stream output)
    {
        lock (_lock) // the transport reads at once
        {
            _inner = new StreamServerTransport(new HeldInput(input, AllAnsweredAsync), output, "gemma");
            _reader = new Reader(this, _inner.MessageReader);
        }
    }

    public string? SessionId => _inner.SessionId;

    public ChannelReader<JsonRpcMessage> MessageReader => _reader;

    public async Task SendMessageAsync(JsonRpcMessage message, CancellationToken cancellationToken = default)
    {
        try
        {
            await _inner.SendMessageAsync(message, cancellationToken);
        }
        finally
        {
            if (message is JsonRpcResponse or JsonRpcError)
            {
                lock (_lock)
                {
                    _unanswered.Remove(((JsonRpcMessageWithId)message).Id);
                }
            }
        }
    }

    public ValueTask DisposeAsync() => _inner.DisposeAsync();

    /// <summary>Only the end of the input waits here.</summary>
    private async Task AllAnsweredAsync(CancellationToken cancellationToken)
    {
        while (!IsAllAnswered())
        {
            await Task.Delay(s_pause, cancellationToken);
        }
    }

    private bool IsAllAnswered()
    {
        lock (_lock)
        {
            return _unanswered.Count == 0 && !_inner.MessageReader.TryPeek(out _);
        }
    }

    private bool TryRead(ChannelReader<JsonRpcMessage> messages, [MaybeNullWhen(false)] out JsonRpcMessage message)
    {
        lock (_lock)
        {
            if (!messages.TryRead(out message))
            {
                return false;
            }

            // A subscription is answered when the client ends it, and a request that the client has given up is not answered.
            if (message is JsonRpcRequest { Method: not RequestMethods.SubscriptionsListen } request)
            {
                _unanswered.Add(request.Id);
            }
            else if (message is JsonRpcNotification { Method: NotificationMethods.CancelledNotification, Params: JsonObject given } && given["requestId"] is JsonValue id)
            {
                _unanswered.Remove(id.TryGetValue(out long number) ? new RequestId(number) : new RequestId(id.ToString()));
            }

            return true;
        }
    }

    /// <summary>Reads under the lock: at every moment a message is in the channel or known.</summary>
    private sealed class Reader(AnsweringTransport transport, ChannelReader<JsonRpcMessage> messages) : ChannelReader<JsonRpcMessage>
    {
        public override Task Completion => messages.Completion;

        public override bool TryRead([MaybeNullWhen(false)] out JsonRpcMessage item) => transport.TryRead(messages, out item);

        public override ValueTask<bool> WaitToReadAsync(CancellationToken cancellationToken = default) => messages.WaitToReadAsync(cancellationToken);
    }

    /// <summary>The input, whose last line ends with a line break, and whose end comes when it may.</summary>
    private sealed class HeldInput(Stream input, Func<CancellationToken, Task> mayEnd) : Stream
    {
        private bool _isLineOpen;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            // A read of the console cannot be cancelled.
            int read = await Task.Run(() => input.ReadAsync(buffer, cancellationToken).AsTask(), cancellationToken).WaitAsync(cancellationToken);
            if (read > 0)
            {
                _isLineOpen = buffer.Span[read - 1] != (byte)'\n';
                return read;
            }

            if (_isLineOpen)
            {
                _isLineOpen = false;
                buffer.Span[0] = (byte)'\n';
                return 1;
            }

            await mayEnd(cancellationToken);
            return 0;
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
