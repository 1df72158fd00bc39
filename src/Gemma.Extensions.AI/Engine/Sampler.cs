#pragma warning disable CS9113 // greedy only, until the sampler lands
namespace Gemma.Extensions.AI.Engine;

internal sealed class Sampler(SamplingOptions options, int vocabularySize, ReadOnlySpan<int> prompt)
{
    public int Sample(Span<float> logits, ReadOnlySpan<ulong> mask)
    {
        int best = -1;
        for (int i = 0; i < logits.Length; i++)
        {
            if ((mask.IsEmpty || (mask[i >> 6] >> (i & 63) & 1) != 0) && (best < 0 || logits[i] > logits[best]))
            {
                best = i;
            }
        }

        return best;
    }

    public void Accept(int token)
    {
    }
}
