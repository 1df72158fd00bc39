using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Gemma.Extensions.AI.Backends.Cpu.MatMul;
using Gemma.Extensions.AI.Backends.Cpu.Vector;
using Gemma.Extensions.AI.Formats;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.GemvSteps;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileScales;
using static Gemma.Extensions.AI.Backends.Cpu.Formats.TileWriter;

namespace Gemma.Extensions.AI.Backends.Cpu.Formats;

/// <summary>Nibbles with a zero point of 8.</summary>
internal static unsafe class Q4_0Tiles
{
    public static TileFormat Create<TIsa>()
        where TIsa : struct, IVectorIsa => new()
    {
        Type = TensorType.Q4_0,
        Group = 32,
        Offset = 8,
        MaxByte = 15,
        Unpack = &Unpack<TIsa>,
        Gemv = &Gemv<TIsa>,
    };

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Unpack<TIsa>(byte* rows, long stride, int columns, byte* tile, float* scales)
        where TIsa : struct, IVectorIsa
    {
        for (int k = 0; k < columns; k += 32, rows += 18, tile += 8 * ByteStep, scales += TileFormat.Rows)
        {
            LowHalf(First<TIsa>(rows, stride)).Store(scales);
            TIsa.Transpose(rows + 2, stride, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            PutNibbles(tile, 0, 4, d0, d1, d2, d3);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Gemv<TIsa>(byte* rows, long stride, int columns, GemvArgs* args)
        where TIsa : struct, IVectorIsa
    {
        Vector512<uint> mask = Vector512.Create(Nibbles);
        Vector512<float> sum = Vector512<float>.Zero;
        int* x = (int*)args->Activations;
        int* terms = (int*)args->ZeroPointTerms;
        float* xScales = args->ActivationScales;
        byte* ahead = args->Ahead;
        long stream = args->Stream;
        for (int k = 0; k < columns; k += 32, rows += 18, x += 8, terms++, xScales++)
        {
            Vector512<float> scale = FirstHalf<TIsa>(rows, stride);
            Read<TIsa>(rows + 2, stride, ref ahead, stream, out Vector512<uint> d0, out Vector512<uint> d1, out Vector512<uint> d2, out Vector512<uint> d3);
            Vector512<int> products = Vector512.Create(*terms);
            products = Dot<TIsa, FourPairs>(products, x, d0 & mask, d1 & mask, d2 & mask, d3 & mask);
            products = Dot<TIsa, FourPairs>(products, x + 4, (d0 >> 4) & mask, (d1 >> 4) & mask, (d2 >> 4) & mask, (d3 >> 4) & mask);
            sum = Vector512.MultiplyAddEstimate(Vector512.ConvertToSingle(products), scale * *xScales, sum);
        }

        sum.Store(args->Output);
    }
}
