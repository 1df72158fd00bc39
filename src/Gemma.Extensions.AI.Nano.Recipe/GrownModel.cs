using System.Globalization;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// A larger model that computes what a smaller one does, so that training goes on where the smaller one was left. Added layers begin with post-norms of
/// w = −1, which multiply what they add to the residual stream by zero, and added feed-forward units and query heads with zero weights on the way out; all other
/// added weights are random, so that the gradient finds something to use. Where there are more key heads, the queries of one are shared out among copies of it.
/// </summary>
internal static class GrownModel
{
    /// <summary>Takes over the weights of <paramref name="source"/>. What <paramref name="target"/> has more of must be initialised before.</summary>
    /// <param name="source">The smaller model.</param>
    /// <param name="target">The larger one: as wide, with the same heads and vocabulary.</param>
    /// <exception cref="ArgumentException">The shapes do not go with each other.</exception>
    public static void Fill(TrainingModel source, TrainingModel target)
    {
        GemmaConfig small = source.Config, large = target.Config;
        int added = large.LayerCount - small.LayerCount;
        if ((small.VocabularySize, small.HiddenSize, small.HeadDim) != (large.VocabularySize, large.HiddenSize, large.HeadDim) || added < 0 || added % 2 != 0
            || large.FeedForwardSize < small.FeedForwardSize || large.KvHeadCount % small.KvHeadCount != 0 || large.HeadCount < small.HeadCount)
        {
            throw new ArgumentException(
                $"A model of {Text(small)} cannot grow to one of {Text(large)}. Vocabulary, hidden size and the size of a head have to be the same, there is a whole number of key heads for each that was, "
                + "and layers come in pairs of a local and a global one.");
        }

        // The last pair stays the last: it has learnt to prepare the output.
        int before = Math.Max(0, small.LayerCount - 2);
        foreach (Parameter parameter in source.Parameters)
        {
            Copy(source, parameter, target, target[Moved(parameter.Name, before, added)]);
            CopyHeads(source, parameter, target, target[Moved(parameter.Name, before, added)]);
        }

        for (int layer = before; layer < before + added; layer++)
        {
            target.Slice(target.Weights, target[GemmaTensors.Layer(layer, "post_attention_norm")]).Fill(-1);
            target.Slice(target.Weights, target[GemmaTensors.Layer(layer, "post_ffw_norm")]).Fill(-1);
        }
    }

    private static void Copy(TrainingModel source, Parameter from, TrainingModel target, Parameter to)
    {
        Span<float> weights = target.Slice(target.Weights, to);
        if (to.Columns > from.Columns)
        {
            weights.Clear();
        }

        for (int row = 0; row < from.Rows; row++)
        {
            source.Slice(source.Weights, from).Slice(row * from.Columns, from.Columns).CopyTo(weights[(row * to.Columns)..]);
        }
    }

    /// <summary>Queries, keys, values and the map of heads to the residual stream, head by head; other parameters are left alone.</summary>
    private static void CopyHeads(TrainingModel source, Parameter from, TrainingModel target, Parameter to)
    {
        GemmaConfig small = source.Config, large = target.Config;
        int size = small.HeadDim, group = small.HeadCount / small.KvHeadCount, largeGroup = large.HeadCount / large.KvHeadCount, copies = large.KvHeadCount / small.KvHeadCount;
        bool query = from.Name.EndsWith("attn_q.weight", StringComparison.Ordinal), output = from.Name.EndsWith("attn_output.weight", StringComparison.Ordinal);
        bool key = from.Name.EndsWith("attn_k.weight", StringComparison.Ordinal) || from.Name.EndsWith("attn_v.weight", StringComparison.Ordinal);
        Span<float> old = source.Slice(source.Weights, from), weights = target.Slice(target.Weights, to);
        if (output)
        {
            weights.Clear();
        }

        for (int kv = 0; kv < large.KvHeadCount && (key || query || output); kv++)
        {
            if (key)
            {
                Rows(old, kv / copies, weights, kv, from.Columns);
                continue;
            }

            for (int slot = 0; slot < largeGroup && kv % copies * largeGroup + slot < group; slot++)
            {
                int head = kv / copies * group + kv % copies * largeGroup + slot, place = kv * largeGroup + slot;
                if (query)
                {
                    Rows(old, head, weights, place, from.Columns);
                    continue;
                }

                for (int row = 0; row < from.Rows; row++)
                {
                    old.Slice(row * from.Columns + head * size, size).CopyTo(weights[(row * to.Columns + place * size)..]);
                }
            }
        }

        void Rows(Span<float> old, int head, Span<float> weights, int place, int columns) => old.Slice(head * size * columns, size * columns).CopyTo(weights[(place * size * columns)..]);
    }

    private static string Text(GemmaConfig c) => string.Create(CultureInfo.InvariantCulture,
        $"{c.LayerCount} layers, hidden size {c.HiddenSize}, feed-forward size {c.FeedForwardSize}, {c.HeadCount} query heads over {c.KvHeadCount} of {c.HeadDim}, and {c.VocabularySize} pieces");

    private static string Moved(string name, int before, int added)
    {
        string[] parts = name.Split('.', 3);
        return parts is ["blk", _, _] && int.Parse(parts[1], CultureInfo.InvariantCulture) is int layer && layer >= before
            ? $"blk.{layer + added}.{parts[2]}"
            : name;
    }
}
