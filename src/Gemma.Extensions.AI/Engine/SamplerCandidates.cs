using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Gemma.Extensions.AI.Engine;

/// <summary>
/// The tokens that may be drawn, with their logits or weights. Nothing is sorted: top-k keeps a heap that few logits enter, top-p selects by weight. The arrays
/// belong to the engine's thread, where sequences take turns, so a draw allocates nothing.
/// </summary>
internal sealed class SamplerCandidates
{
    [ThreadStatic]
    private static int[]? s_ids;

    [ThreadStatic]
    private static float[]? s_weights;

    private int[] _ids = [];
    private float[] _weights = [];
    private int _count;

    public ReadOnlySpan<int> Ids => _ids.AsSpan(0, _count);

    /// <summary>Of the token of the same place in <see cref="Ids"/>.</summary>
    public Span<float> Weights => _weights.AsSpan(0, _count);

    /// <summary>Keeps the k largest logits, of equal ones those with the lowest ids, in a heap whose root is the first to leave.</summary>
    public void KeepTopK(ReadOnlySpan<float> logits, int k)
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
            Vector<float> block = Vector.LoadUnsafe(ref first, (nuint)next);
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

    /// <summary>Keeps the tokens of at least a weight, in the order of their ids.</summary>
    public void KeepAbove(ReadOnlySpan<float> weights, float floor)
    {
        Reserve(weights.Length);
        _count = 0;
        ref float first = ref MemoryMarshal.GetReference(weights);
        Vector<float> floors = new(floor);
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
    public void KeepTopP(double weight)
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

    /// <summary>Keeps the candidates of at least a weight.</summary>
    public void KeepMinP(float floor)
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
}
