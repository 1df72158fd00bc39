using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Tiles of numbers from a codebook: the steps that the IQ1, IQ2 and IQ3 formats share. All work on 16 rows in 16 lanes.</summary>
internal static unsafe class CodebookSteps
{
    /// <summary>Four columns: bytes that are negated where their bit (0 to 3) is set, then moved up by the zero point.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutSigned(byte* tile, int step, Vector512<uint> numbers, Vector512<uint> signs, Vector512<byte> offset)
    {
        Vector512<uint> x = signs & Vector512.Create(15u);
        x |= (x << 7) | (x << 14) | (x << 21);
        Vector512<byte> ones = (x & Vector512.Create(0x01010101u)).AsByte(); // one where negative
        Put(tile, step, ((numbers.AsByte() ^ (Vector512<byte>.Zero - ones)) + (ones + offset)).AsUInt32());
    }

    /// <summary>Eight columns: an entry of eight numbers, and eight signs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutEight<TIsa>(byte* tile, int step, ulong* codebook, Vector512<uint> index, Vector512<uint> signs, Vector512<byte> offset)
        where TIsa : struct, IVectorIsa
    {
        index += index;
        PutSigned(tile, step, TIsa.Gather((uint*)codebook, index), signs, offset);
        PutSigned(tile, step + 1, TIsa.Gather((uint*)codebook + 1, index), signs >> 4, offset);
    }

    /// <summary>Seven bits of signs and the eighth that makes their number even.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> EvenSigns(Vector512<uint> seven)
    {
        seven &= Vector512.Create(0x7Fu);
        Vector512<uint> parity = seven ^ (seven >> 4);
        parity ^= parity >> 2;
        parity ^= parity >> 1;
        return seven | ((parity & Vector512<uint>.One) << 7);
    }

    /// <summary>d times an odd number: 2·scale + 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutOddScale(float* scales, Vector512<float> d, Vector512<uint> scale) =>
        (d * Vector512.ConvertToSingle((scale + scale + Vector512<uint>.One).AsInt32())).Store(scales);
}
