using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.GemvSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>bfloat16: widened to float32 tiles, or kept in pairs for <c>vdpbf16ps</c>.</summary>
internal static unsafe class BF16Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.BF16,
        Layout = TileLayout.Float32,
        BlockElements = 8,
        GemvColumns = 16,
        Unpack = &Unpack<TIsa>,
        Gemv = &Gemv<TIsa>,
    };

    /// <summary>bfloat16 that stays bfloat16.</summary>
    public static TileFormat CreatePairs<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.BF16,
        Layout = TileLayout.BFloat16x2,
        BlockElements = 8,
        GemvColumns = 16,
        Unpack = &UnpackPairs<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> high = Vector512.Create(0xFFFF0000u);
        for (int k = 0; k < columns; k += 8, rows += 16, tile += 8 * ByteStep)
        {
            TIsa.Transpose(rows, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            Put(tile, 0, d0 << 16);
            Put(tile, 1, d0 & high);
            Put(tile, 2, d1 << 16);
            Put(tile, 3, d1 & high);
            Put(tile, 4, d2 << 16);
            Put(tile, 5, d2 & high);
            Put(tile, 6, d3 << 16);
            Put(tile, 7, d3 & high);
        }
    }

    /// <summary>A pair is a dword, transposed as a float32 is.</summary>
    public static void UnpackPairs<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa => F32Tiles.Unpack<TIsa>(rows, stride, columns / 2, tile, scales);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gemv<TIsa>(byte* rows, long stride, int columns, GemvArgs* args)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> high = Vector512.Create(0xFFFF0000u);
        Vector512<float> sum = Vector512<float>.Zero;
        float* x = (float*)args->Activations;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 8, rows += 16, x += 8)
        {
            Read<TIsa>(rows, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            sum = Vector512.MultiplyAddEstimate((d0 << 16).AsSingle(), Vector512.Create(x[0]), sum);
            sum = Vector512.MultiplyAddEstimate((d0 & high).AsSingle(), Vector512.Create(x[1]), sum);
            sum = Vector512.MultiplyAddEstimate((d1 << 16).AsSingle(), Vector512.Create(x[2]), sum);
            sum = Vector512.MultiplyAddEstimate((d1 & high).AsSingle(), Vector512.Create(x[3]), sum);
            sum = Vector512.MultiplyAddEstimate((d2 << 16).AsSingle(), Vector512.Create(x[4]), sum);
            sum = Vector512.MultiplyAddEstimate((d2 & high).AsSingle(), Vector512.Create(x[5]), sum);
            sum = Vector512.MultiplyAddEstimate((d3 << 16).AsSingle(), Vector512.Create(x[6]), sum);
            sum = Vector512.MultiplyAddEstimate((d3 & high).AsSingle(), Vector512.Create(x[7]), sum);
        }

        sum.Store(args->Output);
    }
}
