using System.Text;
using Gemma.Extensions.AI.Engine;

namespace Gemma.Extensions.AI.Orleans.Routing;

/// <summary>Chooses nodes. Pure: the view comes in, an address goes out.</summary>
internal static class Router
{
    /// <summary>A running sequence delays a new one by about as much as reading so many tokens of a prompt.</summary>
    private const int RunningCost = 64;

    /// <summary>The same for a request that waits: where sixteen run, a place is free again after a sixteenth of an answer's time, which is about that of reading so many tokens.</summary>
    private const int WaitingCost = 192;

    /// <summary>Where memory is short, others lose theirs: as dear as a long prompt.</summary>
    private const int ShortMemoryCost = 4096;

    /// <summary>Least advantage, in tokens, for which a request is sent on once more: it costs a way and is rendered twice.</summary>
    private const int LeastAdvantage = 64;

    /// <summary>The same for a first turn: each turn after it goes by the home again, and pays the way.</summary>
    private const int LeastAdvantageOfFirstTurn = 128;

    /// <summary>
    /// A first turn counts by this part only. The part of it that a node may have warm, instructions for example, is common to many conversations, and a node that reads it has it for all of those whose home it is:
    /// counted in full, every new conversation would go to the node that has it already, away from its home.
    /// </summary>
    private const double FirstTurnShare = 4;

    /// <summary>
    /// A conversation that begins will fill memory where it begins: a full node is as much dearer than an empty one as a prompt of so many tokens. Without that, all conversations with the same instructions
    /// would fill the node that read them first, and others would stay empty.
    /// </summary>
    private const int FullMemoryCost = 1024;

    /// <summary>
    /// Nodes that are compared of those that have the same part of a prompt warm: the first in the conversation's own order. Were all compared, every call between two summaries would go to the one that seemed idlest.
    /// </summary>
    private const int Compared = 2;

    /// <summary>The nodes that can answer: they have the model, the adapter, what the answer began with, and take work.</summary>
    public static IEnumerable<NodeSummary> Eligible(IEnumerable<NodeSummary> nodes, RouteHints hints) => nodes.Where(node =>
        !node.IsDraining && !hints.Excluded.Contains(node.Silo) && node.Find(hints.Model) is { } model
        && model.IdentityWith(hints.Adapter) is { } identity && (hints.Identity is null || hints.Identity == identity));

    /// <summary>
    /// The node for a call whose prompt nobody has rendered yet: the one that answered last; where that is not known, the conversation's home, or, where it begins, the next after it with a free place; where all are busy the less busy of
    /// the first two with room in their queues, where all are full the first. Null: none is eligible.
    /// </summary>
    public static string? First(IReadOnlyList<NodeSummary> nodes, RouteHints hints)
    {
        NodeSummary[] eligible = [.. Eligible(nodes, hints)];
        if (Array.Find(eligible, node => node.Silo == hints.Target) is { } target)
        {
            return target.Silo;
        }

        if (hints.Unanswered == 0 && hints.GoesOn && Array.Find(eligible, node => node.Silo == hints.Last && node.Find(hints.Model)!.HasRoom) is { } last)
        {
            return last.Silo;
        }

        if (hints.Unanswered == 0 && hints.GoesOn && eligible.Where(node => node.Find(hints.Model)!.HasRoom).MaxBy(node => Rank(node, hints.Home)) is { } warm)
        {
            return warm.Silo; // to read all of it elsewhere may cost more than to wait: the home knows, once it has rendered the prompt
        }

        if (hints.Unanswered == 0 && eligible.Where(IsFree).MaxBy(node => Rank(node, hints.Home)) is { } home)
        {
            return home.Silo;
        }

        int skipped = hints.Unanswered % Math.Max(1, eligible.Length);
        NodeSummary[] ranked = [.. eligible.OrderByDescending(node => Rank(node, hints.Home))];
        ranked = [.. ranked[skipped..], .. ranked[..skipped]];
        NodeSummary? free = Array.Find(ranked, IsFree);
        NodeSummary? leastBusy = ranked.Where(node => node.Find(hints.Model)!.HasRoom).Take(Compared).MinBy(node => Load(node.Find(hints.Model)!)); // of equal ones the first
        return (free ?? leastBusy ?? ranked.FirstOrDefault())?.Silo;

        bool IsFree(NodeSummary node) => node.Find(hints.Model) is { Waiting: 0 } model && model.Running < model.MaxRunning;
    }

