using Microsoft.Extensions.Caching.Distributed;
using Microsoft.Extensions.Logging;

namespace Gemma.Extensions.AI.AspNetCore.OpenAI;

/// <summary>
/// Keeps values in this process, up to a number of bytes: what was not used for the longest time makes room for what is new. A cache that refuses what is new when it is full, as the framework's
/// own in memory does, would lose the very response that a client is about to follow.
/// </summary>
/// <param name="most">Most bytes of all values together.</param>
/// <param name="time">The clock.</param>
/// <param name="logger">Is told, once, of a value that is larger than the bound and therefore not kept.</param>
internal sealed partial class ResponseMemory(long most, TimeProvider time, ILogger logger) : IDistributedCache
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, LinkedListNode<Entry>> _entries = new(StringComparer.Ordinal);
    private readonly LinkedList<Entry> _byUse = new(); // the last used one is first
    private bool _saidTooLarge;

    /// <summary>Bytes of all values.</summary>
    public long Bytes { get; private set; }

    public byte[]? Get(string key)
    {
        lock (_lock)
        {
            if (!_entries.TryGetValue(key, out LinkedListNode<Entry>? node))
            {
                return null;
            }

            DateTimeOffset now = time.GetUtcNow();
            if (node.Value.Expires <= now)
            {
                Drop(node);
                return null;
            }

            node.Value.Expires = now + node.Value.Lifetime;
            _byUse.Remove(node);
            _byUse.AddFirst(node);
            return node.Value.Value;
        }
    }

    public void Set(string key, byte[] value, DistributedCacheEntryOptions options)
    {
        TimeSpan lifetime = options.SlidingExpiration ?? throw new ArgumentException("A time is expected after which a value that is not used expires.", nameof(options));
        lock (_lock)
        {
            Remove(key);
            if (value.Length > most)
            {
                if (!_saidTooLarge)
                {
                    _saidTooLarge = true;
                    LogTooLarge(logger, value.Length, most);
                }

                return;
            }

            DateTimeOffset now = time.GetUtcNow();
            while (_byUse.Last is { } last && (Bytes + value.Length > most || last.Value.Expires <= now))
            {
                Drop(last);
            }

            Bytes += value.Length;
            _entries[key] = _byUse.AddFirst(new Entry(key, value, lifetime) { Expires = now + lifetime });
        }
    }

    public void Remove(string key)
    {
        lock (_lock)
        {
            if (_entries.TryGetValue(key, out LinkedListNode<Entry>? node))
            {
                Drop(node);
            }
        }
    }

    public void Refresh(string key) => Get(key);

    public Task<byte[]?> GetAsync(string key, CancellationToken token = default) => Task.FromResult(Get(key));

    public Task SetAsync(string key, byte[] value, DistributedCacheEntryOptions options, CancellationToken token = default)
    {
        Set(key, value, options);
        return Task.CompletedTask;
    }

    public Task RemoveAsync(string key, CancellationToken token = default)
    {
        Remove(key);
        return Task.CompletedTask;
    }

    public Task RefreshAsync(string key, CancellationToken token = default)
    {
        Refresh(key);
        return Task.CompletedTask;
    }

    private void Drop(LinkedListNode<Entry> node)
    {
        Bytes -= node.Value.Value.Length;
        _entries.Remove(node.Value.Key);
        _byUse.Remove(node);
    }

    [LoggerMessage(106, LogLevel.Warning, "A response of {Size} bytes with its conversation is not kept, so that none can follow it: GemmaServerOptions.StoredResponsesBytes is {Most}. Raise it, or register an IDistributedCache. This is said once.")]
    private static partial void LogTooLarge(ILogger logger, long size, long most);

    private sealed class Entry(string key, byte[] value, TimeSpan lifetime)
    {
        public string Key => key;

        public byte[] Value => value;

        public TimeSpan Lifetime => lifetime;

        public DateTimeOffset Expires { get; set; }
    }
}
