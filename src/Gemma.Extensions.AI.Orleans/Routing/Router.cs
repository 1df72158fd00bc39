using System.Text;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>Chooses nodes. Pure: the view comes in, an address goes out.</summary>
internal static class Router
{
    /// <summary>A running sequence delays a new one by about as much as reading so many tokens of a prompt.</summary>
    private const int RunningCost = 64;

    /// <summary>The same for a request that waits.</summary>
    private const int WaitingCost = 512;

    /// <summary>Where memory is short, others lose theirs: as dear as a long prompt.</summary>
    private const int ShortMemoryCost = 4096;

    /// <summary>Least advantage, in tokens, for which a request is sent on once more: it costs a way and is rendered twice.</summary>
    private const int LeastAdvantage = 128;

    /// <summary>The nodes that can answer: they have the model, the adapter, what the answer began with, and take work.</summary>
    public static IEnumerable<NodeSummary> Eligible(IEnumerable<NodeSummary> nodes, RouteHints hints) => nodes.Where(node =>
        !node.IsDraining && !hints.Excluded.Contains(node.Silo) && node.Find(hints.Model) is { } model
        && model.IdentityWith(hints.Adapter) is { } identity && (hints.Identity is null || hints.Identity == identity));

    /// <summary>
    /// The node for a call whose prompt nobody has rendered yet: the conversation's home, or the next after it with a free place; where all are busy the least busy with room
    /// in its queue, where all are full the least full. Null: none is eligible.
    /// </summary>
    public static string? First(IReadOnlyList<NodeSummary> nodes, RouteHints hints)
    {
        NodeSummary[] eligible = [.. Eligible(nodes, hints).OrderByDescending(node => Rank(node.Silo, hints.Home))];
        if (Array.Find(eligible, node => node.Silo == hints.Target) is { } target)
        {
            return target.Silo;
        }

        int skipped = hints.Unanswered % Math.Max(1, eligible.Length);
        eligible = [.. eligible[skipped..], .. eligible[..skipped]];

        NodeSummary? free = Array.Find(eligible, node => node.Find(hints.Model) is { Waiting: 0 } model && model.Running < model.MaxRunning);
        return (free ?? eligible.MinBy(node => node.Find(hints.Model) is { HasRoom: true } model ? Load(model) : double.MaxValue))?.Silo; // of equal ones the first
    }

    /// <summary>The node for a rendered prompt: where reading what is not warm, and waiting, cost least. Null: none is better than <paramref name="self"/> by enough.</summary>
    /// <param name="nodes">The nodes, with one for <paramref name="self"/>.</param>
    /// <param name="hints">The call.</param>
    /// <param name="prompt">Its tokens.</param>
    /// <param name="self">The silo that asks.</param>
    public static string? Better(IReadOnlyList<NodeSummary> nodes, RouteHints hints, int[] prompt, string self)
    {
        Dictionary<int, ulong[]> hashes = []; // by the number that those of an adapter begin with
        double own = double.MaxValue, best = double.MaxValue;
        string? found = null;
        foreach (NodeSummary node in Eligible(nodes, hints).OrderByDescending(node => Rank(node.Silo, hints.Home)))
        {
            double cost = Cost(node.Find(hints.Model)!, hints.Adapter, prompt, hashes);
            own = node.Silo == self ? cost : own;
            (best, found) = cost < best ? (cost, node.Silo) : (best, found);
        }

        return found is not null && found != self && own < double.MaxValue && own - best >= LeastAdvantage ? found : null;
    }

    /// <summary>Tokens of a prompt that a node has warm.</summary>
    public static int WarmTokens(ModelSummary model, string? adapter, int[] prompt, Dictionary<int, ulong[]> hashes)
    {
        int number = string.IsNullOrEmpty(adapter) ? 0 : model.FindAdapter(adapter)!.Number;
        if (!hashes.TryGetValue(number, out ulong[]? blocks))
        {
            hashes[number] = blocks = PrefixTree.HashBlocks(prompt, model.BlockTokens, number);
        }

        HashSet<uint> warm = [.. model.Warm];
        int count = 0;
        while (count < blocks.Length && warm.Contains((uint)blocks[count]))
        {
            count++;
        }

        return count * model.BlockTokens;
    }

    /// <summary>Rank of a node for a conversation (rendezvous hashing): nodes that come and go move only their own conversations. A silo that restarts at its address ranks as before.</summary>
    public static ulong Rank(string silo, ulong home)
    {
        int generation = silo.IndexOf('@', StringComparison.Ordinal);
        return Mix(home ^ Hash(generation < 0 ? silo : silo[..generation]));
    }

    /// <summary>FNV-1a over UTF-8, the same in every process.</summary>
    public static ulong Hash(string text, ulong hash = 0xcbf29ce484222325)
    {
        foreach (byte value in Encoding.UTF8.GetBytes(text))
        {
            hash = (hash ^ value) * 0x100000001b3;
        }

        return Mix(hash);
    }

    private static double Cost(ModelSummary model, string? adapter, int[] prompt, Dictionary<int, ulong[]> hashes)
    {
        if (!model.HasRoom)
        {
            return double.MaxValue;
        }

        int cold = prompt.Length - WarmTokens(model, adapter, prompt, hashes);
        int queued = model.Waiting + Math.Max(0, model.Running + 1 - model.MaxRunning);
        bool isShort = model.AvailableBlocks < 2 * (cold / Math.Max(1, model.BlockTokens) + 1);
        return cold + (RunningCost * model.Running) + (WaitingCost * queued) + (isShort ? ShortMemoryCost : 0);
    }

    private static double Load(ModelSummary model) => (model.Running + model.Waiting) / (double)Math.Max(1, model.MaxRunning);

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9;
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB;
        return z ^ (z >> 31);
    }
}
