using System.Numerics.Tensors;

namespace Gemma.Extensions.AI.Engine;

/// <summary>Log probabilities that a request asks for.</summary>
/// <param name="Top">How many of the most likely tokens are named, 0 to 20.</param>
/// <param name="Constrained">True: after logit bias, penalties and the token mask; false: as the model computed them. Temperature, top-k, top-p and min-p never count.</param>
internal sealed record LogProbabilityOptions(int Top, bool Constrained);

/// <summary>A token of the answer with its natural logarithm of probability, and the most likely tokens at its place, best first.</summary>
internal readonly record struct TokenLogProbabilities(int Token, double LogProbability, (int Token, double LogProbability)[] Top)
{
    /// <summary>Reads them from the logits [vocabulary] of the token's place. Tokens that are not possible (minus infinity) are not named.</summary>
    public static TokenLogProbabilities Of(ReadOnlySpan<float> logits, int token, int top)
    {
        double total = LogSumExp(logits);
        Span<int> ids = stackalloc int[top];
        int count = 0;
        float floor = float.NegativeInfinity;
        for (int id = 0; id < logits.Length && top > 0; id++)
        {
            // Of equal logits the lower id comes first, as in the sampler.
            if (logits[id] > floor)
            {
                count = Math.Min(count + 1, top);
                int at = count - 1;
                for (; at > 0 && logits[ids[at - 1]] < logits[id]; at--)
                {
                    ids[at] = ids[at - 1];
                }

                ids[at] = id;
                floor = count == top ? logits[ids[top - 1]] : float.NegativeInfinity;
            }
        }

        (int, double)[] best = new (int, double)[count];
        for (int i = 0; i < count; i++)
        {
            best[i] = (ids[i], logits[ids[i]] - total);
        }

        return new TokenLogProbabilities(token, logits[token] - total, best);
    }

    /// <summary>A token beside which the grammar allowed no other.</summary>
    public static TokenLogProbabilities Certain(int token, int top) => new(token, 0, top > 0 ? [(token, 0)] : []);

    /// <summary>The logarithm of the sum of exponentials, summed in float64.</summary>
    public static double LogSumExp(ReadOnlySpan<float> logits)
    {
        float max = TensorPrimitives.Max(logits);
        double sum = 0;
        foreach (float logit in logits)
        {
            sum += Math.Exp(logit - max);
        }

        return max + Math.Log(sum);
    }
}
