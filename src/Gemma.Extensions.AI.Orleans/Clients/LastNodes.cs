namespace Gemma.Extensions.AI.Orleans.Clients;

/// <summary>
/// Which silo gave the last answers of conversations, as one client has seen it: the next turn asks there, without a way over the conversation's home. What is forgotten costs that way, nothing else, so clients need
/// not share it.
/// </summary>
/// <param name="most">Conversations that are remembered at least; at most twice as many.</param>
internal sealed class LastNodes(int most)
{
    private readonly Lock _lock = new();
    private Dictionary<ulong, string> _young = [];
    private Dictionary<ulong, string> _old = []; // what was young until that was full

    /// <summary>The silo of a conversation's last answer; null: it is not known.</summary>
    public string? Find(ulong home)
    {
        lock (_lock)
        {
            return _young.TryGetValue(home, out string? silo) || _old.TryGetValue(home, out silo) ? silo : null;
        }
    }

    public void Remember(ulong home, string silo)
    {
        lock (_lock)
        {
            _young[home] = silo;
            if (_young.Count >= most)
            {
                (_old, _young) = (_young, []);
            }
        }
    }
}
