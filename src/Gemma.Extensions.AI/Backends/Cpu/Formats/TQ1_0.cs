using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Digits of base three with a zero point of 1, five to a byte; one scale of 256 columns.</summary>
internal static unsafe class TQ1_0Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.TQ1_0,
        Group = 32,
        Offset = 1,
        MaxByte = 2,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 256, rows += 54, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            Vector512<float> d = HighHalf(Last<TIsa>(rows + 38, stride));
            for (int group = 0; group < 8; group++)
            {
                d.Store(scales + group * TileFormat.Rows);
            }

            for (int part = 0; part < 3; part++)
            {
                // 16 bytes of five digits each. Of the first 32 a digit's columns are 32 apart, of the next 16 they are 16 apart.
                TIsa.Transpose(rows + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                int first = part == 2 ? 40 : 4 * part, step = part == 2 ? 4 : 8;
                for (int digit = 0; digit < 5; digit++)
                {
                    PutDigits(tile, first + step * digit, ref d0);
                    PutDigits(tile, first + step * digit + 1, ref d1);
                    PutDigits(tile, first + step * digit + 2, ref d2);
                    PutDigits(tile, first + step * digit + 3, ref d3);
                }
            }

            Vector512<uint> last = Last<TIsa>(rows + 36, stride);
            for (int digit = 0; digit < 4; digit++)
            {
                PutDigits(tile, 60 + digit, ref last);
            }
        }
    }

    /// <summary>The whole part of three times each byte, as fractions of 256, goes to the tile; the fraction stays.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PutDigits(byte* tile, int step, ref Vector512<uint> bytes)
    {
        Vector512<uint> even = Vector512.Create(0x00FF00FFu);
        Vector512<ushort> a = (bytes & even).AsUInt16(), b = ((bytes >> 8) & even).AsUInt16();
        a += a + a;
        b += b + b;
        Put(tile, step, ((a.AsUInt32() >> 8) & even) | (b.AsUInt32() & ~even));
        bytes = (a.AsUInt32() & even) | ((b.AsUInt32() & even) << 8);
    }
}
