using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Rag.Store;

/// <summary>The key that vectors are ordered by. Larger is always better.</summary>
internal enum VectorMetric
{
    Cosine,
    Dot,
    Euclidean,
}

/// <summary>
/// Vectors of one property in memory as signed bytes with one scale each: about a quarter of their float32 size. A scan gives candidates;
/// the caller scores those again with the stored vectors. Reading and changing are guarded by <see cref="Lock"/>.
/// </summary>
internal sealed class QuantizedIndex(int dimensions)
{
    /// <summary>Rows of a segment: growth never copies what is there.</summary>
    private const int SegmentRows = 1024;

    // Codes are padded with zeros, so that the kernels have no remainder.
    private readonly int _stride = (dimensions + 31) / 32 * 32;
    private readonly List<Segment> _segments = [];
    private readonly Dictionary<long, int> _slots = [];
    private readonly Stack<int> _free = [];
    private int _used;

    public ReaderWriterLockSlim Lock { get; } = new();

    /// <summary>Last change of the collection that the index holds.</summary>
    public long Sequence { get; set; } = -1;

    /// <summary>Generation of the collection that the index was built from; it changes when the trace of deleted rows is dropped.</summary>
    public long Generation { get; set; } = -1;

    public int Count => _slots.Count;

    /// <summary>Bytes that the index holds: codes, scale, norm and id of each row, and about 40 bytes of its slot table.</summary>
    public long MemoryBytes => (long)_segments.Count * SegmentRows * (_stride + 16) + 40L * _slots.Count;

    /// <summary>Bytes that an index of this many rows takes.</summary>
    public static long EstimateBytes(long rows, int dimensions) =>
        (rows + SegmentRows - 1) / SegmentRows * SegmentRows * ((dimensions + 31) / 32 * 32 + 16) + 40L * rows;

    public void Clear()
    {
        _segments.Clear();
        _slots.Clear();
        _free.Clear();
        _used = 0;
    }

    /// <summary>Adds the vector or replaces the one with this id.</summary>
    public void Set(long id, ReadOnlySpan<float> vector)
    {
        if (!_slots.TryGetValue(id, out int slot))
        {
            if (!_free.TryPop(out slot))
            {
                slot = _used++;
                if (slot / SegmentRows == _segments.Count)
                {
                    _segments.Add(new Segment(_stride));
                }
            }

            _slots.Add(id, slot);
        }

        Segment segment = _segments[slot / SegmentRows];
        int row = slot % SegmentRows;
        segment.Ids[row] = id;
        segment.Scales[row] = Quantize(vector, segment.Codes.AsSpan(row * _stride, _stride));
        segment.Norms[row] = TensorPrimitives.Norm(vector);
    }

    public void Remove(long id)
    {
        if (_slots.Remove(id, out int slot))
        {
            _segments[slot / SegmentRows].Ids[slot % SegmentRows] = -1;
            _free.Push(slot);
        }
    }

    /// <summary>Ids of the best rows by approximate score, best first.</summary>
    /// <param name="query">Query vector, of the collection's dimensions.</param>
    /// <param name="metric">What orders the rows.</param>
    /// <param name="count">Most ids to return.</param>
    /// <param name="allowed">Ids that may be returned; null: all.</param>
    public List<long> Scan(ReadOnlySpan<float> query, VectorMetric metric, int count, HashSet<long>? allowed)
    {
        short[] quantized = new short[_stride];
        float queryScale = QuantizeQuery(query, quantized);
        PriorityQueue<long, float> best = new();
        float worst = float.NegativeInfinity;
        for (int s = 0; s < _segments.Count; s++)
        {
            Segment segment = _segments[s];
            int rows = Math.Min(SegmentRows, _used - s * SegmentRows);
            for (int row = 0; row < rows; row++)
            {
                long id = segment.Ids[row];
                if (id < 0 || (allowed is not null && !allowed.Contains(id)))
                {
                    continue;
                }

                float dot = Dot(segment.Codes.AsSpan(row * _stride, _stride), quantized) * queryScale * segment.Scales[row];
                float norm = segment.Norms[row];
                float score = metric switch
                {
                    VectorMetric.Cosine => norm > 0 ? dot / norm : 0,
                    VectorMetric.Dot => dot,
                    _ => 2 * dot - norm * norm,
                };
                if (best.Count < count)
                {
                    best.Enqueue(id, score);
                    worst = best.TryPeek(out _, out float low) ? low : worst;
                }
                else if (score > worst)
                {
                    best.EnqueueDequeue(id, score);
                    best.TryPeek(out _, out worst);
                }
            }
        }

        List<long> ids = new(best.Count);
        while (best.TryDequeue(out long id, out _))
        {
            ids.Add(id);
        }

        ids.Reverse();
        return ids;
    }

