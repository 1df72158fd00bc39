using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Scales and minima of tiles, 16 rows in 16 lanes.</summary>
internal static unsafe class TileScales
{
    /// <summary>x = scale·q + addend: the addend is a negative minimum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void ScaleAndAddend(Vector512<uint> both, float* scales)
    {
        LowHalf(both).Store(scales);
        (-HighHalf(both)).Store(scales + TileFormat.Rows);
    }

    /// <summary>Scales and minima of the eight groups of Q4_K and Q5_K.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SixBitScales<TIsa>(byte* rows, long stride, float* scales)
        where TIsa : struct, IVectorIsa
    {
        TIsa.Transpose(rows, stride, out Vector512<uint> both, out Vector512<uint> s, out Vector512<uint> m, out Vector512<uint> high);
        Vector512<float> d = LowHalf(both), dmin = HighHalf(both);
        SixBits(ref s, ref m, high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima);
        PutFour(scales, 2 * TileFormat.Rows, d, s);
        PutFour(scales + 8 * TileFormat.Rows, 2 * TileFormat.Rows, d, laterScales);
        PutFour(scales + TileFormat.Rows, 2 * TileFormat.Rows, dmin, m);
        PutFour(scales + 9 * TileFormat.Rows, 2 * TileFormat.Rows, dmin, laterMinima);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutScales(float* scales, int step, Vector512<float> d, Vector512<uint> s0, Vector512<uint> s1, Vector512<uint> s2, Vector512<uint> s3)
    {
        PutFour(scales, step, d, s0);
        PutFour(scales + 4 * step, step, d, s1);
        PutFour(scales + 8 * step, step, d, s2);
        PutFour(scales + 12 * step, step, d, s3);
    }

    /// <summary>d times the four unsigned bytes of each dword.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutFour(float* scales, int step, Vector512<float> d, Vector512<uint> bytes)
    {
        Vector512<uint> low = Vector512.Create(255u);
        (d * Vector512.ConvertToSingle((bytes & low).AsInt32())).Store(scales);
        (d * Vector512.ConvertToSingle(((bytes >> 8) & low).AsInt32())).Store(scales + step);
        (d * Vector512.ConvertToSingle(((bytes >> 16) & low).AsInt32())).Store(scales + 2 * step);
        (d * Vector512.ConvertToSingle((bytes >> 24).AsInt32())).Store(scales + 3 * step);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutSignedScales(float* scales, Vector512<float> d, Vector512<uint> s0, Vector512<uint> s1, Vector512<uint> s2, Vector512<uint> s3)
    {
        PutSignedFour(scales, d, s0);
        PutSignedFour(scales + 4 * TileFormat.Rows, d, s1);
        PutSignedFour(scales + 8 * TileFormat.Rows, d, s2);
        PutSignedFour(scales + 12 * TileFormat.Rows, d, s3);
    }

    /// <summary>d times the four signed bytes of each dword.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutSignedFour(float* scales, Vector512<float> d, Vector512<uint> bytes)
    {
        Vector512<int> s = bytes.AsInt32();
        (d * Vector512.ConvertToSingle((s << 24) >> 24)).Store(scales);
        (d * Vector512.ConvertToSingle((s << 16) >> 24)).Store(scales + TileFormat.Rows);
        (d * Vector512.ConvertToSingle((s << 8) >> 24)).Store(scales + 2 * TileFormat.Rows);
        (d * Vector512.ConvertToSingle(s >> 24)).Store(scales + 3 * TileFormat.Rows);
    }

    /// <summary>The six-bit scales and minima of Q4_K and Q5_K: those of groups 0 to 3 in place, those of groups 4 to 7 apart, a byte each.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void SixBits(ref Vector512<uint> s, ref Vector512<uint> m, Vector512<uint> high, out Vector512<uint> laterScales, out Vector512<uint> laterMinima)
    {
        Vector512<uint> six = Vector512.Create(0x3F3F3F3Fu), four = Vector512.Create(0x0F0F0F0Fu), top = Vector512.Create(0x30303030u);
        laterScales = (high & four) | ((s >> 2) & top);
        laterMinima = ((high >> 4) & four) | ((m >> 2) & top);
        s &= six;
        m &= six;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> LowHalf(Vector512<uint> value) => FromHalf(value & Vector512.Create(0x7FFFu), value << 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<float> HighHalf(Vector512<uint> value) => FromHalf((value >> 16) & Vector512.Create(0x7FFFu), value);

    // Exact for finite numbers (non-finite scales are refused when a file is loaded). Subnormal halves, which are common among scales, are converted through
    // integers: processors may be slow to multiply subnormal floats (not measured separately).
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<float> FromHalf(Vector512<uint> magnitude, Vector512<uint> sign)
    {
        Vector512<uint> normal = (magnitude << 13) + Vector512.Create(112u << 23);
        Vector512<uint> subnormal = (Vector512.ConvertToSingle(magnitude.AsInt32()) * Vector512.Create(1f / (1 << 24))).AsUInt32();
        Vector512<uint> value = Vector512.ConditionalSelect(Vector512.LessThan(magnitude.AsInt32(), Vector512.Create(0x400)).AsUInt32(), subnormal, normal);
        return (value | (sign & Vector512.Create(0x80000000u))).AsSingle();
    }
}
