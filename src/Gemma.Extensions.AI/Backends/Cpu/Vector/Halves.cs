using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>
/// 16 lanes in two registers of 256 bits, for kernels what <see cref="Vector512{T}"/> is. Without AVX-512 .NET composes its own of halves by calls, and in a method as long as a kernel it does not inline them all
/// ("too many locals", "unprofitable inline"): one row of Q4_K took five times as long, a prompt four times. Here every operation is inlined and makes one variable. The sources of kernels are compiled
/// again with this type in place of Vector512 (NarrowKernels.targets).
/// </summary>
[SkipLocalsInit]
internal struct Halves<T>
{
    public Vector256<T> Lower, Upper;

    public static Halves<T> Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    public static Halves<T> One
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            Halves<T> result;
            result.Lower = Vector256<T>.One;
            result.Upper = Vector256<T>.One;
            return result;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator +(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = x.Lower + y.Lower;
        result.Upper = x.Upper + y.Upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator -(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = x.Lower - y.Lower;
        result.Upper = x.Upper - y.Upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator *(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = x.Lower * y.Lower;
        result.Upper = x.Upper * y.Upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator &(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = x.Lower & y.Lower;
        result.Upper = x.Upper & y.Upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator |(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = x.Lower | y.Lower;
        result.Upper = x.Upper | y.Upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator ^(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = x.Lower ^ y.Lower;
        result.Upper = x.Upper ^ y.Upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator *(Halves<T> x, T y)
    {
        Halves<T> result;
        result.Lower = x.Lower * y;
        result.Upper = x.Upper * y;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator <<(Halves<T> x, int count)
    {
        Halves<T> result;
        result.Lower = x.Lower << count;
        result.Upper = x.Upper << count;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator >>(Halves<T> x, int count)
    {
        Halves<T> result;
        result.Lower = x.Lower >> count;
        result.Upper = x.Upper >> count;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator -(Halves<T> x)
    {
        Halves<T> result;
        result.Lower = -x.Lower;
        result.Upper = -x.Upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> operator ~(Halves<T> x)
    {
        Halves<T> result;
        result.Lower = ~x.Lower;
        result.Upper = ~x.Upper;
        return result;
    }
}

/// <summary>The functions of <see cref="Vector512"/> that kernels use.</summary>
[SkipLocalsInit]
internal static unsafe class Halves
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> Create<T>(T value)
    {
        Halves<T> result;
        result.Lower = Vector256.Create(value);
        result.Upper = result.Lower;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> Create<T>(Vector256<T> lower, Vector256<T> upper)
    {
        Halves<T> result;
        result.Lower = lower;
        result.Upper = upper;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> GetLower<T>(this Halves<T> x) => x.Lower;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> GetUpper<T>(this Halves<T> x) => x.Upper;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> Load<T>(T* source)
        where T : unmanaged
    {
        Halves<T> result;
        result.Lower = Vector256.Load(source);
        result.Upper = Vector256.Load(source + Vector256<T>.Count);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(this Halves<T> x, T* destination)
        where T : unmanaged
    {
        x.Lower.Store(destination);
        x.Upper.Store(destination + Vector256<T>.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<byte> AsByte<T>(this Halves<T> x)
    {
        Halves<byte> result;
        result.Lower = x.Lower.AsByte();
        result.Upper = x.Upper.AsByte();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<sbyte> AsSByte<T>(this Halves<T> x)
    {
        Halves<sbyte> result;
        result.Lower = x.Lower.AsSByte();
        result.Upper = x.Upper.AsSByte();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<short> AsInt16<T>(this Halves<T> x)
    {
        Halves<short> result;
        result.Lower = x.Lower.AsInt16();
        result.Upper = x.Upper.AsInt16();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<ushort> AsUInt16<T>(this Halves<T> x)
    {
        Halves<ushort> result;
        result.Lower = x.Lower.AsUInt16();
        result.Upper = x.Upper.AsUInt16();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<int> AsInt32<T>(this Halves<T> x)
    {
        Halves<int> result;
        result.Lower = x.Lower.AsInt32();
        result.Upper = x.Upper.AsInt32();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<uint> AsUInt32<T>(this Halves<T> x)
    {
        Halves<uint> result;
        result.Lower = x.Lower.AsUInt32();
        result.Upper = x.Upper.AsUInt32();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<float> AsSingle<T>(this Halves<T> x)
    {
        Halves<float> result;
        result.Lower = x.Lower.AsSingle();
        result.Upper = x.Upper.AsSingle();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<float> ConvertToSingle(Halves<int> x)
    {
        Halves<float> result;
        result.Lower = Vector256.ConvertToSingle(x.Lower);
        result.Upper = Vector256.ConvertToSingle(x.Upper);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<float> MultiplyAddEstimate(Halves<float> x, Halves<float> y, Halves<float> sum)
    {
        Halves<float> result;
        result.Lower = Vector256.MultiplyAddEstimate(x.Lower, y.Lower, sum.Lower);
        result.Upper = Vector256.MultiplyAddEstimate(x.Upper, y.Upper, sum.Upper);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> ConditionalSelect<T>(Halves<T> condition, Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = Vector256.ConditionalSelect(condition.Lower, x.Lower, y.Lower);
        result.Upper = Vector256.ConditionalSelect(condition.Upper, x.Upper, y.Upper);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> LessThan<T>(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = Vector256.LessThan(x.Lower, y.Lower);
        result.Upper = Vector256.LessThan(x.Upper, y.Upper);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Halves<T> Equals<T>(Halves<T> x, Halves<T> y)
    {
        Halves<T> result;
        result.Lower = Vector256.Equals(x.Lower, y.Lower);
        result.Upper = Vector256.Equals(x.Upper, y.Upper);
        return result;
    }
}