    /// <summary>Rounds to -127..127; value = code · scale.</summary>
    private static float Quantize(ReadOnlySpan<float> vector, Span<sbyte> codes)
    {
        float largest = Math.Abs(TensorPrimitives.MaxMagnitude(vector));
        codes[vector.Length..].Clear();
        if (largest == 0)
        {
            codes.Clear();
            return 0;
        }

        float inverse = 127 / largest;
        for (int i = 0; i < vector.Length; i++)
        {
            codes[i] = (sbyte)MathF.Round(vector[i] * inverse);
        }

        return largest / 127;
    }

    private static float QuantizeQuery(ReadOnlySpan<float> query, Span<short> codes)
    {
        sbyte[] bytes = new sbyte[codes.Length];
        float scale = Quantize(query, bytes);
        for (int i = 0; i < bytes.Length; i++)
        {
            codes[i] = bytes[i];
        }

        return scale;
    }

    /// <summary>Sum of products; lengths are equal multiples of 32. Every path gives the same integer.</summary>
    internal static int Dot(ReadOnlySpan<sbyte> codes, ReadOnlySpan<short> query)
    {
        ref sbyte c = ref MemoryMarshal.GetReference(codes);
        ref short q = ref MemoryMarshal.GetReference(query);
        int n = codes.Length;
        if (Avx512BW.IsSupported)
        {
            Vector512<int> sum0 = default, sum1 = default;
            int i = 0;
            for (; i + 64 <= n; i += 64)
            {
                sum0 += Avx512BW.MultiplyAddAdjacent(Avx512BW.ConvertToVector512Int16(Vector256.LoadUnsafe(ref c, (nuint)i)), Vector512.LoadUnsafe(ref q, (nuint)i));
                sum1 += Avx512BW.MultiplyAddAdjacent(Avx512BW.ConvertToVector512Int16(Vector256.LoadUnsafe(ref c, (nuint)i + 32)), Vector512.LoadUnsafe(ref q, (nuint)i + 32));
            }

            if (i < n)
            {
                sum0 += Avx512BW.MultiplyAddAdjacent(Avx512BW.ConvertToVector512Int16(Vector256.LoadUnsafe(ref c, (nuint)i)), Vector512.LoadUnsafe(ref q, (nuint)i));
            }

            return Vector512.Sum(sum0 + sum1);
        }

        return Avx2.IsSupported ? DotAvx2(ref c, ref q, n) : DotPortable(ref c, ref q, n);
    }

    internal static int DotAvx2(ref sbyte c, ref short q, int n)
    {
        Vector256<int> sum0 = default, sum1 = default;
        for (int i = 0; i < n; i += 32)
        {
            sum0 += Avx2.MultiplyAddAdjacent(Avx2.ConvertToVector256Int16(Vector128.LoadUnsafe(ref c, (nuint)i)), Vector256.LoadUnsafe(ref q, (nuint)i));
            sum1 += Avx2.MultiplyAddAdjacent(Avx2.ConvertToVector256Int16(Vector128.LoadUnsafe(ref c, (nuint)i + 16)), Vector256.LoadUnsafe(ref q, (nuint)i + 16));
        }

        return Vector256.Sum(sum0 + sum1);
    }

    internal static int DotPortable(ref sbyte c, ref short q, int n)
    {
        Vector128<int> sum = default;
        for (int i = 0; i < n; i += 16)
        {
            (Vector128<short> low, Vector128<short> high) = Vector128.Widen(Vector128.LoadUnsafe(ref c, (nuint)i));
            // Two products of at most 127 · 127 fit a short.
            Vector128<short> product = low * Vector128.LoadUnsafe(ref q, (nuint)i) + high * Vector128.LoadUnsafe(ref q, (nuint)i + 8);
            (Vector128<int> a, Vector128<int> b) = Vector128.Widen(product);
            sum += a + b;
        }

        return Vector128.Sum(sum);
    }

    private sealed class Segment(int stride)
    {
        public readonly sbyte[] Codes = GC.AllocateUninitializedArray<sbyte>(SegmentRows * stride);
        public readonly float[] Scales = new float[SegmentRows];
        public readonly float[] Norms = new float[SegmentRows];
        public readonly long[] Ids = new long[SegmentRows];
    }
}
