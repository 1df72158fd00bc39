using System.Globalization;
using Gemma.Extensions.AI.Files;
using Gemma.Extensions.AI.Model;
using Gemma.Extensions.AI.Training;

namespace Gemma.Extensions.AI.Nano.Recipe;

/// <summary>
/// A larger model that computes what a smaller one does, so that training goes on where the smaller one was left. Added layers begin with post-norms of
/// w = −1, which multiply what they add to the residual stream by zero, and added feed-forward units with zero weights on the way out; all other
/// added weights are random, so that the gradient finds something to use.
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
        if ((small.VocabularySize, small.HiddenSize, small.HeadCount, small.KvHeadCount, small.HeadDim) != (large.VocabularySize, large.HiddenSize, large.HeadCount, large.KvHeadCount, large.HeadDim)
            || added < 0 || added % 2 != 0 || large.FeedForwardSize < small.FeedForwardSize)
        {
            throw new ArgumentException(
                $"A model of {small.LayerCount} layers, hidden size {small.HiddenSize}, feed-forward size {small.FeedForwardSize} and {small.VocabularySize} pieces cannot grow to {large.LayerCount} layers, {large.HiddenSize}, {large.FeedForwardSize} and {large.VocabularySize}. "
                + "Vocabulary, hidden size and heads have to be the same, and layers come in pairs of a local and a global one.");
        }

        // The last pair stays the last: it has learnt to prepare the output.
        int before = Math.Max(0, small.LayerCount - 2);
        foreach (Parameter parameter in source.Parameters)
        {
            Copy(source, parameter, target, target[Moved(parameter.Name, before, added)]);
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

    private static string Moved(string name, int before, int added)
    {
        string[] parts = name.Split('.', 3);
        return parts is ["blk", _, _] && int.Parse(parts[1], CultureInfo.InvariantCulture) is int layer && layer >= before
            ? $"blk.{layer + added}.{parts[2]}"
            : name;
    }
}
