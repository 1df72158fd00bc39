using System.Numerics;
using System.Numerics.Tensors;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Draws the next token of one sequence from its logits: logit bias, penalties, token mask, temperature, then top-k, top-p among what top-k kept,
/// and min-p (the order of Hugging Face; gemma_pytorch also divides by the temperature first). No allocation per token. The random number of a token follows from the
/// seed and the token's place in the answer alone, so that an answer can go on elsewhere behind tokens that are known.
/// </summary>
internal sealed class Sampler
{
    /// <summary>Weights that are summed in single precision before the sum goes on in double.</summary>
    private const int SumBlock = 1024;

    private const ulong Step = 0x9E37_79B9_7F4A_7C15;

    private readonly SamplingOptions _options;
    private readonly bool _isGreedy;
    private readonly KeyValuePair<int, float>[] _bias;
    private readonly int[]? _generated; // times by token, where a penalty is set
    private readonly bool[]? _isKnown;
    private readonly int[] _known = []; // tokens of the prompt and the answer, each once
    private int _knownCount;
    private ulong _random;
    private readonly SamplerCandidates _candidates = new();

    public Sampler(SamplingOptions options, int vocabularySize, ReadOnlySpan<int> prompt)
    {
        _options = options;
        _isGreedy = options.Temperature <= 0 || float.IsInfinity(1 / options.Temperature) || options.TopK == 1;
        _bias = options.LogitBias is null ? [] : [.. options.LogitBias];
        _random = (ulong)(options.Seed ?? Random.Shared.NextInt64());
        if (options.FrequencyPenalty != 0 || options.PresencePenalty != 0 || options.RepetitionPenalty != 1)
        {
            _generated = new int[vocabularySize];
            _isKnown = new bool[vocabularySize];
            _known = new int[vocabularySize];
            foreach (int token in prompt)
            {
                Know(token);
            }
        }
    }

    /// <summary>Draws a token.</summary>
    /// <param name="logits">[vocabulary]; overwritten.</param>
    /// <param name="mask">Allowed tokens, bit (id &amp; 63) of mask[id &gt;&gt; 6]; empty allows all.</param>
    /// <param name="constrained">Where not empty, receives the logits [vocabulary] after bias, penalties and mask.</param>
    /// <exception cref="GemmaException">The logits are not numbers.</exception>
    public int Sample(Span<float> logits, ReadOnlySpan<ulong> mask, Span<float> constrained = default)
    {
        Adjust(logits);
        if (!mask.IsEmpty)
        {
            Forbid(logits, mask);
        }

        if (!constrained.IsEmpty)
        {
            logits.CopyTo(constrained);
        }

        float best = TensorPrimitives.Max<float>(logits);
        if (float.IsNaN(best))
        {
            throw new GemmaException("The model computed logits that are not numbers. Its weights are damaged, or were converted wrongly; download or convert the model again.");
        }

        if (IsSingle(mask))
        {
            return FirstAllowed(mask);
        }

        if (_isGreedy || float.IsInfinity(best))
        {
            // Of equal logits the lowest id. Where a bias forbids all that the mask allows, the mask counts.
            return float.IsNegativeInfinity(best) ? FirstAllowed(mask) : logits.IndexOf(best);
        }

        return Draw(logits, best);
    }

    /// <summary>Takes over the state of a sampler with the same options, so that both draw the same from equal logits.</summary>
    public void CopyFrom(Sampler other)
    {
        _random = other._random;
        if (_generated is not null)
        {
            foreach (int token in _known.AsSpan(0, _knownCount))
            {
                _isKnown![token] = false;
                _generated[token] = 0;
            }

            _knownCount = 0;
            foreach (int token in other._known.AsSpan(0, other._knownCount))
            {
                Know(token);
                _generated[token] = other._generated![token];
            }
        }
    }

    /// <summary>Tells which token the answer continues with; penalties count it, and the next token has the next random number.</summary>
    public void Accept(int token)
    {
        _random += Step;
        if (_generated is not null)
        {
            Know(token);
            _generated[token]++;
        }
    }

    private void Know(int token)
    {
        if (!_isKnown![token])
        {
            _isKnown[token] = true;
            _known[_knownCount++] = token;
        }
    }

    private void Adjust(Span<float> logits)
    {
        foreach ((int token, float bias) in _bias)
        {
            logits[token] += bias;
        }

        float repetition = _options.RepetitionPenalty;
        foreach (int token in _known.AsSpan(0, _knownCount))
        {
            float logit = logits[token];
            logit = logit > 0 ? logit / repetition : logit * repetition;
            int times = _generated![token];
            if (times > 0)
            {
                logit -= _options.PresencePenalty + times * _options.FrequencyPenalty;
            }

            logits[token] = logit;
        }
    }

