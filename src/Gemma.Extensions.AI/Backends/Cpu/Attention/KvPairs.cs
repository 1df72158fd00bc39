using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Gemma.Extensions.AI.Backends.Cpu.Attention;

/// <summary>Converts two stored numbers in a dword to two floats.</summary>
internal interface IKvPair
{
    /// <summary>The even elements.</summary>
    static abstract Vector512<float> Low(Vector512<uint> pair);

    /// <summary>The odd elements.</summary>
    static abstract Vector512<float> High(Vector512<uint> pair);
}

/// <summary>float16: exponent and mantissa moved into place by an arithmetic shift, the sign kept, times 2^112. Exact for all finite values.</summary>
internal readonly struct Float16KvPair : IKvPair
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Low(Vector512<uint> pair) => High(pair << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> High(Vector512<uint> pair) =>
        ((pair.AsInt32() >> 3) & Vector512.Create(unchecked((int)0x8FFFE000))).AsSingle() * Vector512.Create(0x77800000).AsSingle();
}

internal readonly struct BFloat16KvPair : IKvPair
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> Low(Vector512<uint> pair) => (pair << 16).AsSingle();

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> High(Vector512<uint> pair) => (pair & Vector512.Create(0xFFFF0000u)).AsSingle();
}
