using System.Numerics;
using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// Draws the next token of one sequence from its logits: logit bias, penalties, token mask, temperature, then top-k, top-p among what top-k kept,
/// and min-p (the order of Hugging Face; gemma_pytorch also divides by the temperature first). Nothing is sorted: top-k keeps a heap that few logits
/// pass, top-p selects by weight. No allocation per token.
/// </summary>
internal sealed class Sampler
{
    [ThreadStatic]
    private static int[]? s_ids;

    [ThreadStatic]
    private static float[]? s_weights;

    private readonly SamplingOptions _options;
    private readonly bool _isGreedy;
    private readonly KeyValuePair<int, float>[] _bias;
    private readonly int[]? _generated; // times by token, where a penalty is set
    private readonly bool[]? _isKnown;
    private readonly int[] _known = []; // tokens of the prompt and the answer, each once
    private int _knownCount;
    private ulong _random;

    // The candidates of the current draw.
    private int[] _ids = [];
    private float[] _weights = [];
    private int _count;

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
            return FirstAllowed(mask); // Without a random number: a token that the grammar forces takes none either.
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

    /// <summary>Tells which token the answer continues with; penalties count it.</summary>
    public void Accept(int token)
    {
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

    /// <summary>Whether the mask allows exactly one token.</summary>
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
            KeepTopK(logits, _options.TopK);
            Span<float> weights = _weights.AsSpan(0, _count);
            total = ToWeights(weights, best, inverse);
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
            KeepAbove(logits, (float)Math.Max(floor * 0.999, _options.TopP < 1 ? 0 : _options.MinP));
        }

        if (_options.TopP < 1)
        {
            KeepTopP(_options.TopP * total);
        }

        if (_options.MinP > 0)
        {
            KeepMinP(_options.MinP);
        }

        total = 0;
        foreach (float weight in _weights.AsSpan(0, _count))
        {
            total += weight;
        }

        return _ids[DrawFrom(_weights.AsSpan(0, _count), total)];
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

    private const int SumBlock = 1024;

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

