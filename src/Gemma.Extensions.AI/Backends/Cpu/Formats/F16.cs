using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>float16, widened to float32 tiles.</summary>
internal static unsafe class F16Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.F16,
        Layout = TileLayout.Float32,
        BlockElements = 8,
        Unpack = &Unpack<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 8, rows += 16, tile += 8 * ByteStep)
        {
            TIsa.Transpose(rows, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            Put(tile, 0, LowHalf(d0).AsUInt32());
            Put(tile, 1, HighHalf(d0).AsUInt32());
            Put(tile, 2, LowHalf(d1).AsUInt32());
            Put(tile, 3, HighHalf(d1).AsUInt32());
            Put(tile, 4, LowHalf(d2).AsUInt32());
            Put(tile, 5, HighHalf(d2).AsUInt32());
            Put(tile, 6, LowHalf(d3).AsUInt32());
            Put(tile, 7, HighHalf(d3).AsUInt32());
        }
    }
}
