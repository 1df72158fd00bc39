using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using Gemma.Extensions.AI.Backends.Cpu.Vector;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>The steps that the GEMV kernels of several formats share: 16 weight rows in 16 lanes against one activation row.</summary>
internal static unsafe class GemvSteps
{
    /// <summary>16 bytes of each of 16 rows, transposed; prefetches as many bytes of the next rows.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Read<TIsa>(
        byte* rows, long stride, ref byte* ahead, long stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
        where TIsa : struct, IVectorIsa
    {
        Prefetch(ref ahead, stream);
        TIsa.Transpose(rows, stride, out d0, out d1, out d2, out d3);
    }

    /// <summary>Prefetches the next line of each of four streams.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Prefetch(ref byte* ahead, long stream)
    {
        if (Sse.IsSupported)
        {
            Sse.Prefetch0(ahead);
            Sse.Prefetch0(ahead + stream);
            Sse.Prefetch0(ahead + 2 * stream);
            Sse.Prefetch0(ahead + 3 * stream);
            ahead += 64;
        }
    }

    /// <summary>float16 at the beginning of each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> FirstHalf<TIsa>(byte* rows, long stride)
        where TIsa : struct, IVectorIsa
    {
        TIsa.Transpose(rows, stride, out Vector512<uint> d0, out _, out _, out _);
        return TileScales.LowHalf(d0);
    }

    /// <summary>Lowest byte of each dword.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Byte(Vector512<uint> x) => Vector512.ConvertToSingle((x & Vector512.Create(255u)).AsInt32());

    /// <summary>Highest byte of each dword, signed.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Signed(Vector512<uint> x) => Vector512.ConvertToSingle(x.AsInt32() >> 24);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> sum, Vector512<int> products, Vector512<float> scale, float xScale) =>
        Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(products), scale * xScale, sum);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Add(Vector512<float> sum, Vector512<int> products, Vector512<float> scale, float xScale, Vector512<float> minimum, float xSum) =>
        Vector512.MultiplyAddEstimate(minimum, Vector512.Create(-xSum), Add(sum, products, scale, xScale));

    /// <summary>Adds the products of 16 columns: four dwords a row with four dwords of activations.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Dot<TIsa, TSum>(Vector512<int> sum, int* x, Vector512<uint> d0, Vector512<uint> d1, Vector512<uint> d2, Vector512<uint> d3)
        where TIsa : struct, IVectorIsa
        where TSum : struct, ISumDepth
    {
        if (TIsa.HasDot && typeof(TSum) == typeof(HalfPairs))
        {
            sum = TIsa.WideDot(sum, d0.AsByte(), Vector512.Create(x[0]).AsSByte());
            sum = TIsa.WideDot(sum, d1.AsByte(), Vector512.Create(x[1]).AsSByte());
            sum = TIsa.WideDot(sum, d2.AsByte(), Vector512.Create(x[2]).AsSByte());
            return TIsa.WideDot(sum, d3.AsByte(), Vector512.Create(x[3]).AsSByte());
        }

        if (TIsa.HasDot)
        {
            sum = TIsa.Dot(sum, d0.AsByte(), Vector512.Create(x[0]).AsSByte());
            sum = TIsa.Dot(sum, d1.AsByte(), Vector512.Create(x[1]).AsSByte());
            sum = TIsa.Dot(sum, d2.AsByte(), Vector512.Create(x[2]).AsSByte());
            return TIsa.Dot(sum, d3.AsByte(), Vector512.Create(x[3]).AsSByte());
        }

        if (typeof(TSum) == typeof(HalfPairs))
        {
            return sum + Apart(d0, x[0]) + Apart(d1, x[1]) + Apart(d2, x[2]) + Apart(d3, x[3]);
        }

        Vector512<short> a = Pair(d0, x[0]) + Pair(d1, x[1]), b = Pair(d2, x[2]) + Pair(d3, x[3]);
        return typeof(TSum) == typeof(FourPairs) ? sum + TIsa.PairSums(a + b) : sum + TIsa.PairSums(a) + TIsa.PairSums(b);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<short> Pair(Vector512<uint> weights, int x) => TIsa.PairProducts(weights.AsByte(), Vector512.Create(x).AsSByte());

        // A pair sum of bytes above 63 may exceed 16 bits, one product does not.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<int> Apart(Vector512<uint> weights, int x) =>
            TIsa.PairSums(Pair(weights, x & 0x00FF00FF)) + TIsa.PairSums(Pair(weights, x & unchecked((int)0xFF00FF00)));
    }
}
