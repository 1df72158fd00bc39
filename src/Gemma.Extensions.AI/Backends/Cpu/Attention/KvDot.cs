using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Formats;
using Gemma.Extensions.AI.Backends.Cpu.Vector;

namespace Gemma.Extensions.AI.Backends.Cpu.Attention;

/// <summary>
/// Attention of one query row for two heads that share a key/value head: blocks of 32 keys and values are used as stored, without a float32 tile. Sums have
/// the same order as with tiles.
/// </summary>
internal static unsafe class KvDot<TIsa, TPair>
    where TIsa : struct, IVectorIsa
    where TPair : struct, IKvPair
{
    /// <summary>Scores [2][32] of two queries with 32 keys of whole rows of 8 elements; prefetches the 32 keys at <paramref name="ahead"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Scores(byte* keys, int dim, float* queries, float* scores, byte* ahead)
    {
        long stride = 2L * dim, stream = 16L * dim;
        for (int half = 0; half < 2; half++, keys += 16 * stride)
        {
            float* q = queries;
            float* r = queries + dim;
            Vector512<float> a = Vector512<float>.Zero, b = a;
            for (int d = 0; d < dim; d += 8, q += 8, r += 8)
            {
                if (Sse.IsSupported)
                {
                    Sse.Prefetch0(ahead);
                    Sse.Prefetch0(ahead + stream);
                    Sse.Prefetch0(ahead + 2 * stream);
                    Sse.Prefetch0(ahead + 3 * stream);
                    ahead += 64;
                }

                TIsa.Transpose(keys + 2 * d, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                Add(TPair.Low(d0), q[0], r[0], ref a, ref b);
                Add(TPair.High(d0), q[1], r[1], ref a, ref b);
                Add(TPair.Low(d1), q[2], r[2], ref a, ref b);
                Add(TPair.High(d1), q[3], r[3], ref a, ref b);
                Add(TPair.Low(d2), q[4], r[4], ref a, ref b);
                Add(TPair.High(d2), q[5], r[5], ref a, ref b);
                Add(TPair.Low(d3), q[6], r[6], ref a, ref b);
                Add(TPair.High(d3), q[7], r[7], ref a, ref b);
            }

            a.Store(scores + 16 * half);
            b.Store(scores + TileFormat.Rows + 16 * half);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static void Add(Vector512<float> key, float q, float r, ref Vector512<float> a, ref Vector512<float> b)
        {
            a = Vector512.MultiplyAddEstimate(key, Vector512.Create(q), a);
            b = Vector512.MultiplyAddEstimate(key, Vector512.Create(r), b);
        }
    }

    /// <summary>
    /// Adds <paramref name="count"/> values [count][dim] times their weights [2][32] to the sums [2][dim]. Within each 32 sums the even elements come
    /// before the odd ones. Prefetches the 32 values at <paramref name="ahead"/>.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Values(byte* values, int count, int dim, float* weights, float* sums, byte* ahead)
    {
        for (int d = 0; d < dim; d += 32, sums += 32)
        {
            float* other = sums + dim;
            Vector512<float> a0 = Vector512.Load(sums), a1 = Vector512.Load(sums + 16), b0 = Vector512.Load(other), b1 = Vector512.Load(other + 16);
            byte* value = values + 2 * d;
            for (int i = 0; i < count; i++, value += 2L * dim)
            {
                if (Sse.IsSupported)
                {
                    Sse.Prefetch0(ahead);
                    ahead += 64;
                }

                Vector512<uint> pair = Vector512.Load((uint*)value);
                Vector512<float> low = TPair.Low(pair), high = TPair.High(pair), w = Vector512.Create(weights[i]), v = Vector512.Create(weights[TileFormat.Rows + i]);
                a0 = Vector512.MultiplyAddEstimate(low, w, a0);
                a1 = Vector512.MultiplyAddEstimate(high, w, a1);
                b0 = Vector512.MultiplyAddEstimate(low, v, b0);
                b1 = Vector512.MultiplyAddEstimate(high, v, b1);
            }

            a0.Store(sums);
            a1.Store(sums + 16);
            b0.Store(other);
            b1.Store(other + 16);
        }
    }
}
