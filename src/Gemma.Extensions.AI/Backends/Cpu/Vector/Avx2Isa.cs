using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

internal readonly unsafe struct Avx2Isa : IVectorIsa
{
    public static bool HasDot => false;

    public static int ByteRows => 1;

    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations) => Vector512.Create(
        Avx2.MultiplyAddAdjacent(weights.GetLower(), activations.GetLower()), Avx2.MultiplyAddAdjacent(weights.GetUpper(), activations.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> PairSums(Vector512<short> values) => Vector512.Create(
        Avx2.MultiplyAddAdjacent(values.GetLower(), Vector256<short>.One), Avx2.MultiplyAddAdjacent(values.GetUpper(), Vector256<short>.One));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
    {
        Half(rows, stride, out Vector256<uint> a0, out Vector256<uint> a1, out Vector256<uint> a2, out Vector256<uint> a3);
        Half(rows + 8 * stride, stride, out Vector256<uint> b0, out Vector256<uint> b1, out Vector256<uint> b2, out Vector256<uint> b3);
        d0 = Vector512.Create(a0, b0);
        d1 = Vector512.Create(a1, b1);
        d2 = Vector512.Create(a2, b2);
        d3 = Vector512.Create(a3, b3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices)
    {
        Vector256<byte> wide = Vector256.Create(table, table);
        Vector512<byte> i = indices.AsByte();
        return Vector512.Create(Avx2.Shuffle(wide, i.GetLower()), Avx2.Shuffle(wide, i.GetUpper())).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Gather(uint* table, Vector512<uint> indices) => Vector512.Create(
        Avx2.GatherVector256(table, indices.GetLower().AsInt32(), 4), Avx2.GatherVector256(table, indices.GetUpper().AsInt32(), 4));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Half(byte* rows, long stride, out Vector256<uint> d0, out Vector256<uint> d1, out Vector256<uint> d2, out Vector256<uint> d3)
    {
        Vector256<uint> z0 = Load(rows, stride), z1 = Load(rows + stride, stride), z2 = Load(rows + 2 * stride, stride), z3 = Load(rows + 3 * stride, stride);
        Vector256<ulong> t0 = Avx2.UnpackLow(z0, z1).AsUInt64(), t1 = Avx2.UnpackLow(z2, z3).AsUInt64();
        Vector256<ulong> t2 = Avx2.UnpackHigh(z0, z1).AsUInt64(), t3 = Avx2.UnpackHigh(z2, z3).AsUInt64();
        d0 = Avx2.UnpackLow(t0, t1).AsUInt32();
        d1 = Avx2.UnpackHigh(t0, t1).AsUInt32();
        d2 = Avx2.UnpackLow(t2, t3).AsUInt32();
        d3 = Avx2.UnpackHigh(t2, t3).AsUInt32();

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<uint> Load(byte* row, long stride) =>
            Avx2.InsertVector128(Vector128.Load((uint*)row).ToVector256Unsafe(), Vector128.Load((uint*)(row + 4 * stride)), 1);
    }
}
