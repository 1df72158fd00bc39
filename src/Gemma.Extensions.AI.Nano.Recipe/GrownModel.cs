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
    /// <param name="target">The larger one: as wide, with heads as large, a whole number of key heads for each, and the same vocabulary.</param>
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
            Parameter moved = target[Moved(parameter.Name, before, added)];
            switch (parameter.Name.Split('.') is [_, _, string part, _] ? part : "")
            {
                case "attn_k" or "attn_v":
                    CopyKeyHeads(source, parameter, target, moved);
                    break;
                case "attn_q" or "attn_output":
                    CopyQueryHeads(source, parameter, target, moved);
                    break;
                default:
                    Copy(source, parameter, target, moved);
                    break;
            }
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

    /// <summary>Keys or values: as many copies of each head as the larger model has heads for one.</summary>
    private static void CopyKeyHeads(TrainingModel source, Parameter from, TrainingModel target, Parameter to)
    {
        int head = source.Config.HeadDim * from.Columns, copies = target.Config.KvHeadCount / source.Config.KvHeadCount;
        for (int place = 0; place < target.Config.KvHeadCount; place++)
        {
            source.Slice(source.Weights, from).Slice(place / copies * head, head).CopyTo(target.Slice(target.Weights, to)[(place * head)..]);
        }
    }

    /// <summary>Queries, or the map of heads to the residual stream. A head goes to the first free place beside a copy of its key head; what no head takes reads at random and adds nothing.</summary>
    private static void CopyQueryHeads(TrainingModel source, Parameter from, TrainingModel target, Parameter to)
    {
        GemmaConfig small = source.Config, large = target.Config;
        int size = small.HeadDim, group = small.HeadCount / small.KvHeadCount, places = large.HeadCount / small.KvHeadCount;
        Span<float> old = source.Slice(source.Weights, from), weights = target.Slice(target.Weights, to);
        bool isQuery = from.Name.Contains("attn_q", StringComparison.Ordinal);
        if (!isQuery)
        {
            weights.Clear();
        }

        for (int head = 0; head < small.HeadCount; head++)
        {
            int place = head / group * places + head % group;
            for (int row = 0; row < (isQuery ? size : from.Rows); row++)
            {
                (int at, int length, int targetAt) = isQuery
                    ? ((head * size + row) * from.Columns, from.Columns, (place * size + row) * to.Columns)
                    : (row * from.Columns + head * size, size, row * to.Columns + place * size);
                old.Slice(at, length).CopyTo(weights[targetAt..]);
            }
        }
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
