using System.Runtime.CompilerServices;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Nibbles with a fifth bit and a minimum.</summary>
internal static unsafe class Q5_1Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q5_1,
        Group = 32,
        MaxByte = 31,
        HasMinimum = true,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 32, rows += 24, tile += 8 * ByteStep, scales += 2 * TileFormat.Rows)
        {
            ScaleAndAddend(First<TIsa>(rows, stride), scales);
            PutFiveBits<TIsa>(rows + 8, stride, First<TIsa>(rows + 4, stride), tile);
        }
    }
}
