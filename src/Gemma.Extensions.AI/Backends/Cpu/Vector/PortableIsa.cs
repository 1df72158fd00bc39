using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.Arm;
using System.Runtime.Intrinsics.X86;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

internal readonly unsafe struct PortableIsa : IVectorIsa
{
    public static bool HasDot => false;

    public static int ByteRows => 2;

    public static Vector512<int> Dot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> WideDot(Vector512<int> sum, Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<short> PairProducts(Vector512<byte> weights, Vector512<sbyte> activations) => throw new NotSupportedException();

    public static Vector512<int> PairSums(Vector512<short> values) => throw new NotSupportedException();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Transpose(byte* rows, long stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3)
    {
        Four(rows, stride, out Vector128<uint> a0, out Vector128<uint> a1, out Vector128<uint> a2, out Vector128<uint> a3);
        Four(rows + 4 * stride, stride, out Vector128<uint> b0, out Vector128<uint> b1, out Vector128<uint> b2, out Vector128<uint> b3);
        Four(rows + 8 * stride, stride, out Vector128<uint> c0, out Vector128<uint> c1, out Vector128<uint> c2, out Vector128<uint> c3);
        Four(rows + 12 * stride, stride, out Vector128<uint> e0, out Vector128<uint> e1, out Vector128<uint> e2, out Vector128<uint> e3);
        d0 = Join(a0, b0, c0, e0);
        d1 = Join(a1, b1, c1, e1);
        d2 = Join(a2, b2, c2, e2);
        d3 = Join(a3, b3, c3, e3);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Lookup(Vector128<byte> table, Vector512<uint> indices)
    {
        Vector512<byte> i = indices.AsByte();
        return Join(
            Vector128.Shuffle(table, Part(i, 0)), Vector128.Shuffle(table, Part(i, 1)), Vector128.Shuffle(table, Part(i, 2)), Vector128.Shuffle(table, Part(i, 3))).AsUInt32();
    }

    public static Vector512<uint> Gather(uint* table, Vector512<uint> indices)
    {
        uint* lanes = stackalloc uint[16];
        indices.Store(lanes);
        for (int i = 0; i < 16; i++)
        {
            lanes[i] = table[lanes[i]];
        }

        return Vector512.Load(lanes);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector512<T> Join<T>(Vector128<T> first, Vector128<T> second, Vector128<T> third, Vector128<T> fourth) =>
#if QUARTERS
        Vector512.Create(first, second, third, fourth);
#else
        Vector512.Create(Vector256.Create(first, second), Vector256.Create(third, fourth));
#endif

    /// <summary>Four of 16 lanes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<T> Part<T>(Vector512<T> x, int index) =>
#if QUARTERS
        index == 0 ? x.First : index == 1 ? x.Second : index == 2 ? x.Third : x.Fourth;
#else
        index == 0 ? x.GetLower().GetLower() : index == 1 ? x.GetLower().GetUpper() : index == 2 ? x.GetUpper().GetLower() : x.GetUpper().GetUpper();
#endif

    /// <summary>The transpose of four rows of four dwords.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four(byte* rows, long stride, out Vector128<uint> d0, out Vector128<uint> d1, out Vector128<uint> d2, out Vector128<uint> d3)
    {
        Vector128<uint> r0 = Vector128.Load((uint*)rows), r1 = Vector128.Load((uint*)(rows + stride));
        Vector128<uint> r2 = Vector128.Load((uint*)(rows + 2 * stride)), r3 = Vector128.Load((uint*)(rows + 3 * stride));
        Vector128<ulong> low01 = Low(r0, r1).AsUInt64(), low23 = Low(r2, r3).AsUInt64(), high01 = High(r0, r1).AsUInt64(), high23 = High(r2, r3).AsUInt64();
        d0 = Low(low01, low23).AsUInt32();
        d1 = High(low01, low23).AsUInt32();
        d2 = Low(high01, high23).AsUInt32();
        d3 = High(high01, high23).AsUInt32();
    }

    /// <summary>The lower halves of two vectors, element by element in turn.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> Low(Vector128<uint> a, Vector128<uint> b) =>
        Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(a, b) : Vector128.Create(a[0], b[0], a[1], b[1]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<uint> High(Vector128<uint> a, Vector128<uint> b) =>
        Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(a, b) : Vector128.Create(a[2], b[2], a[3], b[3]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> Low(Vector128<ulong> a, Vector128<ulong> b) =>
        Sse2.IsSupported ? Sse2.UnpackLow(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipLow(a, b) : Vector128.Create(a[0], b[0]);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector128<ulong> High(Vector128<ulong> a, Vector128<ulong> b) =>
        Sse2.IsSupported ? Sse2.UnpackHigh(a, b) : AdvSimd.Arm64.IsSupported ? AdvSimd.Arm64.ZipHigh(a, b) : Vector128.Create(a[1], b[1]);
}
