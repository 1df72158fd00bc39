namespace Gemma.Extensions.AI.Chat;

/// <summary>The last summaries that were written, by what they summarise.</summary>
internal sealed class SummaryCache
{
    private const int Capacity = 256;
    private readonly Lock _lock = new();
    private readonly Dictionary<string, string?> _summaries = new(StringComparer.Ordinal);
    private readonly Queue<string> _order = new();

    public bool TryGet(string key, out string? summary)
    {
        lock (_lock)
        {
            return _summaries.TryGetValue(key, out summary);
        }
    }

    public void Add(string key, string? summary)
    {
        lock (_lock)
        {
            if (_summaries.TryAdd(key, summary))
            {
                _order.Enqueue(key);
                if (_order.Count > Capacity)
                {
                    _summaries.Remove(_order.Dequeue());
                }
            }
        }
    }
}