    /// <summary>Keeps the k largest logits, of equal ones those with the lowest ids, in a heap whose root is the first to leave.</summary>
    private void KeepTopK(ReadOnlySpan<float> logits, int k)
    {
        Reserve(k);
        for (int id = 0; id < k; id++)
        {
            (_ids[id], _weights[id]) = (id, logits[id]);
        }

        _count = k;
        for (int at = k / 2 - 1; at >= 0; at--)
        {
            SiftDown(at);
        }

        ref float first = ref MemoryMarshal.GetReference(logits);
        int next = k;
        for (; next <= logits.Length - Vector<float>.Count; next += Vector<float>.Count)
        {
            var block = Vector.LoadUnsafe(ref first, (nuint)next);
            if (Vector.GreaterThanAny(block, new Vector<float>(_weights[0])))
            {
                for (int lane = 0; lane < Vector<float>.Count; lane++)
                {
                    Offer(next + lane, block[lane]);
                }
            }
        }

        for (; next < logits.Length; next++)
        {
            Offer(next, logits[next]);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void Offer(int id, float logit)
    {
        if (logit > _weights[0])
        {
            (_ids[0], _weights[0]) = (id, logit);
            SiftDown(0);
        }
    }

    private void SiftDown(int at)
    {
        while (2 * at + 1 < _count)
        {
            int child = 2 * at + 1;
            if (child + 1 < _count && IsHeavier(child, child + 1))
            {
                child++;
            }

            if (!IsHeavier(at, child))
            {
                return;
            }

            Swap(at, child);
            at = child;
        }
    }

    private void KeepAbove(ReadOnlySpan<float> weights, float floor)
    {
        Reserve(weights.Length);
        _count = 0;
        ref float first = ref MemoryMarshal.GetReference(weights);
        var floors = new Vector<float>(floor);
        int next = 0;
        for (; next <= weights.Length - Vector<float>.Count; next += Vector<float>.Count)
        {
            if (Vector.GreaterThanOrEqualAny(Vector.LoadUnsafe(ref first, (nuint)next), floors))
            {
                Collect(next, next + Vector<float>.Count, weights, floor);
            }
        }

        Collect(next, weights.Length, weights, floor);
    }

    private void Collect(int start, int end, ReadOnlySpan<float> weights, float floor)
    {
        for (int id = start; id < end; id++)
        {
            if (weights[id] >= floor)
            {
                (_ids[_count], _weights[_count]) = (id, weights[id]);
                _count++;
            }
        }
    }

    /// <summary>
    /// Keeps the heaviest candidates, as few as reach the weight, the token that reaches it included. Selection by halves as in quickselect:
    /// the part in front of <c>low</c> is kept for sure, the part from <c>high</c> on is dropped for sure.
    /// </summary>
    private void KeepTopP(double weight)
    {
        int low = 0;
        int high = _count;
        while (high - low > 1)
        {
            int middle = Partition(low, high);
            double upper = 0;
            foreach (float part in _weights.AsSpan(low, middle - low))
            {
                upper += part;
            }

            if (upper >= weight)
            {
                high = middle;
            }
            else
            {
                weight -= upper;
                low = middle;
            }
        }

        _count = high;
    }

    /// <summary>Moves the heavier candidates of [low, high) to its front, and returns where the lighter ones begin; both parts have at least one.</summary>
    private int Partition(int low, int high)
    {
        // The pivot is the middle one of three.
        int middle = low + (high - low) / 2;
        if (IsHeavier(high - 1, low))
        {
            Swap(high - 1, low);
        }

        if (high - low > 2)
        {
            if (IsHeavier(middle, low))
            {
                Swap(middle, low);
            }

            if (IsHeavier(high - 1, middle))
            {
                Swap(high - 1, middle);
            }
        }
        else
        {
            return low + 1;
        }

        float pivot = _weights[middle];
        int pivotId = _ids[middle];
        int left = low;
        int right = high - 1;
        while (true)
        {
            while (IsHeavier(_weights[left], _ids[left], pivot, pivotId))
            {
                left++;
            }

            while (IsHeavier(pivot, pivotId, _weights[right], _ids[right]))
            {
                right--;
            }

            if (left >= right)
            {
                return left;
            }

            Swap(left++, right--);
        }
    }

    private void KeepMinP(float floor)
    {
        int kept = 0;
        for (int i = 0; i < _count; i++)
        {
            if (_weights[i] >= floor)
            {
                (_ids[kept], _weights[kept]) = (_ids[i], _weights[i]);
                kept++;
            }
        }

        _count = kept;
    }

    private bool IsHeavier(int left, int right) => IsHeavier(_weights[left], _ids[left], _weights[right], _ids[right]);

    /// <summary>The order of candidates: by weight, of equal ones the lower id first.</summary>
    private static bool IsHeavier(float left, int leftId, float right, int rightId) => left > right || (left == right && leftId < rightId);

    private void Swap(int left, int right)
    {
        (_ids[left], _ids[right]) = (_ids[right], _ids[left]);
        (_weights[left], _weights[right]) = (_weights[right], _weights[left]);
    }

    /// <summary>Takes scratch memory of the thread: sequences take turns on it.</summary>
    private void Reserve(int count)
    {
        if (s_ids is null || s_ids.Length < count)
        {
            s_ids = new int[count];
            s_weights = new float[count];
        }

        _ids = s_ids;
        _weights = s_weights!;
    }

    /// <summary>SplitMix64: one addition and two multiplications, the same numbers on every machine.</summary>
    private double NextDouble()
    {
        ulong z = _random += 0x9E37_79B9_7F4A_7C15;
        z = (z ^ (z >> 30)) * 0xBF58_476D_1CE4_E5B9;
        z = (z ^ (z >> 27)) * 0x94D0_49BB_1331_11EB;
        return ((z ^ (z >> 31)) >> 11) * (1.0 / (1UL << 53));
    }
}
