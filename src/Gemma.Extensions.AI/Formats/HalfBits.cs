using System.Runtime.CompilerServices;

namespace Gemma.Extensions.AI.Formats;

/// <summary>float16 and bfloat16 as the 16 bits that files hold.</summary>
internal static class HalfBits
{
    /// <summary>float16 bits to float32, exact for every value. Kernels may leave the last case out: scales are checked to be finite at load.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ToSingle(ushort bits)
    {
        uint sign = (uint)(bits & 0x8000) << 16;
        uint magnitude = (uint)(bits & 0x7FFF) << 13;
        if (magnitude >= 0x7C00u << 13)
        {
            return BitConverter.UInt32BitsToSingle(sign | 0x7F800000u | magnitude);
        }

        // The exponent's bias moves from 15 to 127 by a multiplication, which also normalises subnormals.
        float value = BitConverter.UInt32BitsToSingle(magnitude) * BitConverter.UInt32BitsToSingle((254u - 15u) << 23);
        return BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(value) | sign);
    }

    /// <summary>float32 to the nearest float16, ties to even, as hardware and ggml round.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort FromSingle(float value) => BitConverter.HalfToUInt16Bits((Half)value);

    /// <summary>bfloat16 bits to float32, exact.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float BFloat16ToSingle(ushort bits) => BitConverter.UInt32BitsToSingle((uint)bits << 16);

    /// <summary>float32 to the nearest bfloat16, ties to even; NaN stays a quiet NaN.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ushort BFloat16FromSingle(float value)
    {
        uint bits = BitConverter.SingleToUInt32Bits(value);
        return (bits & 0x7FFFFFFF) > 0x7F800000
            ? (ushort)((bits >> 16) | 0x40)
            : (ushort)((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
    }
}
