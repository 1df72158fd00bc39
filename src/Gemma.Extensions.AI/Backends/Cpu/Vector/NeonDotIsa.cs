using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>Arm NEON with the dot product of signed bytes (FEAT_DotProd: Arm v8.2 and later, Apple silicon, Graviton 2).</summary>
internal readonly unsafe struct NeonDotIsa : IVectorIsa
{
    public static bool HasDot => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations)
    {
        Vector512<sbyte> w = weights.AsSByte();
        return Vector512.Create(
            Vector256.Create(
                Dp.DotProduct(sum.GetLower().GetLower(), w.GetLower().GetLower(), activations.GetLower().GetLower()),
                Dp.DotProduct(sum.GetLower().GetUpper(), w.GetLower().GetUpper(), activations.GetLower().GetUpper())),
            Vector256.Create(
                Dp.DotProduct(sum.GetUpper().GetLower(), w.GetUpper().GetLower(), activations.GetUpper().GetLower()),
                Dp.DotProduct(sum.GetUpper().GetUpper(), w.GetUpper().GetUpper(), activations.GetUpper().GetUpper())));
    }

    /// <summary>There is no product of unsigned with signed bytes here: w = (w - 128) + 64 + 64.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations)
    {
        Vector512<byte> half = Vector512.Create((byte)64);
        return Dot(Dot(Dot(sum, weights ^ Vector512.Create((byte)128), activations), half, activations), half, activations);
    }

    public static Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> PairSums(Vector512<short> values) => throw new NotSupportedException();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
    {
        Four(rows, stride, out Vector128<uint> a0, out Vector128<uint> a1, out Vector128<uint> a2, out Vector128<uint> a3);
        Four(rows + 4 * stride, stride, out Vector128<uint> b0, out Vector128<uint> b1, out Vector128<uint> b2, out Vector128<uint> b3);
        Four(rows + 8 * stride, stride, out Vector128<uint> c0, out Vector128<uint> c1, out Vector128<uint> c2, out Vector128<uint> c3);
        Four(rows + 12 * stride, stride, out Vector128<uint> e0, out Vector128<uint> e1, out Vector128<uint> e2, out Vector128<uint> e3);
        d0 = Vector512.Create(Vector256.Create(a0, b0), Vector256.Create(c0, e0));
        d1 = Vector512.Create(Vector256.Create(a1, b1), Vector256.Create(c1, e1));
        d2 = Vector512.Create(Vector256.Create(a2, b2), Vector256.Create(c2, e2));
        d3 = Vector512.Create(Vector256.Create(a3, b3), Vector256.Create(c3, e3));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices)
    {
        Vector512<byte> i = indices.AsByte();
        return Vector512.Create(
            Vector256.Create(AdvSimd.Arm64.VectorTableLookup(table, i.GetLower().GetLower()), AdvSimd.Arm64.VectorTableLookup(table, i.GetLower().GetUpper())),
            Vector256.Create(AdvSimd.Arm64.VectorTableLookup(table, i.GetUpper().GetLower()), AdvSimd.Arm64.VectorTableLookup(table, i.GetUpper().GetUpper()))).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Gather(uint* table, Vector512<uint> indices) => PortableIsa.Gather(table, indices);

    /// <summary>The transpose of four rows of four dwords.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four(byte* rows, long stride, out Vector128<uint> d0, out Vector128<uint> d1, out Vector128<uint> d2, out Vector128<uint> d3)
    {
        Vector128<uint> r0 = Vector128.Load((uint*)rows), r1 = Vector128.Load((uint*)(rows + stride));
        Vector128<uint> r2 = Vector128.Load((uint*)(rows + 2 * stride)), r3 = Vector128.Load((uint*)(rows + 3 * stride));
        Vector128<ulong> low01 = AdvSimd.Arm64.ZipLow(r0, r1).AsUInt64(), low23 = AdvSimd.Arm64.ZipLow(r2, r3).AsUInt64();
        Vector128<ulong> high01 = AdvSimd.Arm64.ZipHigh(r0, r1).AsUInt64(), high23 = AdvSimd.Arm64.ZipHigh(r2, r3).AsUInt64();
        d0 = AdvSimd.Arm64.ZipLow(low01, low23).AsUInt32();
        d1 = AdvSimd.Arm64.ZipHigh(low01, low23).AsUInt32();
        d2 = AdvSimd.Arm64.ZipLow(high01, high23).AsUInt32();
        d3 = AdvSimd.Arm64.ZipHigh(high01, high23).AsUInt32();
    }
}
