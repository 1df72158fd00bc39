using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Backends.Cpu.Vector;

/// <summary>The same in four registers of 128 bits: where there is no AVX, or a program was compiled ahead of time without it, and on Arm.</summary>
[SkipLocalsInit]
internal struct Quarters<T>
{
    public Vector128<T> First, Second, Third, Fourth;

    public static Quarters<T> Zero
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => default;
    }

    public static Quarters<T> One
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get
        {
            Quarters<T> result;
            result.First = Vector128<T>.One;
            result.Second = Vector128<T>.One;
            result.Third = Vector128<T>.One;
            result.Fourth = Vector128<T>.One;
            return result;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator +(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = x.First + y.First;
        result.Second = x.Second + y.Second;
        result.Third = x.Third + y.Third;
        result.Fourth = x.Fourth + y.Fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator -(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = x.First - y.First;
        result.Second = x.Second - y.Second;
        result.Third = x.Third - y.Third;
        result.Fourth = x.Fourth - y.Fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator *(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = x.First * y.First;
        result.Second = x.Second * y.Second;
        result.Third = x.Third * y.Third;
        result.Fourth = x.Fourth * y.Fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator &(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = x.First & y.First;
        result.Second = x.Second & y.Second;
        result.Third = x.Third & y.Third;
        result.Fourth = x.Fourth & y.Fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator |(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = x.First | y.First;
        result.Second = x.Second | y.Second;
        result.Third = x.Third | y.Third;
        result.Fourth = x.Fourth | y.Fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator ^(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = x.First ^ y.First;
        result.Second = x.Second ^ y.Second;
        result.Third = x.Third ^ y.Third;
        result.Fourth = x.Fourth ^ y.Fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator *(Quarters<T> x, T y)
    {
        Quarters<T> result;
        result.First = x.First * y;
        result.Second = x.Second * y;
        result.Third = x.Third * y;
        result.Fourth = x.Fourth * y;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator <<(Quarters<T> x, int count)
    {
        Quarters<T> result;
        result.First = x.First << count;
        result.Second = x.Second << count;
        result.Third = x.Third << count;
        result.Fourth = x.Fourth << count;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator >>(Quarters<T> x, int count)
    {
        Quarters<T> result;
        result.First = x.First >> count;
        result.Second = x.Second >> count;
        result.Third = x.Third >> count;
        result.Fourth = x.Fourth >> count;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator -(Quarters<T> x)
    {
        Quarters<T> result;
        result.First = -x.First;
        result.Second = -x.Second;
        result.Third = -x.Third;
        result.Fourth = -x.Fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> operator ~(Quarters<T> x)
    {
        Quarters<T> result;
        result.First = ~x.First;
        result.Second = ~x.Second;
        result.Third = ~x.Third;
        result.Fourth = ~x.Fourth;
        return result;
    }
}

/// <summary>The functions of <see cref="Vector512"/> that kernels use.</summary>
[SkipLocalsInit]
internal static unsafe class Quarters
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> Create<T>(T value)
    {
        Quarters<T> result;
        result.First = Vector128.Create(value);
        result.Second = Vector128.Create(value);
        result.Third = Vector128.Create(value);
        result.Fourth = Vector128.Create(value);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> Create<T>(Vector128<T> first, Vector128<T> second, Vector128<T> third, Vector128<T> fourth)
    {
        Quarters<T> result;
        result.First = first;
        result.Second = second;
        result.Third = third;
        result.Fourth = fourth;
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> Create<T>(Vector256<T> lower, Vector256<T> upper) => Create(lower.GetLower(), lower.GetUpper(), upper.GetLower(), upper.GetUpper());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> Load<T>(T* source)
        where T : unmanaged
    {
        Quarters<T> result;
        result.First = Vector128.Load(source);
        result.Second = Vector128.Load(source + Vector128<T>.Count);
        result.Third = Vector128.Load(source + 2 * Vector128<T>.Count);
        result.Fourth = Vector128.Load(source + 3 * Vector128<T>.Count);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<T>(this Quarters<T> x, T* destination)
        where T : unmanaged
    {
        x.First.Store(destination);
        x.Second.Store(destination + Vector128<T>.Count);
        x.Third.Store(destination + 2 * Vector128<T>.Count);
        x.Fourth.Store(destination + 3 * Vector128<T>.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<byte> AsByte<T>(this Quarters<T> x)
    {
        Quarters<byte> result;
        result.First = x.First.AsByte();
        result.Second = x.Second.AsByte();
        result.Third = x.Third.AsByte();
        result.Fourth = x.Fourth.AsByte();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<sbyte> AsSByte<T>(this Quarters<T> x)
    {
        Quarters<sbyte> result;
        result.First = x.First.AsSByte();
        result.Second = x.Second.AsSByte();
        result.Third = x.Third.AsSByte();
        result.Fourth = x.Fourth.AsSByte();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<short> AsInt16<T>(this Quarters<T> x)
    {
        Quarters<short> result;
        result.First = x.First.AsInt16();
        result.Second = x.Second.AsInt16();
        result.Third = x.Third.AsInt16();
        result.Fourth = x.Fourth.AsInt16();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<ushort> AsUInt16<T>(this Quarters<T> x)
    {
        Quarters<ushort> result;
        result.First = x.First.AsUInt16();
        result.Second = x.Second.AsUInt16();
        result.Third = x.Third.AsUInt16();
        result.Fourth = x.Fourth.AsUInt16();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<int> AsInt32<T>(this Quarters<T> x)
    {
        Quarters<int> result;
        result.First = x.First.AsInt32();
        result.Second = x.Second.AsInt32();
        result.Third = x.Third.AsInt32();
        result.Fourth = x.Fourth.AsInt32();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<uint> AsUInt32<T>(this Quarters<T> x)
    {
        Quarters<uint> result;
        result.First = x.First.AsUInt32();
        result.Second = x.Second.AsUInt32();
        result.Third = x.Third.AsUInt32();
        result.Fourth = x.Fourth.AsUInt32();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<float> AsSingle<T>(this Quarters<T> x)
    {
        Quarters<float> result;
        result.First = x.First.AsSingle();
        result.Second = x.Second.AsSingle();
        result.Third = x.Third.AsSingle();
        result.Fourth = x.Fourth.AsSingle();
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<float> ConvertToSingle(Quarters<int> x)
    {
        Quarters<float> result;
        result.First = Vector128.ConvertToSingle(x.First);
        result.Second = Vector128.ConvertToSingle(x.Second);
        result.Third = Vector128.ConvertToSingle(x.Third);
        result.Fourth = Vector128.ConvertToSingle(x.Fourth);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<float> MultiplyAddEstimate(Quarters<float> x, Quarters<float> y, Quarters<float> sum)
    {
        Quarters<float> result;
        result.First = Vector128.MultiplyAddEstimate(x.First, y.First, sum.First);
        result.Second = Vector128.MultiplyAddEstimate(x.Second, y.Second, sum.Second);
        result.Third = Vector128.MultiplyAddEstimate(x.Third, y.Third, sum.Third);
        result.Fourth = Vector128.MultiplyAddEstimate(x.Fourth, y.Fourth, sum.Fourth);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> ConditionalSelect<T>(Quarters<T> condition, Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = Vector128.ConditionalSelect(condition.First, x.First, y.First);
        result.Second = Vector128.ConditionalSelect(condition.Second, x.Second, y.Second);
        result.Third = Vector128.ConditionalSelect(condition.Third, x.Third, y.Third);
        result.Fourth = Vector128.ConditionalSelect(condition.Fourth, x.Fourth, y.Fourth);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> LessThan<T>(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = Vector128.LessThan(x.First, y.First);
        result.Second = Vector128.LessThan(x.Second, y.Second);
        result.Third = Vector128.LessThan(x.Third, y.Third);
        result.Fourth = Vector128.LessThan(x.Fourth, y.Fourth);
        return result;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Quarters<T> Equals<T>(Quarters<T> x, Quarters<T> y)
    {
        Quarters<T> result;
        result.First = Vector128.Equals(x.First, y.First);
        result.Second = Vector128.Equals(x.Second, y.Second);
        result.Third = Vector128.Equals(x.Third, y.Third);
        result.Fourth = Vector128.Equals(x.Fourth, y.Fourth);
        return result;
    }
}
