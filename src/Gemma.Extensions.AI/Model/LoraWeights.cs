using Gemma.Extensions.AI.Backends;
using Gemma.Extensions.AI.Files;

namespace Gemma.Extensions.AI.Model;

/// <summary>An adapter as a backend holds it: low-rank updates that requests may add to the weights of the base they share.</summary>
internal sealed class LoraWeights
{
    private static int s_created;

    private LoraWeights(string name, string path, LowRankMatrix?[] updates) => (Name, Path, Updates) = (name, path, updates);

    public string Name { get; }

    /// <summary>Full path of the directory or file that it came from.</summary>
    public string Path { get; }

    /// <summary>Differs between any two adapters that were ever loaded, of one name too; never 0. What one adapter computed is of no use to another.</summary>
    public int Id { get; } = Interlocked.Increment(ref s_created);

    /// <summary>By <see cref="LayerMaps.Index"/>; null where the adapter leaves the weight alone.</summary>
    public LowRankMatrix?[] Updates { get; }

    /// <summary>Checks an adapter against the numbers of its base and hands its factors to the backend. The file may be closed afterwards.</summary>
    /// <exception cref="GemmaModelFormatException">The adapter belongs to another base, or is damaged.</exception>
    public static LoraWeights Load(string name, LoraFile file, GemmaConfig config, Backend backend)
    {
        file.Check(config);
        int hidden = config.HiddenSize, queries = config.QuerySize, kv = config.KvSize, feedForward = config.FeedForwardSize;
        LowRankMatrix?[] updates = new LowRankMatrix?[LayerMaps.Count(config.LayerCount)];
        for (int layer = 0; layer < config.LayerCount; layer++)
        {
            Set(layer, LayerMap.Qkv, queries + 2 * kv, hidden, ("attn_q", 0), ("attn_k", queries), ("attn_v", queries + kv));
            Set(layer, LayerMap.AttentionOutput, hidden, queries, ("attn_output", 0));
            Set(layer, LayerMap.GateUp, 2 * feedForward, hidden, ("ffn_gate", 0), ("ffn_up", feedForward));
            Set(layer, LayerMap.Down, hidden, feedForward, ("ffn_down", 0));
        }

        return new LoraWeights(name, file.Path, updates);

        void Set(int layer, LayerMap map, int rows, int columns, params ReadOnlySpan<(string Part, int FirstRow)> tensors)
        {
            List<LowRankPart> parts = [];
            foreach ((string part, int firstRow) in tensors)
            {
                if (file.Pairs.TryGetValue(GemmaTensors.Layer(layer, part), out LoraPair? pair))
                {
                    parts.Add(new LowRankPart(firstRow, pair.Rank, pair.ReadA(), pair.ReadScaledB()));
                }
            }

            updates[LayerMaps.Index(layer, map)] = parts.Count == 0 ? null : backend.LoadLowRank(rows, columns, [.. parts]);
        }
    }
}
