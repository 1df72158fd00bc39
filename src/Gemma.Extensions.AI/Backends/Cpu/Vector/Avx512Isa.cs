using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

internal readonly unsafe struct Avx512Isa : IVectorIsa
{
    public static bool HasDot => false;

    public static int ByteRows => 2;

    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations) => Avx512BW.MultiplyAddAdjacent(weights, activations);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> PairSums(Vector512<short> values) => Avx512BW.MultiplyAddAdjacent(values, Vector512<short>.One);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
    {
        // Inserts with a memory operand run on two ports; only the four unpacks of each half need the shuffle port.
        Vector512<uint> z0 = Load(rows, stride), z1 = Load(rows + stride, stride), z2 = Load(rows + 2 * stride, stride), z3 = Load(rows + 3 * stride, stride);
        Vector512<ulong> t0 = Avx512F.UnpackLow(z0, z1).AsUInt64(), t1 = Avx512F.UnpackLow(z2, z3).AsUInt64();
        Vector512<ulong> t2 = Avx512F.UnpackHigh(z0, z1).AsUInt64(), t3 = Avx512F.UnpackHigh(z2, z3).AsUInt64();
        d0 = Avx512F.UnpackLow(t0, t1).AsUInt32();
        d1 = Avx512F.UnpackHigh(t0, t1).AsUInt32();
        d2 = Avx512F.UnpackLow(t2, t3).AsUInt32();
        d3 = Avx512F.UnpackHigh(t2, t3).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices)
    {
        Vector256<byte> wide = Vector256.Create(table, table);
        return Avx512BW.Shuffle(Vector512.Create(wide, wide), indices.AsByte()).AsUInt32();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Gather(uint* table, Vector512<uint> indices) => Avx2Isa.Gather(table, indices);

    /// <summary>Lane i: row 4i from here.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Load(byte* row, long stride)
    {
        Vector512<uint> z = Vector128.Load((uint*)row).ToVector256Unsafe().ToVector512Unsafe();
        z = Avx512F.InsertVector128(z, Vector128.Load((uint*)(row + 4 * stride)), 1);
        z = Avx512F.InsertVector128(z, Vector128.Load((uint*)(row + 8 * stride)), 2);
        return Avx512F.InsertVector128(z, Vector128.Load((uint*)(row + 12 * stride)), 3);
    }
}
