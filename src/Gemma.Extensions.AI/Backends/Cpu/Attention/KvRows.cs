using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Formats;

namespace Gemma.Extensions.AI.Backends.Cpu.Attention;

/// <summary>Conversion of key and value rows between float32 and the stored type.</summary>
internal static unsafe class KvRows
{
    /// <summary>Stores a row. float16 and bfloat16 round to nearest even.</summary>
    public static void Store(float* source, byte* destination, int count, GemmaKvCacheType type)
    {
        switch (type)
        {
            case GemmaKvCacheType.F32:
                new ReadOnlySpan<float>(source, count).CopyTo(new Span<float>(destination, count));
                break;
            case GemmaKvCacheType.F16:
                SingleToHalf(source, (ushort*)destination, count);
                break;
            case GemmaKvCacheType.BF16:
                for (int i = 0; i < count; i++)
                {
                    ((ushort*)destination)[i] = HalfBits.BFloat16FromSingle(source[i]);
                }

                break;
            default:
                for (int start = 0; start < count; start += 32, destination += 34)
                {
                    float scale = TensorPrimitives.MaxMagnitude(new ReadOnlySpan<float>(source + start, 32)) is var max && max < 0 ? -max / 127 : max / 127;
                    Half half = (Half)scale;
                    *(Half*)destination = half;
                    float inverse = half == Half.Zero ? 0 : 1 / (float)half;
                    for (int i = 0; i < 32; i++)
                    {
                        ((sbyte*)destination)[2 + i] = (sbyte)Math.Clamp(MathF.Round(source[start + i] * inverse), -127, 127);
                    }
                }

                break;
        }
    }

    /// <summary>Loads a row as float32.</summary>
    public static void Load(byte* source, float* destination, int count, GemmaKvCacheType type)
    {
        switch (type)
        {
            case GemmaKvCacheType.F32:
                new ReadOnlySpan<float>(source, count).CopyTo(new Span<float>(destination, count));
                break;
            case GemmaKvCacheType.F16:
                HalfToSingle((ushort*)source, destination, count);
                break;
            case GemmaKvCacheType.BF16:
                BFloatToSingle((ushort*)source, destination, count);
                break;
            default:
                for (int start = 0; start < count; start += 32, source += 34)
                {
                    float scale = (float)*(Half*)source;
                    for (int i = 0; i < 32; i++)
                    {
                        destination[start + i] = scale * ((sbyte*)source)[2 + i];
                    }
                }

                break;
        }
    }

    /// <summary>
    /// Rounds to nearest even, as the processor's conversion: overflow gives infinity, NaN stays NaN. Below the normal range of float16 adding 1/2 to the
    /// magnitude makes the processor round at the right place, and leaves the result in the low bits.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SingleToHalf(float* source, ushort* destination, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            Vector256.Narrow(Narrow(Vector256.Load(source + i).AsUInt32()), Narrow(Vector256.Load(source + i + 8).AsUInt32())).Store(destination + i);
        }

        for (; i < count; i++)
        {
            destination[i] = BitConverter.HalfToUInt16Bits((Half)source[i]);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<uint> Narrow(Vector256<uint> bits)
        {
            Vector256<uint> magnitude = bits & Vector256.Create(0x7FFFFFFFu), sign = (bits >> 16) & Vector256.Create(0x8000u);
            Vector256<uint> odd = (magnitude >> 13) & Vector256<uint>.One;
            Vector256<uint> normal = (magnitude - Vector256.Create((112u << 23) - 0xFFF) + odd) >> 13;
            Vector256<uint> subnormal = (magnitude.AsSingle() + Vector256.Create(0.5f)).AsUInt32() - Vector256.Create(126u << 23);
            Vector256<uint> value = Vector256.ConditionalSelect(Vector256.LessThan(magnitude, Vector256.Create(113u << 23)), subnormal, normal);
            Vector256<uint> special = Vector256.ConditionalSelect(Vector256.GreaterThan(magnitude, Vector256.Create(255u << 23)), Vector256.Create(0x7E00u), Vector256.Create(0x7C00u));
            return sign | Vector256.ConditionalSelect(Vector256.GreaterThanOrEqual(magnitude, Vector256.Create(143u << 23)), special, value);
        }
    }

    /// <summary>Exact for all finite values. Subnormals are converted through integers: processors may be slow to multiply subnormal floats.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void HalfToSingle(ushort* source, float* destination, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Load(source + i));
            Widen(low).Store(destination + i);
            Widen(high).Store(destination + i + 8);
        }

        for (; i < count; i++)
        {
            destination[i] = (float)BitConverter.UInt16BitsToHalf(source[i]);
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<float> Widen(Vector256<uint> half)
        {
            Vector256<uint> magnitude = half & Vector256.Create(0x7FFFu);
            Vector256<uint> normal = (magnitude << 13) + Vector256.Create(112u << 23);
            Vector256<uint> subnormal = (Vector256.ConvertToSingle(magnitude.AsInt32()) * Vector256.Create(1f / (1 << 24))).AsUInt32();
            Vector256<uint> value = Vector256.ConditionalSelect(Vector256.LessThan(magnitude.AsInt32(), Vector256.Create(0x400)).AsUInt32(), subnormal, normal);
            return (value | ((half & Vector256.Create(0x8000u)) << 16)).AsSingle();
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void BFloatToSingle(ushort* source, float* destination, int count)
    {
        int i = 0;
        for (; i + 16 <= count; i += 16)
        {
            (Vector256<uint> low, Vector256<uint> high) = Vector256.Widen(Vector256.Load(source + i));
            (low << 16).AsSingle().Store(destination + i);
            (high << 16).AsSingle().Store(destination + i + 8);
        }

        for (; i < count; i++)
        {
            destination[i] = BitConverter.UInt32BitsToSingle((uint)source[i] << 16);
        }
    }
}