    /// <summary>Sets the logits of tokens that are not allowed to minus infinity.</summary>
    private static void Forbid(Span<float> logits, ReadOnlySpan<ulong> mask)
    {
        for (int word = 0, start = 0; start < logits.Length; word++, start += 64)
        {
            ulong allowed = mask[word];
            if (allowed == ulong.MaxValue)
            {
                continue;
            }

            Span<float> block = logits.Slice(start, Math.Min(64, logits.Length - start));
            if (allowed == 0)
            {
                block.Fill(float.NegativeInfinity);
                continue;
            }

            for (int i = 0; i < block.Length; i++, allowed >>= 1)
            {
                block[i] = (allowed & 1) != 0 ? block[i] : float.NegativeInfinity;
            }
        }
    }

    /// <summary>True if the mask allows exactly one token.</summary>
    private static bool IsSingle(ReadOnlySpan<ulong> mask)
    {
        int word = mask.IndexOfAnyExcept(0UL);
        return word >= 0 && BitOperations.IsPow2(mask[word]) && mask[(word + 1)..].IndexOfAnyExcept(0UL) < 0;
    }

    private static int FirstAllowed(ReadOnlySpan<ulong> mask)
    {
        int word = mask.IndexOfAnyExcept(0UL);
        return word < 0 ? 0 : 64 * word + BitOperations.TrailingZeroCount(mask[word]);
    }

    private int Draw(Span<float> logits, float best)
    {
        float inverse = 1 / _options.Temperature;
        double total;
        if (_options.TopK > 0 && _options.TopK < logits.Length)
        {
            _candidates.KeepTopK(logits, _options.TopK);
            total = ToWeights(_candidates.Weights, best, inverse);
        }
        else
        {
            total = ToWeights(logits, best, inverse);
            if (_options.TopP >= 1 && _options.MinP <= 0)
            {
                return DrawFrom(logits, total);
            }

            // Tokens lighter than this weigh less than 1 - p together, so top-p never needs them.
            double floor = _options.TopP < 1 ? (1 - _options.TopP) * total / logits.Length : 0;
            _candidates.KeepAbove(logits, (float)Math.Max(floor * 0.999, _options.TopP < 1 ? 0 : _options.MinP));
        }

        if (_options.TopP < 1)
        {
            _candidates.KeepTopP(_options.TopP * total);
        }

        if (_options.MinP > 0)
        {
            _candidates.KeepMinP(_options.MinP);
        }

        total = 0;
        foreach (float weight in _candidates.Weights)
        {
            total += weight;
        }

        return _candidates.Ids[DrawFrom(_candidates.Weights, total)];
    }

    /// <summary>exp((logit - best) / temperature) in place; the best token weighs 1. Returns the sum.</summary>
    private static double ToWeights(Span<float> logits, float best, float inverseTemperature)
    {
        TensorPrimitives.Subtract(logits, best, logits);
        TensorPrimitives.Multiply(logits, inverseTemperature, logits);
        TensorPrimitives.Exp<float>(logits, logits);
        return Sum(logits);
    }

    private static double Sum(ReadOnlySpan<float> weights)
    {
        double total = 0;
        for (int start = 0; start < weights.Length; start += SumBlock)
        {
            total += TensorPrimitives.Sum(weights.Slice(start, Math.Min(SumBlock, weights.Length - start)));
        }

        return total;
    }

    /// <summary>The index at which the running sum passes a random part of the total.</summary>
    private int DrawFrom(ReadOnlySpan<float> weights, double total)
    {
        double target = NextDouble() * total;
        int last = 0;
        for (int start = 0; start < weights.Length; start += SumBlock)
        {
            ReadOnlySpan<float> block = weights.Slice(start, Math.Min(SumBlock, weights.Length - start));
            double sum = TensorPrimitives.Sum(block);
            if (sum <= target)
            {
                target -= sum;
                continue;
            }

            for (int i = 0; i < block.Length; i++)
            {
                if (block[i] > 0)
                {
                    last = start + i;
                    target -= block[i];
                    if (target < 0)
                    {
                        return last;
                    }
                }
            }

            // Rounding: the block's sum came out a little larger than its parts.
            return last;
        }

        int final = weights.LastIndexOfAnyExcept(0f);
        return final < 0 ? last : final;
    }

    /// <summary>The number of the token that comes next. SplitMix64: one addition and two multiplications, the same on every machine.</summary>
    private double NextDouble()
    {
        ulong z = _random + Step;
        z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9;
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB;
        return ((z ^ (z >> 31)) >> 11) * (1.0 / (1UL << 53));
    }
}
