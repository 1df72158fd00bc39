using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>
/// A table of 16 weights that nibbles index, plus the format's zero point. A type, so that the compiler sees a constant: as an argument it cost one row of
/// IQ4_XS a tenth more time on AVX2.
/// </summary>
internal interface ICodeTable
{
    static abstract Vector128<byte> Codes { get; }
}

/// <summary>Reading packed rows and writing tiles: the steps that the unpackers of several formats share. All work on 16 rows in 16 lanes.</summary>
internal static unsafe class TileWriter
{
    /// <summary>Bytes from four columns of an int8 tile to the next four.</summary>
    public const int ByteStep = 4 * TileFormat.Rows;

    /// <summary>The low nibble of each byte.</summary>
    public const uint Nibbles = 0x0F0F0F0F;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Put(byte* tile, int step, Vector512<uint> value) => value.Store((uint*)(tile + step * ByteStep));

    /// <summary>First dword of each row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> First<TIsa>(byte* rows, long stride)
        where TIsa : struct, IVectorIsa
    {
        TIsa.Transpose(rows, stride, out Vector512<uint> d0, out _, out _, out _);
        return d0;
    }

    /// <summary>Fourth dword of each row, for fields at the end of a block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<uint> Last<TIsa>(byte* rows, long stride)
        where TIsa : struct, IVectorIsa
    {
        TIsa.Transpose(rows, stride, out _, out _, out _, out Vector512<uint> d3);
        return d3;
    }

    /// <summary>16 bytes of nibbles a row: the low ones as four steps from <paramref name="low"/> on, the high ones from <paramref name="high"/> on.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutNibbles(byte* tile, int low, int high, Vector512<uint> d0, Vector512<uint> d1, Vector512<uint> d2, Vector512<uint> d3)
    {
        Vector512<uint> mask = Vector512.Create(Nibbles);
        Put(tile, low, d0 & mask);
        Put(tile, low + 1, d1 & mask);
        Put(tile, low + 2, d2 & mask);
        Put(tile, low + 3, d3 & mask);
        Put(tile, high, (d0 >> 4) & mask);
        Put(tile, high + 1, (d1 >> 4) & mask);
        Put(tile, high + 2, (d2 >> 4) & mask);
        Put(tile, high + 3, (d3 >> 4) & mask);
    }

    /// <summary>32 columns: elements of a table of 16 that nibbles index.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutCodes<TIsa, TTable>(byte* rows, long stride, byte* tile)
        where TIsa : struct, IVectorIsa
        where TTable : struct, ICodeTable
    {
        Vector128<byte> codes = TTable.Codes;
        Vector512<uint> mask = Vector512.Create(Nibbles);
        TIsa.Transpose(rows, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
        Put(tile, 0, TIsa.Lookup(codes, d0 & mask));
        Put(tile, 1, TIsa.Lookup(codes, d1 & mask));
        Put(tile, 2, TIsa.Lookup(codes, d2 & mask));
        Put(tile, 3, TIsa.Lookup(codes, d3 & mask));
        Put(tile, 4, TIsa.Lookup(codes, (d0 >> 4) & mask));
        Put(tile, 5, TIsa.Lookup(codes, (d1 >> 4) & mask));
        Put(tile, 6, TIsa.Lookup(codes, (d2 >> 4) & mask));
        Put(tile, 7, TIsa.Lookup(codes, (d3 >> 4) & mask));
    }

    /// <summary>32 nibbles with a fifth bit each from a dword a row.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void PutFiveBits<TIsa>(byte* nibbles, long stride, Vector512<uint> fifth, byte* tile)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> mask = Vector512.Create(Nibbles);
        TIsa.Transpose(nibbles, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
        Put(tile, 0, (d0 & mask) | Spread(fifth));
        Put(tile, 1, (d1 & mask) | Spread(fifth >> 4));
        Put(tile, 2, (d2 & mask) | Spread(fifth >> 8));
        Put(tile, 3, (d3 & mask) | Spread(fifth >> 12));
        Put(tile, 4, ((d0 >> 4) & mask) | Spread(fifth >> 16));
        Put(tile, 5, ((d1 >> 4) & mask) | Spread(fifth >> 20));
        Put(tile, 6, ((d2 >> 4) & mask) | Spread(fifth >> 24));
        Put(tile, 7, ((d3 >> 4) & mask) | Spread(fifth >> 28));

        // Bits 0 to 3 become bit 4 of bytes 0 to 3.
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector512<uint> Spread(Vector512<uint> bits)
        {
            Vector512<uint> x = bits & Vector512.Create(15u);
            x |= (x << 7) | (x << 14) | (x << 21);
            return (x & Vector512.Create(0x01010101u)) << 4;
        }
    }
}
