using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu;

/// <summary>The few operations of unpacking that no portable vector API expresses well. The rest is written once, over <see cref="Vector512"/>.</summary>
internal unsafe interface ITileIsa
{
    /// <summary>Reads 16 bytes of each of 16 rows and transposes them: result i holds dword i of all rows, in row order.</summary>
    static abstract void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);

    /// <summary>Replaces each byte (0 to 15) by that element of a table of 16 bytes.</summary>
    static abstract Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices);
}

/// <summary>Multiplications of bytes, 16 rows of four columns at a time.</summary>
internal unsafe interface IDotIsa : ITileIsa
{
    /// <summary>Whether one instruction multiplies bytes and adds to 32-bit sums. Otherwise products are summed in 16 bits as long as they fit.</summary>
    static abstract bool HasDot { get; }

    /// <summary>sum + four products a lane. Weights up to 127; only where <see cref="HasDot"/>, as the next one.</summary>
    static abstract Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations);

    /// <summary>sum + four products a lane, any weights.</summary>
    static abstract Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations);

    /// <summary>Sums of two neighbouring products, saturated to 16 bits; only where there is no dot product, as the next one.</summary>
    static abstract Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations);

    /// <summary>Sums of two neighbours.</summary>
    static abstract Vector512<int> PairSums(Vector512<short> values);
}

internal readonly unsafe struct PortableIsa : ITileIsa
{
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
    {
        uint* buffer = stackalloc uint[64];
        for (int r = 0; r < 16; r++)
        {
            uint* row = (uint*)(rows + r * stride);
            buffer[r] = row[0];
            buffer[16 + r] = row[1];
            buffer[32 + r] = row[2];
            buffer[48 + r] = row[3];
        }

        d0 = Vector512.Load(buffer);
        d1 = Vector512.Load(buffer + 16);
        d2 = Vector512.Load(buffer + 32);
        d3 = Vector512.Load(buffer + 48);
    }

    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices)
    {
        Vector512<byte> i = indices.AsByte();
        return Vector512.Create(
            Vector256.Create(Vector128.Shuffle(table, i.GetLower().GetLower()), Vector128.Shuffle(table, i.GetLower().GetUpper())),
            Vector256.Create(Vector128.Shuffle(table, i.GetUpper().GetLower()), Vector128.Shuffle(table, i.GetUpper().GetUpper()))).AsUInt32();
    }
}

internal readonly unsafe struct Avx2Isa : IDotIsa
{
    public static bool HasDot => false;

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
    private static void Half(byte* rows, long stride, out Vector256<uint> d0, out Vector256<uint> d1, out Vector256<uint> d2, out Vector256<uint> d3)
    {
        Vector256<uint> z0 = Load(rows, stride), z1 = Load(rows + stride, stride), z2 = Load(rows + 2 * stride, stride), z3 = Load(rows + 3 * stride, stride);
        Vector256<ulong> t0 = Avx2.UnpackLow(z0, z1).AsUInt64(), t1 = Avx2.UnpackLow(z2, z3).AsUInt64();
        Vector256<ulong> t2 = Avx2.UnpackHigh(z0, z1).AsUInt64(), t3 = Avx2.UnpackHigh(z2, z3).AsUInt64();
        d0 = Avx2.UnpackLow(t0, t1).AsUInt32();
        d1 = Avx2.UnpackHigh(t0, t1).AsUInt32();
        d2 = Avx2.UnpackLow(t2, t3).AsUInt32();
        d3 = Avx2.UnpackHigh(t2, t3).AsUInt32();

        static Vector256<uint> Load(byte* row, long stride) =>
            Avx2.InsertVector128(Vector128.Load((uint*)row).ToVector256Unsafe(), Vector128.Load((uint*)(row + 4 * stride)), 1);
    }
}

internal readonly unsafe struct Avx512Isa : IDotIsa
{
    public static bool HasDot => false;

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

/// <summary>AVX2 with the dot product of 256-bit registers that .NET exposes (Alder Lake and later client processors, Zen 5, Xeon from Sapphire Rapids).</summary>
internal readonly unsafe struct AvxVnniIsa : IDotIsa
{
    public static bool HasDot => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => Vector512.Create(
        AvxVnni.MultiplyWideningAndAdd(sum.GetLower(), weights.GetLower(), activations.GetLower()),
        AvxVnni.MultiplyWideningAndAdd(sum.GetUpper(), weights.GetUpper(), activations.GetUpper()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => Dot(sum, weights, activations);

    public static Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> PairSums(Vector512<short> values) => throw new NotSupportedException();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3) =>
        Avx2Isa.Transpose(rows, stride, out d0, out d1, out d2, out d3);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices) => Avx2Isa.Lookup(table, indices);
}

/// <summary>Arm NEON with the dot product of signed bytes (FEAT_DotProd: Arm v8.2 and later, Apple silicon, Graviton 2).</summary>
internal readonly unsafe struct NeonDotIsa : IDotIsa
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
