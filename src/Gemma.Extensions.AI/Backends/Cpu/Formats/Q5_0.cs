using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Nibbles with a fifth bit and a zero point of 16.</summary>
internal static unsafe class Q5_0Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q5_0,
        Group = 32,
        Offset = 16,
        MaxByte = 31,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 32, rows += 22, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First<TIsa>(rows, stride)).Store(scales);
            PutFiveBits<TIsa>(rows + 6, stride, First<TIsa>(rows + 2, stride), tile);
        }
    }
}
