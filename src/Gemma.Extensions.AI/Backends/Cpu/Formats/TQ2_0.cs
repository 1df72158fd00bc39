using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Two bits with a zero point of 1; one scale of 256 columns.</summary>
internal static unsafe class TQ2_0Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.TQ2_0,
        Group = 32,
        Offset = 1,
        MaxByte = 3,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> two = Vector512.Create(0x03030303u);
        for (int k = 0; k < columns; k += 256, rows += 66, tile += 64 * ByteStep, scales += 8 * TileFormat.Rows)
        {
            Vector512<float> d = HighHalf(Last<TIsa>(rows + 50, stride));
            for (int group = 0; group < 8; group++)
            {
                d.Store(scales + group * TileFormat.Rows);
            }

            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
                byte* target = tile + ((part >> 1) * 32 + (part & 1) * 4) * ByteStep;
                for (int j = 0; j < 4; j++)
                {
                    Put(target, 8 * j, (d0 >> (2 * j)) & two);
                    Put(target, 8 * j + 1, (d1 >> (2 * j)) & two);
                    Put(target, 8 * j + 2, (d2 >> (2 * j)) & two);
                    Put(target, 8 * j + 3, (d3 >> (2 * j)) & two);
                }
            }
        }
    }
}
