using System.Collections.Concurrent;
using Gemma.Extensions.AI.Orleans.Routing;

namespace Gemma.Extensions.AI.Orleans.Clients;

/// <summary>
/// The way (<see cref="NodePlacement.KeyOf"/>) by which one client asks each silo. A way that did not answer is left by all its calls: where half of the gateways are behind a network that is split, each call
/// would have to find a good one for itself.
/// </summary>
internal sealed class NodeWays
{
    /// <summary>Silos that are remembered at most; of silos that never failed nothing is.</summary>
    private const int Most = 1024;

    private readonly ConcurrentDictionary<string, int> _ways = new(StringComparer.Ordinal);

    public int Of(string silo) => _ways.GetValueOrDefault(silo);

    /// <summary>Takes the next way to a silo, unless another call has done so already.</summary>
    /// <param name="silo">The silo.</param>
    /// <param name="way">The way by which nobody answered.</param>
    public void Leave(string silo, int way)
    {
        int next = (way + 1) % NodePlacement.Ways;
        if (_ways.TryGetValue(silo, out int now))
        {
            if (now == way)
            {
                _ways.TryUpdate(silo, next, way);
            }
        }
        else if (way == 0)
        {
            if (_ways.Count >= Most)
            {
                _ways.Clear(); // silos that were replaced, most of them
            }

            _ways.TryAdd(silo, next);
        }
    }
}
