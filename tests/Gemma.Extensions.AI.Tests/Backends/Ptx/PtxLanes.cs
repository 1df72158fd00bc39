using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Tests.Backends.Ptx;

/// <summary>What an instruction computes of 32-bit numbers, eight lanes at a time.</summary>
internal interface ILaneOperation
{
    static abstract Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z);
}

/// <summary>The same of 64-bit numbers, lane by lane.</summary>
internal interface IWideOperation
{
    static abstract ulong Do(ulong x, ulong y, ulong z);
}

/// <summary>A shift by a number of bits that all lanes share.</summary>
internal interface IShift
{
    static abstract Vector256<uint> Do(Vector256<uint> x, int by);
}

/// <summary>Steps that work lane by lane; lanes that are not active keep what they have.</summary>
internal static unsafe class PtxLanes
{
    private static readonly Vector256<uint>[] s_masks = [.. Enumerable.Range(0, 256).Select(bits => Vector256.Create([.. Enumerable.Range(0, 8).Select(i => (bits >> i & 1) != 0 ? ~0u : 0u)]))];

    public static float Single(uint bits) => BitConverter.UInt32BitsToSingle(bits);

    public static uint Bits(float value) => BitConverter.SingleToUInt32Bits(value);

    /// <summary>All ones in the lanes of eight bits.</summary>
    public static Vector256<uint> Mask(uint bits) => s_masks[bits & 255];

    public static PtxStep Make<T>(int to, int x, int y, int z)
        where T : struct, ILaneOperation => warp =>
    {
        uint* r = warp.R;
        uint mask = warp.Mask;
        for (int i = 0; i < 32; i += 8, mask >>= 8)
        {
            Put(r + to + i, mask, T.Do(Vector256.Load(r + x + i), Vector256.Load(r + y + i), Vector256.Load(r + z + i)));
        }
    };

    public static PtxStep Shift<T>(int to, int x, int by)
        where T : struct, IShift => warp =>
    {
        uint* r = warp.R;
        uint mask = warp.Mask;
        for (int i = 0; i < 32; i += 8, mask >>= 8)
        {
            Put(r + to + i, mask, T.Do(Vector256.Load(r + x + i), by));
        }
    };

    public static PtxStep Scalar(int to, int x, int y, int z, Func<uint, uint, uint, uint> compute) => warp =>
    {
        uint* r = warp.R;
        for (uint mask = warp.Mask; mask != 0; mask &= mask - 1)
        {
            int i = BitOperations.TrailingZeroCount(mask);
            r[to + i] = compute(r[x + i], r[y + i], r[z + i]);
        }
    };

    public static PtxStep Wide<T>(int to, int x, int y, int z)
        where T : struct, IWideOperation => warp =>
    {
        uint mask = warp.Mask;
        ulong* d = (ulong*)(warp.R + to), a = (ulong*)(warp.R + x), b = (ulong*)(warp.R + y), c = (ulong*)(warp.R + z);
        if (mask == ~0u)
        {
            for (int i = 0; i < 32; i++)
            {
                d[i] = T.Do(a[i], b[i], c[i]);
            }

            return;
        }

        for (; mask != 0; mask &= mask - 1)
        {
            int i = BitOperations.TrailingZeroCount(mask);
            d[i] = T.Do(a[i], b[i], c[i]);
        }
    };

    public static PtxStep WideShift(int to, int x, int y, Func<ulong, uint, ulong> compute) => warp =>
    {
        ulong* d = (ulong*)(warp.R + to), a = (ulong*)(warp.R + x);
        for (uint mask = warp.Mask; mask != 0; mask &= mask - 1)
        {
            int i = BitOperations.TrailingZeroCount(mask);
            d[i] = compute(a[i], warp.R[y + i]);
        }
    };

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put(uint* to, uint mask, Vector256<uint> value)
    {
        if ((mask & 255) != 255)
        {
            value = Vector256.ConditionalSelect(Mask(mask), value, Vector256.Load(to));
        }

        value.Store(to);
    }
}

internal readonly struct Move : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x; }

internal readonly struct AddF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => (x.AsSingle() + y.AsSingle()).AsUInt32(); }

internal readonly struct SubtractF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => (x.AsSingle() - y.AsSingle()).AsUInt32(); }

internal readonly struct MultiplyF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => (x.AsSingle() * y.AsSingle()).AsUInt32(); }

internal readonly struct FusedF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => Vector256.FusedMultiplyAdd(x.AsSingle(), y.AsSingle(), z.AsSingle()).AsUInt32(); }

internal readonly struct DivideF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => (x.AsSingle() / y.AsSingle()).AsUInt32(); }

internal readonly struct ReciprocalF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => (Vector256<float>.One / x.AsSingle()).AsUInt32(); }

internal readonly struct InverseRootF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => (Vector256<float>.One / Vector256.Sqrt(x.AsSingle())).AsUInt32(); }

internal readonly struct MaxF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => Vector256.MaxNumber(x.AsSingle(), y.AsSingle()).AsUInt32(); }

internal readonly struct MinF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => Vector256.MinNumber(x.AsSingle(), y.AsSingle()).AsUInt32(); }

internal readonly struct AbsF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x & Vector256.Create(0x7FFFFFFFu); }

internal readonly struct NegateF : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x ^ Vector256.Create(0x80000000u); }

internal readonly struct Add : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x + y; }

internal readonly struct Subtract : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x - y; }

internal readonly struct Multiply : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x * y; }

internal readonly struct MultiplyAdd : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x * y + z; }

internal readonly struct And : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x & y; }

internal readonly struct Or : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x | y; }

internal readonly struct Xor : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => x ^ y; }

internal readonly struct Not : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => ~x; }

internal readonly struct MinS : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => Vector256.Min(x.AsInt32(), y.AsInt32()).AsUInt32(); }

internal readonly struct MaxS : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => Vector256.Max(x.AsInt32(), y.AsInt32()).AsUInt32(); }

internal readonly struct MinU : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => Vector256.Min(x, y); }

internal readonly struct MaxU : ILaneOperation { public static Vector256<uint> Do(Vector256<uint> x, Vector256<uint> y, Vector256<uint> z) => Vector256.Max(x, y); }

internal readonly struct ShiftLeft : IShift { public static Vector256<uint> Do(Vector256<uint> x, int by) => by >= 32 ? default : x << by; }

internal readonly struct ShiftRight : IShift { public static Vector256<uint> Do(Vector256<uint> x, int by) => by >= 32 ? default : x >>> by; }

internal readonly struct ShiftRightSigned : IShift { public static Vector256<uint> Do(Vector256<uint> x, int by) => (x.AsInt32() >> by).AsUInt32(); }

internal readonly struct Move64 : IWideOperation { public static ulong Do(ulong x, ulong y, ulong z) => x; }

internal readonly struct Add64 : IWideOperation { public static ulong Do(ulong x, ulong y, ulong z) => x + y; }

internal readonly struct Subtract64 : IWideOperation { public static ulong Do(ulong x, ulong y, ulong z) => x - y; }

internal readonly struct Multiply64 : IWideOperation { public static ulong Do(ulong x, ulong y, ulong z) => x * y; }

internal readonly struct MultiplyAdd64 : IWideOperation { public static ulong Do(ulong x, ulong y, ulong z) => x * y + z; }

internal readonly struct And64 : IWideOperation { public static ulong Do(ulong x, ulong y, ulong z) => x & y; }

internal readonly struct Or64 : IWideOperation { public static ulong Do(ulong x, ulong y, ulong z) => x | y; }
