using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Two bits; four-bit scales and minima of 16 columns.</summary>
internal static unsafe class Q2_KTiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q2_K,
        Group = 16,
        MaxByte = 3,
        HasMinimum = true,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> two = Vector512.Create(0x03030303u), four = Vector512.Create(Nibbles);
        for (int k = 0; k < columns; k += 256, rows += 84, tile += 64 * ByteStep, scales += 32 * TileFormat.Rows)
        {
            Vector512<uint> both = Last<TIsa>(rows + 68, stride);
            Vector512<float> d = LowHalf(both), dmin = HighHalf(both);
            TIsa.Transpose(rows, stride, out Vector512<uint> s0, out Vector512<uint> s1, out Vector512<uint> s2, out Vector512<uint> s3);
            PutScales(scales, 2 * TileFormat.Rows, d, s0 & four, s1 & four, s2 & four, s3 & four);
            PutScales(scales + TileFormat.Rows, 2 * TileFormat.Rows, dmin, (s0 >> 4) & four, (s1 >> 4) & four, (s2 >> 4) & four, (s3 >> 4) & four);
            for (int part = 0; part < 4; part++)
            {
                TIsa.Transpose(rows + 16 + 16 * part, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
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