    /// <summary>
    /// The node for a rendered prompt: where reading what is not warm, and waiting, cost least. A conversation that goes on leaves what it has warm only for a node without a queue: where all have
    /// one, each that leaves makes work for all. Null: none is better than <paramref name="self"/> by enough.
    /// </summary>
    /// <param name="nodes">The nodes, with one for <paramref name="self"/>.</param>
    /// <param name="hints">The call.</param>
    /// <param name="prompt">Its tokens.</param>
    /// <param name="self">The silo that asks.</param>
    /// <param name="isExpected">Blocks that a silo should have by now although its summary does not say so yet; null: none.</param>
    public static string? Better(IReadOnlyList<NodeSummary> nodes, RouteHints hints, RoutedPrompt prompt, string self, Func<string, uint, bool>? isExpected = null)
    {
        double own = double.MaxValue, best = double.MaxValue;
        NodeSummary? found = null;
        Dictionary<int, int> compared = []; // by the tokens that are warm
        NodeSummary[] eligible = [.. Eligible(nodes, hints).OrderByDescending(node => Rank(node, hints.Home))];
        int ownWarm = Array.Find(eligible, node => node.Silo == self) is { } asked ? WarmAt(asked) : 0;
        foreach (NodeSummary node in eligible)
        {
            ModelSummary model = node.Find(hints.Model)!;
            int warm = WarmAt(node);
            bool isSelf = node.Silo == self;
            if ((compared[warm] = compared.GetValueOrDefault(warm) + 1) > Compared && !isSelf)
            {
                continue;
            }

            if (hints.GoesOn && warm < ownWarm && Queued(model) > 0)
            {
                continue; // what it would have to read there keeps others waiting, as here
            }

            double cost = model.HasRoom ? Cost(model, prompt.Tokens.Length - warm, hints.GoesOn) : double.MaxValue;
            own = isSelf ? cost : own;
            (best, found) = cost < best ? (cost, node) : (best, found);
        }

        return found is not null && found.Silo != self && own < double.MaxValue && own - best >= (hints.GoesOn ? LeastAdvantage : LeastAdvantageOfFirstTurn) ? found.Silo : null;

        int WarmAt(NodeSummary node) => WarmTokens(node.Find(hints.Model)!, hints.Adapter, prompt, isExpected is null ? null : block => isExpected(node.Silo, block));
    }

    /// <summary>Tokens of a prompt that a node has warm.</summary>
    public static int WarmTokens(ModelSummary model, string? adapter, RoutedPrompt prompt, Func<uint, bool>? isExpected = null)
    {
        int number = string.IsNullOrEmpty(adapter) ? 0 : model.FindAdapter(adapter)!.Number;
        int count = 0;
        foreach (ulong block in prompt.Blocks(model.BlockTokens, number))
        {
            if (!model.IsWarm((uint)block) && isExpected?.Invoke((uint)block) != true)
            {
                break;
            }

            count++;
        }

        return count * model.BlockTokens;
    }

    /// <summary>Rank of a node for a conversation (rendezvous hashing): nodes that come and go move only their own conversations. A silo that restarts at its address ranks as before.</summary>
    public static ulong Rank(NodeSummary node, ulong home) => Mix(home ^ node.Place);

    /// <summary>A hash of a silo's address, without the generation that differs when it starts again.</summary>
    public static ulong PlaceOf(string silo)
    {
        int generation = silo.IndexOf('@', StringComparison.Ordinal);
        return Hash(generation < 0 ? silo : silo[..generation]);
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

    private static double Cost(ModelSummary model, int cold, bool goesOn)
    {
        bool isShort = model.AvailableBlocks < 2 * (cold / Math.Max(1, model.BlockTokens) + 1);
        return (goesOn ? cold : (cold / FirstTurnShare) + (FullMemoryCost * model.Fill)) + (RunningCost * model.Load) + (WaitingCost * Queued(model)) + (isShort ? ShortMemoryCost : 0);
    }

    /// <summary>Requests that a new one would wait for.</summary>
    private static int Queued(ModelSummary model) => model.Waiting + Math.Max(0, model.Running + 1 - model.MaxRunning);

    private static double Load(ModelSummary model) => (model.Running + model.Waiting) / (double)Math.Max(1, model.MaxRunning);

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9;
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB;
        return z ^ (z >> 31);
    }
}

/// <summary>A prompt whose node is chosen.</summary>
/// <param name="tokens">Its tokens.</param>
internal sealed class RoutedPrompt(int[] tokens)
{
    private readonly Dictionary<int, ulong[]> _blocks = [];

    public int[] Tokens => tokens;

    /// <summary>The hashes of its full blocks.</summary>
    /// <param name="blockTokens">Tokens of a block, the same at all nodes of a model.</param>
    /// <param name="adapter">The number that a node's hashes begin with.</param>
    public ulong[] Blocks(int blockTokens, int adapter)
    {
        if (!_blocks.TryGetValue(adapter, out ulong[]? blocks))
        {
            _blocks[adapter] = blocks = PrefixTree.HashBlocks(tokens, blockTokens, adapter);
        }

        return blocks;
    }
}
