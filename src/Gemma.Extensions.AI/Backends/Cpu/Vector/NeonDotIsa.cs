using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>Arm NEON with the dot product of signed bytes (FEAT_DotProd: Arm v8.2 and later, Apple silicon, Graviton 2).</summary>
internal readonly unsafe struct NeonDotIsa : IVectorIsa
{
    public static bool HasDot => true;

    public static int ByteRows => 2;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations)
    {
        Vector512<sbyte> w = weights.AsSByte();
        return PortableIsa.Join(
            Dp.DotProduct(PortableIsa.Part(sum, 0), PortableIsa.Part(w, 0), PortableIsa.Part(activations, 0)),
            Dp.DotProduct(PortableIsa.Part(sum, 1), PortableIsa.Part(w, 1), PortableIsa.Part(activations, 1)),
            Dp.DotProduct(PortableIsa.Part(sum, 2), PortableIsa.Part(w, 2), PortableIsa.Part(activations, 2)),
            Dp.DotProduct(PortableIsa.Part(sum, 3), PortableIsa.Part(w, 3), PortableIsa.Part(activations, 3)));
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
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3) =>
        PortableIsa.Transpose(rows, stride, out d0, out d1, out d2, out d3);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices)
    {
        Vector512<byte> i = indices.AsByte();
        return PortableIsa.Join(
            AdvSimd.Arm64.VectorTableLookup(table, PortableIsa.Part(i, 0)),
            AdvSimd.Arm64.VectorTableLookup(table, PortableIsa.Part(i, 1)),
            AdvSimd.Arm64.VectorTableLookup(table, PortableIsa.Part(i, 2)),
            AdvSimd.Arm64.VectorTableLookup(table, PortableIsa.Part(i, 3))).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Gather(uint* table, Vector512<uint> indices) => PortableIsa.Gather(table, indices);
}
